//! The levels of a column: its own, or bands of a number.

use std::collections::BTreeMap;

use super::data::Subgroups;
use super::interval::quantile;
use crate::error::{Error, Result};
use crate::table::{Kind, Table};

/// Numbers of at most so many values, a grade say, are levels and not cut.
const MOST_LEVELS: usize = 6;

/// How the levels of columns are found.
pub(super) struct Levels<'a> {
    /// Columns whose numbers are codes.
    pub(super) categorical: &'a [String],
    /// Where numbers are cut.
    pub(super) cuts: &'a BTreeMap<String, Vec<f64>>,
}

impl Levels<'_> {
    /// The level of each of `rows` of the table. Numbers are cut at what is given, otherwise, where they
    /// take more than 6 values, into thirds.
    ///
    /// # Errors
    /// A column that is not there; cuts of a column that holds text, or not in ascending order.
    pub(super) fn of(&self, table: &Table, column: &str, rows: &[usize]) -> Result<Subgroups> {
        let numeric = table.column(column)?.kind() == Kind::Numeric;
        let fault = |reason: &str| Error::Study {
            reason: format!("columns.subgroup_cuts: `{column}` {reason}"),
        };
        match self.cuts.get(column) {
            Some(_) if !numeric => Err(fault("is no column of numbers")),
            Some(cuts) if !ascending(cuts) => Err(fault("needs finite numbers, ascending")),
            Some(cuts) => Ok(bands(table.numbers(column)?, column, rows, cuts)),
            None if numeric && !self.categorical.iter().any(|c| c == column) => {
                let values = table.numbers(column)?;
                let mut known: Vec<f64> = rows.iter().map(|&r| values[r]).collect();
                known.retain(|v| !v.is_nan());
                known.sort_unstable_by(f64::total_cmp);
                let cuts = thirds(&known);
                if cuts.is_empty() {
                    own(table, column, rows)
                } else {
                    Ok(bands(values, column, rows, &cuts))
                }
            }
            None => own(table, column, rows),
        }
    }
}

fn ascending(cuts: &[f64]) -> bool {
    !cuts.is_empty()
        && cuts.iter().all(|c| c.is_finite())
        && cuts.windows(2).all(|pair| pair[0] < pair[1])
}

/// Where ascending values are cut into thirds, at numbers that a person would choose; nowhere where
/// there are few of them.
fn thirds(sorted: &[f64]) -> Vec<f64> {
    let mut distinct = sorted.to_vec();
    distinct.dedup_by(|a, b| a.total_cmp(b).is_eq());
    if distinct.len() <= MOST_LEVELS {
        return Vec::new();
    }
    let exact = [1.0, 2.0].map(|k| quantile(sorted, k / 3.0));
    let cuts = exact.map(super::rounded);
    let inside = |c: &f64| distinct[0] < *c && *c <= distinct[distinct.len() - 1];
    let mut cuts = if ascending(&cuts) && cuts.iter().all(inside) {
        cuts.to_vec()
    } else {
        exact.to_vec()
    };
    cuts.retain(inside);
    cuts.dedup_by(|a, b| a.total_cmp(b).is_eq());
    cuts
}

fn bands(values: &[f64], column: &str, rows: &[usize], cuts: &[f64]) -> Subgroups {
    let (first, last) = (cuts[0], cuts[cuts.len() - 1]);
    let mut levels = vec![format!("below {first}")];
    let between = cuts.windows(2);
    levels.extend(between.map(|pair| format!("{} to below {}", pair[0], pair[1])));
    levels.push(format!("{last} and above"));
    let missing = levels.len() as u32;
    let code = |&r: &usize| match values[r] {
        v if v.is_nan() => missing,
        v => cuts.partition_point(|c| *c <= v) as u32,
    };
    with_missing(column, rows.iter().map(code).collect(), levels)
}

/// Every value a level.
fn own(table: &Table, column: &str, rows: &[usize]) -> Result<Subgroups> {
    let labels = table.labels(column)?;
    let levels = labels.levels().to_vec();
    let missing = levels.len() as u32;
    let code = |&r: &usize| labels.code(r).unwrap_or(missing);
    Ok(with_missing(
        column,
        rows.iter().map(code).collect(),
        levels,
    ))
}

fn with_missing(column: &str, codes: Vec<u32>, mut levels: Vec<String>) -> Subgroups {
    if codes.contains(&(levels.len() as u32)) {
        levels.push("(missing)".into());
    }
    Subgroups {
        column: column.to_owned(),
        codes,
        levels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut text = "age,grade,sex\n".to_owned();
        for i in 0..30 {
            let sex = if i % 2 == 0 { "f" } else { "m" };
            text.extend([
                &(40 + i).to_string(),
                ",",
                &(i % 3).to_string(),
                ",",
                sex,
                "\n",
            ]);
        }
        text += "NA,1,f\n";
        Table::from_csv(text.as_bytes()).unwrap()
    }

    fn levels(column: &str, cuts: &[f64], categorical: &[String]) -> Result<Subgroups> {
        let mut all = BTreeMap::new();
        if !cuts.is_empty() {
            all.insert(column.to_owned(), cuts.to_vec());
        }
        let rows: Vec<usize> = (0..31).collect();
        Levels {
            categorical,
            cuts: &all,
        }
        .of(&table(), column, &rows)
    }

    #[test]
    fn numbers_are_cut_and_few_values_are_not() {
        let age = levels("age", &[50.0, 65.0], &[]).unwrap();
        let names = ["below 50", "50 to below 65", "65 and above", "(missing)"];
        assert_eq!(age.levels, names);
        // 50 itself is in the second band.
        assert_eq!((age.codes[9], age.codes[10], age.codes[30]), (0, 1, 3));
        let thirds = levels("age", &[], &[]).unwrap();
        assert_eq!(
            thirds.levels,
            ["below 50", "50 to below 59", "59 and above", "(missing)"]
        );
        let count = |k| thirds.codes.iter().filter(|c| **c == k).count();
        assert_eq!([count(0), count(1), count(2)], [10, 9, 11]);
        assert_eq!(levels("grade", &[], &[]).unwrap().levels, ["0", "1", "2"]);
        assert_eq!(levels("sex", &[], &[]).unwrap().levels, ["f", "m"]);
        // Codes that happen to be numbers.
        let coded = levels("age", &[], &["age".to_owned()]).unwrap();
        assert_eq!(coded.levels.len(), 31);
    }

    #[test]
    fn cuts_that_make_no_sense_are_refused() {
        for (column, cuts) in [("sex", &[1.0][..]), ("age", &[60.0, 50.0])] {
            let error = levels(column, cuts, &[]).unwrap_err().to_string();
            assert!(
                error.contains(column) && error.contains("subgroup_cuts"),
                "{error}"
            );
        }
    }
}
