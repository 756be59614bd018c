//! Labels from `dataset.json`.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};

/// The labels of a set of images, one vector per image.
#[derive(Debug)]
pub(super) struct Labels {
    dim: usize,
    values: Vec<Vec<f32>>,
}

/// `{"labels": [["00000/img00000000.png", 6], ...]}`, or with lists of numbers instead of classes.
#[derive(Deserialize)]
struct File {
    labels: Option<Vec<(String, Label)>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Class(u32),
    Vector(Vec<f32>),
}

/// Classes above this are taken for a mistake.
const MOST_CLASSES: usize = 1 << 16;

impl Labels {
    /// Finds the label of each of `names`; a class becomes a vector with a single one.
    pub(super) fn read(text: Vec<u8>, path: &Path, names: &[String]) -> Result<Self> {
        let fault = |reason: String| Error::Labels {
            path: path.to_path_buf(),
            reason,
        };
        let file: File = serde_json::from_slice(&text)
            .map_err(|e| fault(format!("`dataset.json` cannot be read: {e}")))?;
        let entries = file
            .labels
            .ok_or_else(|| fault("`dataset.json` has no `labels`".to_owned()))?;
        let mut of: HashMap<String, Label> = HashMap::with_capacity(entries.len());
        for (name, label) in entries {
            // Folders made on Windows.
            let name = name.replace('\\', "/");
            if of.insert(name.clone(), label).is_some() {
                return Err(fault(format!("two labels for {name}")));
            }
        }
        let without: Vec<&String> = names.iter().filter(|n| !of.contains_key(*n)).collect();
        if let Some(first) = without.first() {
            return Err(fault(format!(
                "no label for {} of {} images, {first} among them",
                without.len(),
                names.len()
            )));
        }
        let chosen = || names.iter().filter_map(|n| of.get(n).map(|l| (n, l)));
        let classes = chosen()
            .filter_map(|(_, l)| match l {
                Label::Class(c) => Some(*c as usize),
                Label::Vector(_) => None,
            })
            .max();
        let dim = match classes {
            Some(largest) => largest + 1,
            None => chosen().next().map_or(
                0,
                |(_, l)| if let Label::Vector(v) = l { v.len() } else { 0 },
            ),
        };
        if dim == 0 || dim > MOST_CLASSES {
            return Err(fault(format!("labels of length {dim}")));
        }
        let mut values = Vec::with_capacity(names.len());
        for (name, label) in chosen() {
            let value = match label {
                Label::Class(c) => {
                    let mut v = vec![0.0; dim];
                    v[*c as usize] = 1.0;
                    v
                }
                Label::Vector(_) if classes.is_some() => {
                    return Err(fault(format!(
                        "the label of {name} is a list, others are classes"
                    )));
                }
                Label::Vector(v) => v.clone(),
            };
            if value.len() != dim {
                return Err(fault(format!(
                    "the label of {name} has {} numbers, others have {dim}",
                    value.len()
                )));
            }
            if value.iter().any(|v| !v.is_finite()) {
                return Err(fault(format!("the label of {name} is not finite")));
            }
            values.push(value);
        }
        Ok(Self { dim, values })
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn get(&self, index: usize) -> Option<Vec<f32>> {
        self.values.get(index).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Labels> {
        let names = ["0/a.png".to_owned(), "0/b.png".to_owned()];
        Labels::read(text.into(), Path::new("set"), &names)
    }

    #[test]
    fn classes_become_indicators_and_lists_stay() {
        let labels = read(r#"{"labels": [["0/b.png", 2], ["0/a.png", 0], ["c.png", 9]]}"#).unwrap();
        assert_eq!(labels.dim(), 3);
        assert_eq!(labels.get(0), Some(vec![1.0, 0.0, 0.0]));
        assert_eq!(labels.get(1), Some(vec![0.0, 0.0, 1.0]));
        assert_eq!(labels.get(2), None);
        let labels = read(r#"{"labels": [["0\\a.png", [0.5, -1]], ["0/b.png", [2, 3]]]}"#).unwrap();
        assert_eq!(labels.get(0), Some(vec![0.5, -1.0]));
    }

    #[test]
    fn labels_that_do_not_fit_are_named() {
        for (text, expected) in [
            ("{", "cannot be read"),
            (r#"{"labels": null}"#, "no `labels`"),
            (
                r#"{"labels": [["0/a.png", 1]]}"#,
                "no label for 1 of 2 images, 0/b.png",
            ),
            (
                r#"{"labels": [["0/a.png", 1], ["0/b.png", -1]]}"#,
                "cannot be read",
            ),
            (
                r#"{"labels": [["0/a.png", 1], ["0/b.png", [1]]]}"#,
                "label of 0/b.png is a list",
            ),
            (
                r#"{"labels": [["0/a.png", [1]], ["0/b.png", [1, 2]]]}"#,
                "label of 0/b.png has 2",
            ),
            (
                r#"{"labels": [["0/a.png", 1], ["0/a.png", 2], ["0/b.png", 1]]}"#,
                "two labels",
            ),
        ] {
            let error = read(text).map(|l| l.dim()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(error.contains("set"), "{error}");
        }
    }
}
