//! `Roles` (which column plays which part) -> `cohort` -> `Cohort`.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::cohort::{Cohort, Groups, Notice, locate};
use crate::error::{Error, Result};
use crate::features::{Feature, assemble};
use crate::formula::{Factor, Formula, Term, Transform};
use crate::latents::Latents;
use crate::table::{ID, Kind, Table};
use cox_survival::Surv;

/// Which columns of a table are the outcome, the features and the rest of an analysis.
///
/// Without [`Roles::features`] the features are every other numeric column, and the columns
/// named by [`Roles::categorical`]. A text column that is a feature, and a column declared
/// categorical, becomes one 0/1 column per level but the first in sorted order, named as R names
/// them (`cell` with level `large`: `celllarge`). A text column of more than ten levels that has more than
/// four for every five rows is refused as numbers that are none, such as `63,5`, unless it is declared
/// categorical. Rows with a missing value in a column that is
/// used stop the reading, unless they are to be dropped.
///
/// ```
/// use survlatent::{Roles, Table};
/// let table = Table::from_csv(
///     b"days,died,age,arm\n5,1,61,b\n8,0,44,a\n3,true,,a\n9,1,58,c\n",
/// )?;
/// let roles = Roles::new("days", "died").categorical(["arm"]);
/// let error = roles.cohort(&table).unwrap_err();
/// assert!(error.to_string().starts_with("1 of 4 row(s) have missing values (`age`: 1)"));
///
/// let cohort = roles.drop_missing(true).cohort(&table)?;
/// assert_eq!((cohort.surv().n(), cohort.dropped_rows()), (3, 1));
/// assert_eq!(cohort.covariates()?.names(), ["age", "armb", "armc"]);
/// # Ok::<(), survlatent::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    time: String,
    event: String,
    #[serde(default)]
    entry: Option<String>,
    #[serde(default)]
    strata: Vec<String>,
    #[serde(default)]
    weights: Option<String>,
    #[serde(default)]
    frequencies: Option<String>,
    #[serde(default)]
    offset: Option<String>,
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    folds: Option<String>,
    #[serde(default)]
    features: Option<Vec<String>>,
    #[serde(default)]
    formula: Option<String>,
    #[serde(default)]
    categorical: Vec<String>,
    #[serde(default)]
    drop_missing: bool,
}

impl Roles {
    /// The columns of times and of events; every other numeric column is a feature.
    pub fn new(time: impl Into<String>, event: impl Into<String>) -> Self {
        Self {
            time: time.into(),
            event: event.into(),
            entry: None,
            strata: vec![],
            weights: None,
            frequencies: None,
            offset: None,
            cluster: None,
            groups: vec![],
            folds: None,
            features: None,
            formula: None,
            categorical: vec![],
            drop_missing: false,
        }
    }

    /// The column of entry times (left truncation).
    pub fn entry(mut self, column: impl Into<String>) -> Self {
        self.entry = Some(column.into());
        self
    }

    /// Columns whose combinations are the strata.
    pub fn strata<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.strata = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The column of case weights.
    pub fn weights(mut self, column: impl Into<String>) -> Self {
        self.weights = Some(column.into());
        self
    }

    /// The column of frequencies: a row of frequency `k` is `k` patients, and becomes `k` rows of the
    /// cohort ([`Frequencies`](cox_survival::Frequencies)).
    pub fn frequencies(mut self, column: impl Into<String>) -> Self {
        self.frequencies = Some(column.into());
        self
    }

    /// The column of offsets: a known part of the linear predictor.
    pub fn offset(mut self, column: impl Into<String>) -> Self {
        self.offset = Some(column.into());
        self
    }

    /// The column that tells which rows belong together (one patient, one family), by how its cells are
    /// written ([`Table::identifiers`]).
    pub fn cluster(mut self, column: impl Into<String>) -> Self {
        self.cluster = Some(column.into());
        self
    }

    /// Columns whose combinations are groups to be compared.
    pub fn groups<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.groups = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The column of fold labels for a cross-validation.
    pub fn folds(mut self, column: impl Into<String>) -> Self {
        self.folds = Some(column.into());
        self
    }

