//! The feature matrix, put together from a table's columns, latents and the terms of a formula.

use crate::cohort::{Features, Groups};
use crate::error::{Error, Result};
use crate::formula::{Fault, Transform};
use crate::latents::Latents;
use crate::table::Table;

/// Where a feature comes from.
pub(crate) enum Feature {
    Numeric(String),
    Categorical(String),
    /// Column of the latents.
    Latent(usize),
    /// Of a formula: factors and what is made of each.
    Product(Vec<(Feature, Transform)>),
}

impl Feature {
    /// The table's columns it is made of.
    pub(crate) fn columns(&self) -> Vec<&String> {
        match self {
            Self::Numeric(name) | Self::Categorical(name) => vec![name],
            Self::Latent(_) => vec![],
            Self::Product(factors) => factors.iter().flat_map(|(f, _)| f.columns()).collect(),
        }
    }
}

/// Columns of the matrix with their names.
type Made = Vec<(String, Vec<f64>)>;

/// The matrix of the planned features, and the categorical ones of a single level.
pub(crate) fn assemble(
    table: &Table,
    plan: &[Feature],
    latents: Option<Latents>,
    rows: &[usize],
) -> Result<(Features, Vec<String>)> {
    let straight = plan
        .iter()
        .enumerate()
        .all(|(k, feature)| matches!(feature, Feature::Latent(j) if *j == k));
    let latents = match latents {
        Some(latents) if straight => {
            let whole = rows.iter().copied().eq(0..latents.n());
            let latents = if whole {
                latents
            } else {
                latents.select_rows(rows)
            };
            return Ok((Features::Latents(latents), vec![]));
        }
        other => other,
    };
    let mut source = Source {
        table,
        latents: latents.as_ref(),
        rows,
        single_level: vec![],
    };
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for feature in plan {
        for (name, column) in source.columns(feature)? {
            names.push(name);
            values.extend(column);
        }
    }
    let features = Features::Columns {
        names,
        values,
        n: rows.len(),
    };
    Ok((features, source.single_level))
}

/// Where values are read.
struct Source<'a> {
    table: &'a Table,
    latents: Option<&'a Latents>,
    rows: &'a [usize],
    /// Categorical features found to have one level.
    single_level: Vec<String>,
}

impl Source<'_> {
    fn columns(&mut self, feature: &Feature) -> Result<Made> {
        let rows = self.rows;
        Ok(match feature {
            Feature::Numeric(name) => {
                let column = self.table.numbers(name)?;
                if let Some(&row) = rows.iter().find(|&&row| !column[row].is_finite()) {
                    return Err(Error::NotFinite {
                        place: self.table.place(name, row),
                        value: column[row],
                    });
                }
                vec![(name.clone(), rows.iter().map(|&row| column[row]).collect())]
            }
            Feature::Categorical(name) => {
                let groups = Groups::new(self.table, std::slice::from_ref(name), rows)?;
                if groups.levels().len() < 2 {
                    self.single_level.push(name.clone());
                }
                let levels = groups.levels().iter().enumerate().skip(1);
                levels
                    .map(|(code, level)| {
                        let is_level = |&c: &u32| f64::from(u8::from(c as usize == code));
                        let column = groups.codes().iter().map(is_level).collect();
                        (format!("{name}{level}"), column)
                    })
                    .collect()
            }
            Feature::Latent(j) => match self.latents {
                Some(latents) => {
                    let column = rows.iter().map(|&row| latents.get(row, *j)).collect();
                    vec![(latents.names()[*j].clone(), column)]
                }
                None => vec![],
            },
            Feature::Product(factors) => {
                let mut product: Made = vec![];
                for (k, (feature, transform)) in factors.iter().enumerate() {
                    let next = self.transformed(feature, transform)?;
                    product = if k == 0 { next } else { times(&product, &next) };
                }
                product
            }
        })
    }

    fn transformed(&mut self, feature: &Feature, transform: &Transform) -> Result<Made> {
        let mut made = Vec::new();
        for (name, values) in self.columns(feature)? {
            let before = values.clone();
            let columns = transform.columns(&name, values);
            made.extend(columns.map_err(|fault| match fault {
                Fault::Cox(error) => Error::Cox(error),
                Fault::Value { row, function } => Error::OutOfRange {
                    place: self.table.place(&name, self.rows[row]),
                    text: before[row].to_string(),
                    reason: format!("has no finite {function}"),
                },
            })?);
        }
        Ok(made)
    }
}

/// Every column of one with every column of the other, the first varying fastest, as in R.
fn times(a: &[(String, Vec<f64>)], b: &[(String, Vec<f64>)]) -> Made {
    let one = |(x, u): &(String, Vec<f64>), (y, v): &(String, Vec<f64>)| {
        (
            format!("{x}:{y}"),
            u.iter().zip(v).map(|(u, v)| u * v).collect(),
        )
    };
    b.iter()
        .flat_map(|b| a.iter().map(move |a| one(a, b)))
        .collect()
}
