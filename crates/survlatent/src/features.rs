//! The feature matrix, put together from a table's columns, latents and the terms of a formula.

use crate::cohort::{Features, Groups};
use crate::error::{Error, Result};
use crate::formula::{Fault, Transform};
use crate::latents::Latents;
use crate::table::Table;

/// Where a feature comes from.
#[derive(PartialEq)]
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

    /// The factors it is a product of, each with what is made of it, if anything is.
    fn factors(&self) -> Vec<Factor<'_>> {
        match self {
            Self::Product(factors) => factors
                .iter()
                .map(|(feature, transform)| match transform {
                    Transform::Identity | Transform::Categories => (feature, None),
                    made => (feature, Some(made)),
                })
                .collect(),
            single => vec![(single, None)],
        }
    }
}

/// A factor of a term.
type Factor<'a> = (&'a Feature, Option<&'a Transform>);

/// How the categories of a term become columns.
struct Coding {
    /// By factor: whether the first level has a column, too.
    every_level: Vec<bool>,
    /// Whether the cell of all the last levels has none: it follows from the others.
    last_cell: bool,
}

impl Coding {
    /// R's rule for term `k`: the first level of a factor has a column of its own unless the rest of the
    /// term is within another of fewer factors, or of as many and before it.
    fn of(plan: &[Feature], k: usize) -> Self {
        let term = plan[k].factors();
        if term.len() < 2 {
            return Self {
                every_level: vec![false],
                last_cell: false,
            };
        }
        let category = |f: &Factor<'_>| matches!(f.0, Feature::Categorical(_));
        let others = || plan.iter().map(Feature::factors).enumerate();
        let every_level: Vec<bool> = (0..term.len())
            .map(|i| {
                let rest = || term.iter().enumerate().filter(|(j, _)| *j != i);
                let margin = |(at, other): (usize, Vec<_>)| {
                    (other.len(), at) < (term.len(), k) && rest().all(|(_, f)| other.contains(f))
                };
                category(&term[i]) && !others().any(margin)
            })
            .collect();
        // With every level of every category the columns add up to the rest: a constant, or a term.
        let rest: Vec<_> = term.iter().filter(|f| !category(f)).collect();
        let whole = term
            .iter()
            .zip(&every_level)
            .all(|(f, every)| *every || !category(f));
        let last_cell = rest.len() < term.len()
            && whole
            && (rest.is_empty()
                || others().any(|(_, other)| {
                    other.len() == rest.len() && rest.iter().all(|f| other.contains(f))
                }));
        Self {
            every_level,
            last_cell,
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
    for (k, feature) in plan.iter().enumerate() {
        for (name, column) in source.columns(feature, &Coding::of(plan, k))? {
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
    fn columns(&mut self, feature: &Feature, coding: &Coding) -> Result<Made> {
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
                let first = usize::from(!coding.every_level[0]);
                if groups.levels().len() <= first {
                    self.single_level.push(name.clone());
                }
                let levels = groups.levels().iter().enumerate().skip(first);
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
                let (mut product, mut last): (Made, Vec<bool>) = (vec![], vec![]);
                for (k, (feature, transform)) in factors.iter().enumerate() {
                    let own = Coding {
                        every_level: vec![coding.every_level[k]],
                        last_cell: false,
                    };
                    let next = self.transformed(feature, transform, &own)?;
                    let category = matches!(feature, Feature::Categorical(_));
                    let ends = (0..next.len()).map(|j| !category || j + 1 == next.len());
                    if k == 0 {
                        (last, product) = (ends.collect(), next);
                    } else {
                        last = ends
                            .flat_map(|end| last.iter().map(move |l| *l && end))
                            .collect();
                        product = times(&product, &next);
                    }
                }
                let kept = product.into_iter().zip(last);
                kept.filter(|(_, last)| !(coding.last_cell && *last))
                    .map(|(column, _)| column)
                    .collect()
            }
        })
    }

    fn transformed(
        &mut self,
        feature: &Feature,
        transform: &Transform,
        coding: &Coding,
    ) -> Result<Made> {
        let mut made = Vec::new();
        for (name, values) in self.columns(feature, coding)? {
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