    /// The features, in this order.
    pub fn features<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.features = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// The features, strata, cluster and offset in R's notation, instead of [`Roles::features`]:
    /// `age + rcs(bili, 4) + log(protime) + sex:stage + strata(centre)`.
    ///
    /// Terms are columns (in backticks where a name is not letters, digits, `_` and `.`); `a:b`, the
    /// product; `a*b`, which is `a + b + a:b`; `.`, every other numeric column; and behind a minus sign
    /// terms that are left out. `log`, `log2`, `log10`, `sqrt`, `exp` and `square` are functions of a
    /// column; `rcs(x, k)` is a restricted cubic spline with `k` knots at quantiles of the rows used (4
    /// unless said), `rcs(x, k1, k2, ..)` one with these knots; `factor(x)` makes categories of numbers.
    /// Text columns are categories: one 0/1 column per level but the first. As in R, terms of fewer factors
    /// come first, `:` binds closer than `*`, and a product whose factors are not in the model by themselves
    /// has a column for the first level, too: `age:arm` is a slope per arm. A cell of several categories that
    /// follows from the others is left out; R shows it as NA.
    pub fn formula(mut self, formula: impl Into<String>) -> Self {
        self.formula = Some(formula.into());
        self
    }

    /// Features that are categories even where their levels are numbers.
    pub fn categorical<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.categorical = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Whether rows with a missing value are dropped (default no: they are an error).
    pub fn drop_missing(mut self, drop_missing: bool) -> Self {
        self.drop_missing = drop_missing;
        self
    }

    /// Takes the cohort from a table.
    ///
    /// # Errors
    /// [`Error::UnknownColumn`], [`Error::NotANumber`], [`Error::NotAnEvent`],
    /// [`Error::NotFinite`], [`Error::OutOfRange`], [`Error::Missing`], [`Error::Role`], and what
    /// [`Surv`] refuses: no event, fewer than two rows.
    pub fn cohort(&self, table: &Table) -> Result<Cohort> {
        self.read(table, None)
    }

    /// Takes the cohort from a table and a matrix of further features.
    ///
    /// A column of the matrix replaces the table's of the same name. The matrix's columns come
    /// behind the table's, except those that [`Roles::features`] names. Rows are in the table's
    /// order, or paired by the columns `id` when both have one.
    ///
    /// # Errors
    /// As [`Roles::cohort`]; [`Error::Rows`], [`Error::UnknownId`] when they do not pair up.
    pub fn cohort_with(&self, table: &Table, latents: &Latents) -> Result<Cohort> {
        self.read(table, Some(latents))
    }

    fn read(&self, table: &Table, latents: Option<&Latents>) -> Result<Cohort> {
        let Some(text) = &self.formula else {
            return self.read_terms(table, latents, None);
        };
        let mut formula = Formula::parse(text)?;
        let mut roles = self.clone();
        roles.strata.append(&mut formula.strata);
        for (role, own, written) in [
            ("cluster", &mut roles.cluster, formula.cluster.take()),
            ("offset", &mut roles.offset, formula.offset.take()),
        ] {
            match (&*own, written) {
                (Some(first), Some(second)) if *first != second => {
                    return Err(Error::RoleTwice {
                        role,
                        first: first.clone(),
                        second,
                    });
                }
                (_, None) => {}
                (_, written) => *own = written,
            }
        }
        roles.read_terms(table, latents, Some(formula))
    }

