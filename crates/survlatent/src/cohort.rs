//! A cohort ready for analysis: outcome, features and groups of the same rows.

use std::fmt;

use cox_survival::{Covariates, Surv};

use crate::error::{Error, Place, Result, first_of};
use crate::latents::Latents;
use crate::table::{Labels, Table};

/// The rows an analysis uses, taken from a [`Table`] by [`Roles`](crate::Roles).
#[derive(Debug, Clone)]
pub struct Cohort {
    pub(crate) surv: Surv,
    pub(crate) offset: Option<Vec<f64>>,
    pub(crate) features: Features,
    pub(crate) cluster: Option<Groups>,
    pub(crate) groups: Option<Groups>,
    pub(crate) folds: Option<Groups>,
    pub(crate) rows: Vec<usize>,
    /// Lines of the rows, where the features have no other file.
    pub(crate) lines: Option<Vec<u64>>,
    pub(crate) dropped_rows: usize,
    pub(crate) single_level: Vec<String>,
    pub(crate) notices: Vec<Notice>,
}

/// The feature matrix: borrowed from latents where nothing had to be put together.
#[derive(Debug, Clone)]
pub(crate) enum Features {
    Latents(Latents),
    /// Column after column.
    Columns {
        names: Vec<String>,
        values: Vec<f64>,
        n: usize,
    },
}

/// Something the user should know about how the cohort was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Rows with missing values were dropped, as asked.
    Dropped {
        /// How many.
        rows: usize,
        /// Columns with their numbers of missing values.
        columns: Vec<(String, usize)>,
    },
    /// Text columns that nobody asked for are no features.
    TextLeftOut {
        /// Their names.
        columns: Vec<String>,
    },
    /// Columns without a name are no features.
    UnnamedLeftOut,
    /// A column called `id` is taken for a feature because no features were named.
    IdIsFeature,
    /// Columns of the table replaced by the matrix's of the same name.
    Replaced {
        /// Their names.
        columns: Vec<String>,
    },
    /// Rows of the matrix were paired with the table's by the columns `id` of both.
    PairedById,
    /// Times that differ by rounding only were taken as one.
    TimesMerged {
        /// Rows whose time (or entry) is now another's.
        rows: usize,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped { rows, columns } => {
                let counts: Vec<String> = columns
                    .iter()
                    .map(|(name, count)| format!("`{name}`: {count}"))
                    .collect();
                let counts = first_of(&counts);
                write!(f, "{rows} row(s) with missing values dropped ({counts})")
            }
            Self::TextLeftOut { columns } => write!(
                f,
                "text columns left out of the features: {}; name them to use them",
                first_of(&quoted(columns))
            ),
            Self::UnnamedLeftOut => f.write_str("a column without a name is left out"),
            Self::IdIsFeature => f.write_str(
                "column `id` is used as a feature, like every numeric column; name the features \
                 to leave it out",
            ),
            Self::Replaced { columns } => write!(
                f,
                "columns of the table replaced by the feature file's: {}",
                first_of(&quoted(columns))
            ),
            Self::PairedById => {
                f.write_str("rows of the feature file are paired with the table's by `id`")
            }
            Self::TimesMerged { rows } => write!(
                f,
                "{rows} row(s) have a time within rounding of an earlier one (1.5e-8, times the mean where that \
                 is above 1) and count as tied with it"
            ),
        }
    }
}

fn quoted(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("`{name}`")).collect()
}

impl Cohort {
    /// The outcome.
    pub fn surv(&self) -> &Surv {
        &self.surv
    }

    /// Offset of every row, when a column gives it.
    pub fn offset(&self) -> Option<&[f64]> {
        self.offset.as_deref()
    }

