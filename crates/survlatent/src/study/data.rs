//! What a study knows of its rows.

use std::collections::BTreeMap;

use cox_survival::{Covariates, Surv};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::latents::Latents;

/// Named columns of one length, column after column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Design {
    names: Vec<String>,
    values: Vec<f64>,
    n: usize,
    /// Indicator -> the column of the table whose level it tells.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    columns: BTreeMap<String, String>,
}

impl Design {
    /// The columns of `x`.
    pub fn of(x: &Covariates<'_>) -> Self {
        Self {
            names: x.names(),
            values: (0..x.p()).flat_map(|j| x.column(j)).collect(),
            n: x.n(),
            columns: BTreeMap::new(),
        }
    }

    /// The same, with the column of the table behind each indicator of a level.
    #[must_use]
    pub(super) fn made_of(mut self, columns: &BTreeMap<String, String>) -> Self {
        let of = |name: &String| Some((name.clone(), columns.get(name)?.clone()));
        self.columns = self.names.iter().filter_map(of).collect();
        self
    }

    /// The column of the table that a column is made of.
    pub(super) fn made_from(&self, j: usize) -> &str {
        let name = &self.names[j];
        self.columns.get(name).unwrap_or(name)
    }

    /// From columns of `n` values each.
    ///
    /// # Errors
    /// A column of another length.
    pub fn new(n: usize, columns: Vec<(String, Vec<f64>)>) -> Result<Self> {
        let mut design = Self {
            n,
            ..Self::default()
        };
        for (name, column) in columns {
            if column.len() != n {
                return Err(Error::Rows {
                    latents: column.len(),
                    patients: n,
                });
            }
            design.names.push(name);
            design.values.extend(column);
        }
        Ok(design)
    }

    /// Names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A column.
    ///
    /// # Panics
    /// When there is none of this number.
    pub fn column(&self, j: usize) -> &[f64] {
        &self.values[j * self.n..(j + 1) * self.n]
    }

    /// The matrix for a model.
    ///
    /// # Errors
    /// None in fact; lengths were checked.
    pub fn covariates(&self) -> Result<Covariates<'_>> {
        let x = Covariates::from_columns(&self.values, self.n, self.names.len())?;
        Ok(x.with_names(self.names.iter().cloned())?)
    }

    /// The columns of both, those of `self` first; of two with one name the first.
    #[must_use]
    pub(super) fn beside(mut self, other: &Self) -> Self {
        self.n = self.n.max(other.n);
        for (j, name) in other.names.iter().enumerate() {
            if !self.names.contains(name) {
                self.names.push(name.clone());
                self.values.extend_from_slice(other.column(j));
                let made = other.columns.get_key_value(name);
                self.columns
                    .extend(made.map(|(k, v)| (k.clone(), v.clone())));
            }
        }
        self
    }

    /// Some of the rows.
    #[must_use]
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        let values = (0..self.names.len()).flat_map(|j| {
            let column = self.column(j);
            rows.iter().map(move |&i| column[i])
        });
        Self {
            names: self.names.clone(),
            values: values.collect(),
            n: rows.len(),
            columns: self.columns.clone(),
        }
    }

    /// The columns that vary, and the names of those that do not.
    #[must_use]
    pub fn varying(self) -> (Self, Vec<String>) {
        let mut constant = Vec::new();
        let mut kept = Self {
            n: self.n,
            columns: self.columns.clone(),
            ..Self::default()
        };
        for (j, name) in self.names.iter().enumerate() {
            let column = self.column(j);
            if column.iter().any(|v| v.total_cmp(&column[0]).is_ne()) {
                kept.names.push(name.clone());
                kept.values.extend_from_slice(column);
            } else {
                constant.push(name.clone());
            }
        }
        (kept, constant)
    }
}

/// Rows by the levels of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subgroups {
    /// The column.
    pub column: String,
    /// Level of every row, from 0.
    pub codes: Vec<u32>,
    /// Names of the levels.
    pub levels: Vec<String>,
}