    fn read_terms(
        &self,
        table: &Table,
        latents: Option<&Latents>,
        formula: Option<Formula>,
    ) -> Result<Cohort> {
        let mut notices = Vec::new();
        let latents = match latents {
            None => None,
            Some(latents) => Some(pair(table, latents, &mut notices)?),
        };
        let events = table.events(&self.event)?;
        let plan = self.plan(table, latents.as_ref(), formula, &mut notices)?;
        let (rows, missing) = self.complete_rows(table, &plan)?;
        let dropped_rows = table.n() - rows.len();
        if dropped_rows > 0 {
            let columns = missing;
            notices.insert(
                0,
                Notice::Dropped {
                    rows: dropped_rows,
                    columns,
                },
            );
        }
        let rows = match &self.frequencies {
            None => rows,
            Some(name) => repeated(table, name, &rows)?,
        };

        let numbers = |name: &str| -> Result<Vec<f64>> {
            let column = table.numbers(name)?;
            Ok(rows.iter().map(|&row| column[row]).collect())
        };
        let groups = |columns: &[String]| -> Result<Option<Groups>> {
            match columns {
                [] => Ok(None),
                columns => Groups::new(table, columns, &rows).map(Some),
            }
        };
        let time = numbers(&self.time)?;
        let event: Vec<bool> = rows.iter().map(|&row| events[row] == Some(true)).collect();
        let entry = self.entry.as_deref().map(numbers).transpose()?;
        let weights = self.weights.as_deref().map(numbers).transpose()?;
        let offset = self.offset.as_deref().map(numbers).transpose()?;
        if let (Some(offset), Some(column)) = (&offset, &self.offset)
            && let Some(i) = offset.iter().position(|v| !v.is_finite())
        {
            return Err(Error::NotFinite {
                place: table.place(column, rows[i]),
                value: offset[i],
            });
        }
        let strata = groups(&self.strata)?;

        let mut builder = Surv::builder(&time, &event);
        if let Some(entry) = &entry {
            builder = builder.entry(entry);
        }
        if let Some(weights) = &weights {
            builder = builder.weights(weights);
        }
        if let Some(strata) = &strata {
            builder = builder.strata(&strata.labels());
        }
        let names = [
            ("time", Some(self.time.as_str())),
            ("entry", self.entry.as_deref()),
            ("weights", self.weights.as_deref()),
        ];
        let surv = builder
            .build()
            .map_err(|error| locate(error, table, &rows, &names))?;
        // Of the two zeros one is kept, which moves nothing.
        let moved = |now: &[f64], was: &[f64], i: usize| now[i].total_cmp(&(was[i] + 0.0)).is_ne();
        let merged = |&i: &usize| {
            moved(surv.time(), &time, i)
                || matches!((surv.entry(), &entry), (Some(now), Some(was)) if moved(now, was, i))
        };
        let merged = (0..surv.n()).filter(merged).count();
        if merged > 0 {
            notices.push(Notice::TimesMerged { rows: merged });
        }
        let line = |&row: &usize| table.place("", row).line;
        // A line of the table says nothing about a value of another file.
        let lines = match &latents {
            None => rows.iter().map(line).collect(),
            Some(_) => None,
        };
        let cluster = match &self.cluster {
            None => None,
            // Names, which no equal number makes one: `007` is not `7`.
            Some(name) => {
                let name = std::slice::from_ref(name);
                Some(Groups::new(&table.as_written(name)?, name, &rows)?)
            }
        };
        let (features, single_level) = assemble(table, &plan, latents, &rows)?;
        Ok(Cohort {
            surv,
            offset,
            features,
            cluster,
            groups: groups(&self.groups)?,
            folds: groups(self.folds.as_slice())?,
            rows,
            lines,
            dropped_rows,
            single_level,
            notices,
        })
    }

    /// Columns with a part of their own, which are therefore no features by default.
    fn taken(&self) -> Vec<&String> {
        let lists = [&self.strata, &self.groups];
        [&self.time, &self.event]
            .into_iter()
            .chain(&self.entry)
            .chain(&self.weights)
            .chain(&self.frequencies)
            .chain(&self.offset)
            .chain(&self.cluster)
            .chain(&self.folds)
            .chain(lists.into_iter().flatten())
            .collect()
    }