    /// The feature matrix, with names. It may have no column at all.
    ///
    /// # Errors
    /// None in fact; sizes were checked when the cohort was read.
    pub fn covariates(&self) -> Result<Covariates<'_>> {
        match &self.features {
            Features::Latents(latents) => latents.covariates(),
            Features::Columns { names, values, n } => {
                Ok(Covariates::from_columns(values, *n, names.len())?
                    .with_names(names.iter().cloned())?)
            }
        }
    }

    /// Cluster of every row, for a robust variance and for folds that keep clusters together.
    pub fn cluster(&self) -> Option<&Groups> {
        self.cluster.as_ref()
    }

    /// Group of every row, for curves.
    pub fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// Fold of every row, when a column gives the folds.
    pub fn folds(&self) -> Option<&Groups> {
        self.folds.as_ref()
    }

    /// Rows of the table that are in the cohort, in order.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Rows of the table left out because a value is missing.
    pub fn dropped_rows(&self) -> usize {
        self.dropped_rows
    }

    /// Categorical features of one level: they have no column in the matrix.
    pub fn single_level(&self) -> &[String] {
        &self.single_level
    }

    /// Names of the columns of the matrix that do not vary.
    ///
    /// # Errors
    /// As [`Cohort::covariates`].
    pub fn constant_columns(&self) -> Result<Vec<String>> {
        let x = self.covariates()?;
        let varies = |j: usize| (1..x.n()).any(|i| x.get(i, j).total_cmp(&x.get(0, j)).is_ne());
        Ok((0..x.p())
            .filter(|&j| !varies(j))
            .map(|j| x.name(j))
            .collect())
    }

    /// What the user should know.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Counts the row that an error of an analysis names among the rows of the table.
    ///
    /// An analysis knows the rows of this cohort only, which are other rows where some were dropped or
    /// stand for several patients.
    ///
    /// ```
    /// use survlatent::cox_survival::CoxPh;
    /// use survlatent::{Roles, Table};
    /// let csv = b"days,died,age\n5,1,\n8,0,44\n13,1,1e300\n9,1,58\n11,1,71\n";
    /// let roles = Roles::new("days", "died").drop_missing(true);
    /// let cohort = roles.cohort(&Table::from_csv(csv)?)?;
    /// let error = CoxPh::new().fit(cohort.surv(), &cohort.covariates()?).unwrap_err();
    /// let error = cohort.locate(error).to_string();
    /// assert!(error.starts_with("column `age`, row 3 (line 4): 1e300 is too large"));
    /// # Ok::<(), survlatent::Error>(())
    /// ```
    pub fn locate(&self, error: cox_survival::Error) -> Error {
        use cox_survival::Error as Cox;
        let at = |row: usize| {
            let line = self.lines.as_ref().and_then(|lines| lines.get(row));
            (self.rows.get(row).copied().unwrap_or(row), line.copied())
        };
        let place = |column: String, row: usize| {
            let (row, line) = at(row);
            Place { column, row, line }
        };
        match error {
            Cox::NotFinite { column, row, value } => Error::NotFinite {
                place: place(column, row),
                value,
            },
            Cox::Overflow { column, row, value } => Error::OutOfRange {
                place: place(column, row),
                text: format!("{value:e}"),
                reason: "is too large, the column's variance overflows; rescale it".into(),
            },
            Cox::NoCensoringWeight { row, time, reason } => {
                let (row, line) = at(row);
                Error::NoCensoringWeight {
                    row,
                    line,
                    time,
                    reason,
                }
            }
            Cox::WithoutFold { fold, error } => Error::WithoutFold {
                fold,
                source: Box::new(self.locate(*error)),
            },
            other => Error::Cox(other),
        }
    }
}

/// Rows in named groups: the combinations of one or more columns.
///
/// Groups are named as R names strata, `sex=1` or `sex=1, centre=north`, and ordered by the
/// first column's levels, then the second's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    codes: Vec<u32>,
    names: Vec<String>,
    levels: Vec<String>,
}

/// A group of [`Groups`] that sorts by its place and prints as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group<'a> {
    code: u32,
    name: &'a str,
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Groups {
    /// The groups of `rows` made by the columns `columns` of `table`.
    pub(crate) fn new(table: &Table, columns: &[String], rows: &[usize]) -> Result<Self> {
        let labels = columns
            .iter()
            .map(|name| table.labels(name))
            .collect::<Result<Vec<Labels>>>()?;
        let key = |row: usize| -> Vec<u32> {
            // Rows with a missing label were dropped or refused before.
            labels.iter().map(|l| l.code(row).unwrap_or(0)).collect()
        };
        let keys: Vec<Vec<u32>> = rows.iter().map(|&row| key(row)).collect();
        let mut present = keys.clone();
        present.sort_unstable();
        present.dedup();
        let level = |l: &Labels, &code: &u32| l.levels()[code as usize].clone();
        let levels: Vec<Vec<String>> = present
            .iter()
            .map(|key| labels.iter().zip(key).map(|(l, c)| level(l, c)).collect())
            .collect();
        let name = |levels: &Vec<String>| {
            let parts: Vec<String> = columns
                .iter()
                .zip(levels)
                .map(|(column, level)| format!("{column}={level}"))
                .collect();
            parts.join(", ")
        };
        Ok(Self {
            codes: keys
                .iter()
                .map(|key| present.binary_search(key).map_or(0, |k| k as u32))
                .collect(),
            names: levels.iter().map(name).collect(),
            levels: levels.iter().map(|parts| parts.join(", ")).collect(),
        })
    }

    /// Group of every row, from 0.
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Names of the groups: `column=level`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Names of the groups without the columns.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }

    /// The group of every row, to be passed on as labels.
    pub fn labels(&self) -> Vec<Group<'_>> {
        self.codes
            .iter()
            .map(|&code| Group {
                code,
                name: &self.names[code as usize],
            })
            .collect()
    }
}