/// Outcome, features and groups of the same rows, ready for the models.
#[derive(Debug, Clone)]
pub struct StudyData {
    /// The outcome.
    pub surv: Surv,
    /// Patient of every row, from 0: rows of one patient are never on both sides of a split.
    pub patient: Vec<u32>,
    /// Latents in W.
    pub w: Option<Latents>,
    /// Latents in W+.
    pub w_plus: Option<Latents>,
    /// Clinical covariates.
    pub clinical: Option<Design>,
    /// Age and sex.
    pub age_sex: Option<Design>,
    /// Covariates at whose fixed values the direction is wanted, too; the clinical ones, age and sex where
    /// this says nothing.
    pub condition: Option<Design>,
    /// Columns to be looked at level by level.
    pub subgroups: Vec<Subgroups>,
    /// The diagnoses, to each of which models are fitted by themselves, too.
    pub diagnosis: Option<Subgroups>,
}

impl StudyData {
    /// Rows.
    pub fn n(&self) -> usize {
        self.surv.n()
    }

    /// Patients.
    pub fn patients(&self) -> usize {
        self.patient.iter().max().map_or(0, |&p| p as usize + 1)
    }

    /// Clinical covariates, age and sex: each column once, if there are any.
    pub(super) fn covariates(&self) -> Option<Design> {
        let mut designs = [&self.clinical, &self.age_sex].into_iter().flatten();
        let first = designs.next()?.clone();
        let all = designs.fold(first, Design::beside);
        (!all.names.is_empty()).then_some(all)
    }

    /// Patients that have the event in any of their rows.
    pub fn patients_with_event(&self) -> usize {
        let rows: Vec<usize> = (0..self.n()).collect();
        self.people(&rows).1
    }

    /// Patients among some rows, and those of them with the event.
    pub(super) fn people(&self, rows: &[usize]) -> (usize, usize) {
        let distinct = |rows: &mut dyn Iterator<Item = usize>| {
            let mut people: Vec<u32> = rows.map(|i| self.patient[i]).collect();
            people.sort_unstable();
            people.dedup();
            people.len()
        };
        let mut with_event = rows.iter().copied().filter(|&i| self.surv.event()[i]);
        (
            distinct(&mut rows.iter().copied()),
            distinct(&mut with_event),
        )
    }

    /// Some of the rows, as a study of their own: covariates that do not vary among them are gone.
    ///
    /// # Errors
    /// What [`Surv::subset`] refuses.
    pub(super) fn select(&self, rows: &[usize]) -> Result<Self> {
        let design = |d: &Option<Design>| {
            let d = d.as_ref()?.select(rows).varying().0;
            (!d.names.is_empty()).then_some(d)
        };
        let latents = |l: &Option<Latents>| l.as_ref().map(|l| l.select_rows(rows));
        let patient: Vec<u32> = rows.iter().map(|&i| self.patient[i]).collect();
        let mut known = patient.clone();
        known.sort_unstable();
        known.dedup();
        let dense = |p: &u32| known.binary_search(p).unwrap_or(0) as u32;
        Ok(Self {
            surv: self.surv.subset(rows)?,
            patient: patient.iter().map(dense).collect(),
            w: latents(&self.w),
            w_plus: latents(&self.w_plus),
            clinical: design(&self.clinical),
            age_sex: design(&self.age_sex),
            condition: design(&self.condition),
            subgroups: Vec::new(),
            diagnosis: None,
        })
    }

    /// The same features with the outcomes of other rows.
    ///
    /// # Errors
    /// What [`Surv::subset`] refuses.
    pub(super) fn dealt(&self, order: &[usize]) -> Result<Surv> {
        Ok(self.surv.subset(order)?)
    }

    /// Whether patients have one row each.
    pub(super) fn one_row_each(&self) -> bool {
        self.patients() == self.n()
    }
}