    /// The features and where each comes from.
    fn plan(
        &self,
        table: &Table,
        latents: Option<&Latents>,
        formula: Option<Formula>,
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<Feature>> {
        for name in &self.categorical {
            table.column(name)?;
        }
        let in_latents: HashMap<&str, usize> = latents
            .iter()
            .flat_map(|l| l.names().iter().map(String::as_str).zip(0..))
            .collect();
        let mut used = vec![false; latents.map_or(0, Latents::p)];
        let mut plan = Vec::new();
        let mut replaced = Vec::new();
        let terms: Vec<Term> = match (formula, &self.features) {
            (None, Some(names)) => names.iter().map(|name| Term::plain(name)).collect(),
            (None, None) => {
                let names = self.default_features(table, notices)?;
                names.iter().map(|name| Term::plain(name)).collect()
            }
            (Some(formula), _) => {
                let others = match formula.others {
                    Some(_) => self.default_features(table, notices)?,
                    None => vec![],
                };
                formula.expand(&others)
            }
        };
        let (mut seen, mut columns) = (HashSet::new(), HashSet::new());
        for term in &terms {
            let mut factors = Vec::new();
            for factor in &term.0 {
                let name = &factor.column;
                columns.insert(name.as_str());
                let feature = self.source(factor, table, &in_latents)?;
                let from_latents = matches!(feature, Feature::Latent(_));
                if from_latents && table.column(name).is_ok() && !replaced.contains(name) {
                    replaced.push(name.clone());
                }
                factors.push(feature);
            }
            match (term.alone(), factors.pop()) {
                (Some(factor), Some(feature)) => {
                    if !seen.insert(factor.column.as_str()) {
                        return Err(Error::Role {
                            name: factor.column.clone(),
                            first: "a feature",
                            second: "a feature again",
                        });
                    }
                    if let Feature::Latent(j) = feature {
                        used[j] = true;
                    }
                    plan.push(feature);
                }
                (_, last) => {
                    factors.extend(last);
                    let transforms = term.0.iter().map(|factor| factor.transform.clone());
                    plan.push(Feature::Product(
                        factors.into_iter().zip(transforms).collect(),
                    ));
                }
            }
        }
        if let Some(name) = self
            .categorical
            .iter()
            .find(|c| !columns.contains(c.as_str()))
        {
            return Err(Error::CategoricalNotUsed { name: name.clone() });
        }
        if !replaced.is_empty() {
            notices.push(Notice::Replaced { columns: replaced });
        }
        let rest = (0..used.len()).filter(|&j| !used[j]);
        plan.extend(rest.map(Feature::Latent));
        Ok(plan)
    }

    /// Where the values of a factor come from.
    fn source(
        &self,
        factor: &Factor,
        table: &Table,
        in_latents: &HashMap<&str, usize>,
    ) -> Result<Feature> {
        let name = &factor.column;
        for (taken, part) in [(&self.time, "the time"), (&self.event, "the event")] {
            if name == taken {
                return Err(Error::Role {
                    name: name.clone(),
                    first: part,
                    second: "a feature",
                });
            }
        }
        if let Some(&j) = in_latents.get(name.as_str()) {
            return Ok(Feature::Latent(j));
        }
        let declared = self.categorical.iter().any(|c| c == name);
        let text = || Ok::<_, Error>(table.column(name)?.kind() == Kind::Text);
        let categories = match factor.transform {
            Transform::Categories => true,
            // Numbers with decimal commas are text, and names would be a column each.
            Transform::Identity => declared || (text()? && !nearly_all_differ(table, name)?),
            _ => false,
        };
        Ok(if categories {
            table.labels(name)?;
            Feature::Categorical(name.clone())
        } else {
            table.numbers(name)?;
            Feature::Numeric(name.clone())
        })
    }

    fn default_features(&self, table: &Table, notices: &mut Vec<Notice>) -> Result<Vec<String>> {
        let taken = self.taken();
        let (mut names, mut text) = (Vec::new(), Vec::new());
        for column in table.columns() {
            let name = column.name();
            if taken.iter().any(|t| *t == name) {
                continue;
            }
            if name.is_empty() {
                notices.push(Notice::UnnamedLeftOut);
            } else if self.categorical.iter().any(|c| c == name) {
                names.push(name.to_owned());
            } else if column.kind() == Kind::Text {
                text.push(name.to_owned());
            } else {
                // Numbers mixed with text are refused here rather than left out in silence.
                table.numbers(name)?;
                if name == ID {
                    notices.push(Notice::IdIsFeature);
                }
                names.push(name.to_owned());
            }
        }
        if !text.is_empty() {
            notices.push(Notice::TextLeftOut { columns: text });
        }
        Ok(names)
    }

    /// Rows without a missing value, and the numbers of missing values by column.
    fn complete_rows(
        &self,
        table: &Table,
        plan: &[Feature],
    ) -> Result<(Vec<usize>, MissingCounts)> {
        let mut names: Vec<&String> = self.taken();
        names.extend(plan.iter().flat_map(Feature::columns));
        let mut complete = vec![true; table.n()];
        let mut counts: Vec<(String, usize)> = Vec::new();
        for name in names {
            let column = table.column(name)?;
            let missing: Vec<usize> = (0..table.n()).filter(|&i| column.is_missing(i)).collect();
            if missing.is_empty() || counts.iter().any(|(counted, _)| counted == name) {
                continue;
            }
            counts.push((name.clone(), missing.len()));
            for row in missing {
                complete[row] = false;
            }
        }
        let rows: Vec<usize> = (0..table.n()).filter(|&row| complete[row]).collect();
        if rows.len() < table.n() && !self.drop_missing {
            return Err(Error::Missing {
                rows: table.n() - rows.len(),
                of: table.n(),
                columns: counts,
            });
        }
        if rows.is_empty() {
            return Err(Error::AllMissing {
                rows: table.n(),
                columns: counts,
            });
        }
        Ok((rows, counts))
    }
}

/// Whether a column has so many levels for its rows that it is no category.
fn nearly_all_differ(table: &Table, name: &str) -> Result<bool> {
    const FEW: usize = 10;
    let labels = table.labels(name)?;
    let (levels, rows) = (labels.levels().len(), 0..table.n());
    let present = rows.filter(|&row| labels.code(row).is_some()).count();
    Ok(levels > FEW && 5 * levels > 4 * present)
}

/// Each row as often as its frequency says.
fn repeated(table: &Table, name: &str, rows: &[usize]) -> Result<Vec<usize>> {
    let column = table.numbers(name)?;
    let counts: Vec<f64> = rows.iter().map(|&row| column[row]).collect();
    let frequencies = cox_survival::Frequencies::new(&counts)
        .map_err(|error| locate(error, table, rows, &[("frequencies", Some(name))]))?;
    Ok(frequencies.rows().iter().map(|&k| rows[k]).collect())
}

/// Columns with their numbers of missing values.
type MissingCounts = Vec<(String, usize)>;

/// The latents in the table's order of rows.
fn pair(table: &Table, latents: &Latents, notices: &mut Vec<Notice>) -> Result<Latents> {
    if by_id(table, latents) {
        notices.push(Notice::PairedById);
    }
    latents.paired_with(table)
}

fn by_id(table: &Table, latents: &Latents) -> bool {
    latents.ids().is_some() && table.columns().iter().any(|c| c.name() == ID)
}

impl Latents {
    /// One row per row of the table, in its order: by identifier where the latents have them and
    /// the table has a column `id`, otherwise as they are.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::UnknownId`] for the table's identifiers; [`Error::Rows`]
    /// when rows are taken as they are and the numbers differ.
    pub fn paired_with(&self, table: &Table) -> Result<Self> {
        if !by_id(table, self) {
            return self.same_rows(table.n()).map(|()| self.clone());
        }
        let labels = table.identifiers(ID)?;
        let missing = (0..table.n()).filter(|&i| labels.code(i).is_none()).count();
        if missing > 0 {
            return Err(Error::Missing {
                rows: missing,
                of: table.n(),
                columns: vec![(ID.to_owned(), missing)],
            });
        }
        let ids: Vec<String> = (0..table.n())
            .filter_map(|i| labels.code(i))
            .map(|code| labels.levels()[code as usize].clone())
            .collect();
        self.align(&ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LatentsReader;
    use crate::cohort::Features;

    const CSV: &[u8] = b"id,time,dead,start,w,sex,cell,age\n\
        1,5,1,0,1,2,small,60\n\
        2,8,0,1,2,1,large,50\n\
        3,8,1,0,1,2,adeno,70\n\
        4,9,1,3,1,1,large,55\n";

    fn table() -> Table {
        Table::from_csv(CSV).unwrap()
    }

    fn roles() -> Roles {
        Roles::new("time", "dead")
            .entry("start")
            .weights("w")
            .strata(["sex"])
    }

    fn message(roles: &Roles, csv: &str) -> String {
        let table = Table::from_csv(csv.as_bytes()).unwrap();
        roles.cohort(&table).unwrap_err().to_string()
    }

    #[test]
    fn every_other_numeric_column_is_a_feature_and_text_is_mentioned() {
        let cohort = roles().cohort(&table()).unwrap();
        assert_eq!(cohort.covariates().unwrap().names(), ["id", "age"]);
        let left_out = Notice::TextLeftOut {
            columns: vec!["cell".into()],
        };
        assert_eq!(cohort.notices(), [Notice::IdIsFeature, left_out]);
        assert_eq!(cohort.surv().stratum_names(), ["sex=1", "sex=2"]);
        assert_eq!(cohort.surv().entry().unwrap(), [0.0, 1.0, 0.0, 3.0]);
    }

    #[test]
    fn features_keep_their_order_and_text_is_coded() {
        let cohort = roles().features(["cell", "age"]).cohort(&table()).unwrap();
        let x = cohort.covariates().unwrap();
        assert_eq!(x.names(), ["celllarge", "cellsmall", "age"]);
        assert_eq!(x.column(0), [0.0, 1.0, 0.0, 1.0]);
        assert_eq!(x.column(1), [1.0, 0.0, 0.0, 0.0]);
        let coded = Roles::new("time", "dead")
            .features(["sex", "age"])
            .categorical(["sex"])
            .cohort(&table())
            .unwrap();
        assert_eq!(coded.covariates().unwrap().names(), ["sex2", "age"]);
    }

    #[test]
    fn several_columns_make_combined_groups() {
        let cohort = Roles::new("time", "dead")
            .strata(["sex", "cell"])
            .features(["age"])
            .cohort(&table())
            .unwrap();
        assert_eq!(
            cohort.surv().stratum_names(),
            [
                "sex=1, cell=large",
                "sex=2, cell=adeno",
                "sex=2, cell=small"
            ]
        );
    }

    #[test]
    fn faults_name_the_users_column_row_and_line() {
        let roles = Roles::new("t", "e").entry("b").weights("w").features(["x"]);
        let case =
            |row: &str| message(&roles, &format!("t,e,b,w,x\n5,1,0,1,1\n{row}\n7,1,1,1,3\n"));
        assert_eq!(
            case("-3,1,-4,1,2"),
            "column `t`, row 2 (line 3): -3 is negative, and a survival time is not"
        );
        assert_eq!(
            case("3,1,3,1,2"),
            "column `b`, row 2 (line 3): 3 is not before the time 3 (column `t`)"
        );
        assert_eq!(
            case("3,1,0,-1,2"),
            "column `w`, row 2 (line 3): -1 is negative, and a weight is not"
        );
        assert_eq!(
            case("3,1,0,1,inf"),
            "column `x`, row 2 (line 3): inf is not a finite number"
        );
        assert_eq!(
            case("inf,1,0,1,2"),
            "column `t`, row 2 (line 3): inf is not a finite number"
        );
        assert_eq!(
            case("3,1,0,1,tall"),
            "column `x`, row 2 (line 3): `tall` is not a number"
        );
        assert!(case("3,2,0,1,1").starts_with("column `e`, row 2 (line 3): `2` is not an event"));
        assert!(
            case("3,1,,NA,1").starts_with("1 of 3 row(s) have missing values (`b`: 1, `w`: 1)")
        );
        let dropping = roles.clone().drop_missing(true);
        assert_eq!(
            message(&dropping, "t,e,b,w,x\n5,1,,1,1\n-3,1,-4,1,2\n7,1,1,1,3\n"),
            "column `t`, row 2 (line 3): -3 is negative, and a survival time is not",
            "rows are the file's, dropped ones counted"
        );
        assert!(
            message(&dropping, "t,e,b,w,x\n,1,1,1,1\n1,1,0,1,\n").contains("every one of the 2")
        );
    }

    #[test]
    fn a_typo_among_numbers_is_no_reason_to_leave_a_column_out() {
        let error = message(&Roles::new("t", "e"), "t,e,x\n1,1,3\n2,0,4\n3,1,4O\n");
        assert_eq!(error, "column `x`, row 3 (line 4): `4O` is not a number");
    }

    #[test]
    fn rows_belong_together_by_how_their_patient_is_written() {
        let csv = b"t,e,p,x\n1,1,12345678901234567,1\n2,0,12345678901234568,2\n3,1,01,0\n4,1,1,3\n";
        let table = Table::from_csv(csv).unwrap();
        let roles = Roles::new("t", "e").features(["x"]).cluster("p");
        let cohort = roles.cohort(&table).unwrap();
        let names = cohort.cluster().unwrap().names();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(
            names.contains(&"p=12345678901234568".to_owned()) && names.contains(&"p=01".into())
        );
    }

    #[test]
    fn latents_are_paired_by_identifiers_as_they_are_written() {
        let table = Table::from_csv(b"id,t\n002,1\n001,2\n").unwrap();
        let latents = LatentsReader::new()
            .read_bytes(b"id,z\n001,5\n002,6\n")
            .unwrap();
        let paired = latents.paired_with(&table).unwrap();
        assert_eq!(paired.ids().unwrap(), ["002", "001"]);
        assert_eq!(paired.get(0, 0).to_bits(), 6f64.to_bits());
        let other = LatentsReader::new()
            .read_bytes(b"id,z\n1,5\n2,6\n")
            .unwrap();
        assert!(matches!(
            other.paired_with(&table),
            Err(Error::UnknownId { .. })
        ));
    }

    #[test]
    fn numbers_with_commas_and_names_are_no_categories() {
        use std::fmt::Write as _;
        let mut csv = "t,e,age,sex\n".to_owned();
        for i in 0..30 {
            let (t, sex) = (i + 1, if i % 2 == 0 { "f" } else { "m" });
            writeln!(csv, "{t},1,\"{},5\",{sex}", 40 + i).unwrap();
        }
        let error = message(&Roles::new("t", "e").features(["sex", "age"]), &csv);
        assert_eq!(
            error,
            "column `age`, row 1 (line 2): `40,5` is not a number"
        );
        let table = Table::from_csv(csv.as_bytes()).unwrap();
        let declared = Roles::new("t", "e").features(["age"]).categorical(["age"]);
        let cohort = declared.cohort(&table).unwrap();
        assert_eq!(cohort.covariates().unwrap().names().len(), 29);
    }

    #[test]
    fn roles_do_not_overlap() {
        let error = Roles::new("time", "dead")
            .features(["time"])
            .cohort(&table());
        assert_eq!(
            error.unwrap_err().to_string(),
            "column `time` cannot be both the time and a feature"
        );
        let unused = Roles::new("time", "dead")
            .features(["age"])
            .categorical(["sex"])
            .cohort(&table());
        assert!(matches!(
            unused.unwrap_err(),
            Error::CategoricalNotUsed { .. }
        ));
    }

    #[test]
    fn a_matrix_adds_and_replaces_columns() {
        let by_id = LatentsReader::new()
            .read_bytes(b"z1,id,age\n1,4,0\n2,3,1\n3,2,2\n4,1,3\n")
            .unwrap();
        let cohort = Roles::new("time", "dead")
            .features(["cell", "age"])
            .cohort_with(&table(), &by_id)
            .unwrap();
        let x = cohort.covariates().unwrap();
        assert_eq!(x.names(), ["celllarge", "cellsmall", "age", "z1"]);
        assert_eq!(x.column(2), [3.0, 2.0, 1.0, 0.0]);
        assert_eq!(x.column(3), [4.0, 3.0, 2.0, 1.0]);
        assert!(cohort.notices().contains(&Notice::PairedById));

        let short = LatentsReader::new().read_bytes(b"z\n1\n2\n").unwrap();
        let error = roles().cohort_with(&table(), &short).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 rows of latents, but 4 rows of survival data"
        );
    }

    #[test]
    fn a_matrix_alone_stays_in_single_precision() {
        let values = crate::Values::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let latents = Latents::new(values, 4, 2).unwrap();
        let only = Roles::new("time", "dead").features([] as [&str; 0]);
        let cohort = only.cohort_with(&table(), &latents).unwrap();
        assert!(matches!(&cohort.features, Features::Latents(l) if l == &latents));
        let csv = String::from_utf8(CSV.to_vec())
            .unwrap()
            .replace("8,0", ",0");
        let table = Table::from_csv(csv.as_bytes()).unwrap();
        let cohort = only
            .drop_missing(true)
            .cohort_with(&table, &latents)
            .unwrap();
        assert_eq!(cohort.covariates().unwrap().column(0), [1.0, 5.0, 7.0]);
        assert_eq!(cohort.rows(), [0, 2, 3]);
    }

    #[test]
    fn what_does_not_vary_is_named() {
        let table = Table::from_csv(b"t,e,x,c,y\n1,1,2,a,1\n2,1,2,a,3\n").unwrap();
        let cohort = Roles::new("t", "e")
            .categorical(["c"])
            .cohort(&table)
            .unwrap();
        assert_eq!(cohort.single_level(), ["c"]);
        assert_eq!(cohort.constant_columns().unwrap(), ["x"]);
    }
}