/// Puts the table's names and rows into an error about the outcome.
pub(crate) fn locate(
    error: cox_survival::Error,
    table: &Table,
    rows: &[usize],
    names: &[(&str, Option<&str>)],
) -> Error {
    use cox_survival::Error as Cox;
    let place = |part: &str, row: usize| {
        let column = names
            .iter()
            .find(|(name, _)| *name == part)
            .and_then(|(_, column)| *column)
            .unwrap_or(part);
        table.place(column, rows[row])
    };
    let time_name = || {
        names
            .iter()
            .find_map(|(part, name)| name.filter(|_| *part == "time"))
    };
    match error {
        Cox::NotFinite { column, row, value } => Error::NotFinite {
            place: place(&column, row),
            value,
        },
        Cox::NegativeTime { row, value } => Error::OutOfRange {
            place: place("time", row),
            text: value.to_string(),
            reason: "is negative, and a survival time is not".into(),
        },
        Cox::NegativeWeight { row, value } => Error::OutOfRange {
            place: place("weights", row),
            text: value.to_string(),
            reason: "is negative, and a weight is not".into(),
        },
        Cox::Frequency { row, value } => Error::OutOfRange {
            place: place("frequencies", row),
            text: value.to_string(),
            reason: "is not a whole number of patients".into(),
        },
        Cox::TooManyPatients { row, value } => Error::OutOfRange {
            place: place("frequencies", row),
            text: value.to_string(),
            reason: "is, with the other rows, more patients than can be held".into(),
        },
        Cox::EntryNotBeforeTime { row, entry, time } => Error::OutOfRange {
            place: place("entry", row),
            text: entry.to_string(),
            reason: format!(
                "is not before the time {time} (column `{}`)",
                time_name().unwrap_or("time")
            ),
        },
        other => Error::Cox(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Roles;

    #[test]
    fn rows_of_an_error_are_those_of_the_table() {
        use cox_survival::Error as Cox;
        let csv = b"t,e,x,k\n1,1,,1\n2,0,3,2\n3,1,4,1\n";
        let roles = Roles::new("t", "e").frequencies("k").drop_missing(true);
        let cohort = roles.cohort(&Table::from_csv(csv).unwrap()).unwrap();
        assert_eq!(cohort.rows(), [1, 1, 2]);
        let overflow = |fold| Cox::WithoutFold {
            fold,
            error: Box::new(Cox::Overflow {
                column: "x".into(),
                row: 2,
                value: 1e200,
            }),
        };
        let nested = Cox::WithoutFold {
            fold: 3,
            error: Box::new(overflow(5)),
        };
        let found = cohort.locate(nested).to_string();
        let place =
            "the fit without fold 3: the fit without fold 5: column `x`, row 3 (line 4): 1e200 ";
        assert!(found.starts_with(place), "{found}");
        let weight = Cox::NoCensoringWeight {
            row: 1,
            time: 2.5,
            reason: "it is late",
        };
        let found = cohort.locate(weight).to_string();
        assert_eq!(
            found,
            "row 2 (line 3): no censoring weight at time 2.5: it is late"
        );
        assert!(matches!(
            cohort.locate(Cox::NoEvents),
            Error::Cox(Cox::NoEvents)
        ));
    }

    #[test]
    fn a_line_of_the_table_is_not_one_of_the_latents() {
        let table = Table::from_csv(b"t,e\n1,1\n2,0\n").unwrap();
        let latents = crate::LatentsReader::new()
            .read_bytes(b"z\n1\n2\n")
            .unwrap();
        let cohort = Roles::new("t", "e").cohort_with(&table, &latents).unwrap();
        let found = cohort.locate(cox_survival::Error::NotFinite {
            column: "z".into(),
            row: 1,
            value: f64::INFINITY,
        });
        assert_eq!(
            found.to_string(),
            "column `z`, row 2: inf is not a finite number"
        );
    }
}
