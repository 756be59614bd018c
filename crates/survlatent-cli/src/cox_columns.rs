//! Values that `cox --path` takes per feature column.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use survlatent::cox_survival::PathFit;
use survlatent::{Table, nearest};

use crate::failure::Failure;

/// What a flag was given, and the columns it is about.
pub(crate) struct Given<'a> {
    flag: &'static str,
    value: &'static str,
    items: &'a [String],
    names: &'a [String],
}

impl<'a> Given<'a> {
    /// `value` is what stands behind the equals sign in the flag's help.
    pub(crate) fn new(
        flag: &'static str,
        value: &'static str,
        items: &'a [String],
        names: &'a [String],
    ) -> Self {
        Self {
            flag,
            value,
            items,
            names,
        }
    }

    fn fault(&self, what: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{}: {what}", self.flag))
    }

    /// The place of a feature column.
    pub(crate) fn place(&self, name: &str) -> Result<usize, Failure> {
        self.names.iter().position(|n| n == name).ok_or_else(|| {
            let hint = nearest(name, self.names.iter().map(String::as_str))
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            self.fault(format!("there is no feature column `{name}`{hint}"))
        })
    }

    /// Text per column: one item for each in order, or NAME=VALUE for some.
    pub(crate) fn texts(&self) -> Result<Vec<Option<&'a str>>, Failure> {
        if !self.items.iter().any(|item| item.contains('=')) {
            if self.items.len() != self.names.len() {
                return Err(self.fault(format!(
                    "{} {}s for {} feature columns",
                    self.items.len(),
                    self.value.to_lowercase(),
                    self.names.len()
                )));
            }
            return Ok(self.items.iter().map(|item| Some(item.as_str())).collect());
        }
        let mut texts = vec![None; self.names.len()];
        for item in self.items {
            // A column's name may hold an equals sign itself.
            let Some((name, text)) = item.rsplit_once('=') else {
                let value = self.value;
                return Err(self.fault(format!("`{item}` among NAME={value} pairs")));
            };
            texts[self.place(name)?] = Some(text);
        }
        Ok(texts)
    }

    /// Numbers per column, `default` where none is given; a single one may stand for `all`.
    pub(crate) fn numbers(
        &self,
        default: f64,
        all: bool,
        parse: impl Fn(&str) -> Result<f64, String>,
    ) -> Result<Vec<f64>, Failure> {
        let parse = |text: &str| parse(text).map_err(|error| self.fault(error));
        if let ([one], true) = (self.items, all)
            && !one.contains('=')
        {
            return Ok(vec![parse(one)?; self.names.len()]);
        }
        let texts = self.texts()?;
        texts
            .into_iter()
            .map(|text| text.map_or(Ok(default), parse))
            .collect()
    }
}

/// The groups of `--group`.
pub(crate) struct GroupNames {
    /// Of each column.
    names: Vec<String>,
    pub(crate) labels: Vec<usize>,
}

/// What the JSON says of groups.
#[derive(Serialize)]
pub(crate) struct ActiveGroups<'a> {
    group: &'a [String],
    active_groups: Vec<usize>,
}

impl GroupNames {
    pub(crate) fn new(map: &[String], columns: &[String]) -> Result<Self, Failure> {
        let given = Given::new("--group", "GROUP", map, columns);
        let texts: Vec<Option<String>> = match map {
            [word] if word == "layer" => {
                let layered: Vec<Option<String>> = columns.iter().map(|name| layer(name)).collect();
                if layered.iter().all(Option::is_none) {
                    return Err(given.fault("no feature is named LAYER.COLUMN"));
                }
                layered
            }
            [file] if !file.contains('=') && columns.len() > 1 => from_file(&given, file)?,
            _ => {
                let texts = given.texts()?;
                texts
                    .into_iter()
                    .map(|text| text.map(str::to_owned))
                    .collect()
            }
        };
        let named = texts.into_iter().zip(columns);
        let names: Vec<String> = named
            .map(|(text, column)| text.unwrap_or_else(|| column.clone()))
            .collect();
        // Numbered in order of appearance.
        let mut number = BTreeMap::new();
        let labels = names
            .iter()
            .map(|name| {
                let next = number.len();
                *number.entry(name.as_str()).or_insert(next)
            })
            .collect();
        Ok(Self { names, labels })
    }

    /// Groups with a coefficient at each lambda.
    pub(crate) fn of(&self, fit: &PathFit) -> ActiveGroups<'_> {
        let active = |k: usize| {
            let index = &fit.beta(k).index;
            let mut labels: Vec<usize> = index.iter().map(|&j| self.labels[j as usize]).collect();
            labels.sort_unstable();
            labels.dedup();
            labels.len()
        };
        ActiveGroups {
            group: &self.names,
            active_groups: (0..fit.lambda().len()).map(active).collect(),
        }
    }
}

/// `layer3` of `layer3.17`.
fn layer(name: &str) -> Option<String> {
    let (layer, column) = name.rsplit_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let layered = layer.strip_prefix("layer").is_some_and(digits);
    (layered && digits(column)).then(|| layer.to_owned())
}

fn from_file(given: &Given<'_>, file: &str) -> Result<Vec<Option<String>>, Failure> {
    let table = Table::read(Path::new(file))?;
    let mut texts = vec![None; given.names.len()];
    let (features, groups) = (cells(&table, "feature")?, cells(&table, "group")?);
    for (feature, group) in features.iter().zip(groups) {
        texts[given.place(feature)?] = Some(group);
    }
    Ok(texts)
}

/// A column as text, all of it there.
fn cells(table: &Table, column: &str) -> Result<Vec<String>, Failure> {
    let labels = table.labels(column)?;
    (0..table.n())
        .map(|row| match labels.code(row) {
            Some(code) => Ok(labels.levels()[code as usize].clone()),
            None => Err(Failure::usage(format!(
                "--group: column `{column}`, row {}: nothing there",
                row + 1
            ))),
        })
        .collect()
}
