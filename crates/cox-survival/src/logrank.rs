//! The k-sample log-rank test and its G-rho relatives.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::compensated::Sum;
use crate::error::{Error, Result, check_length};
use crate::life_table::{self, LifeTable, Sample};
use crate::surv::Surv;
use crate::table::Table;
use crate::text_table;

/// A pivot this small relative to its variance is nothing but rounding.
const SINGULAR: f64 = 1e-11;

/// Settings of a log-rank test: do the hazards of `k` groups differ?
///
/// ```text
/// U_g  = sum over t of w(t) (d_g - d n_g / n),            w(t) = S(t-)^rho
/// V_gh = sum over t of w(t)^2 d (n - d) / (n - 1) (n_g / n) ([g = h] - n_h / n)
/// chi-squared = U' V^- U  on k - 1 degrees of freedom
/// ```
///
/// with `d_g` events and `n_g` at risk in group `g` at event time `t`, `d` and `n` in all groups,
/// and `S` the Kaplan-Meier estimate of all groups together (Mantel 1966; Harrington and Fleming
/// 1982). Strata of the [`Surv`] stratify the test: sums are taken within each and added. R:
/// `survdiff(Surv(time, status) ~ group + strata(s), rho = rho)`.
///
/// ```
/// use cox_survival::{LogRank, Surv};
/// let time = [6.0, 7.0, 10.0, 15.0, 19.0, 25.0, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0];
/// let event = [true, false, true, true, false, true, true, true, true, true, true, true];
/// let arm = ["new", "new", "new", "new", "new", "new", "old", "old", "old", "old", "old", "old"];
/// let test = LogRank::new().test(&Surv::new(&time, &event)?, &arm)?;
/// assert_eq!(test.df, 1);
/// assert!(test.p_value < 0.002);
/// println!("{test}");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogRank {
    rho: f64,
}

impl LogRank {
    /// The log-rank test, `rho = 0`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Weights events by `S(t-)^rho`: 0 is the log-rank test, 1 the Peto and Peto modification of
    /// the Wilcoxon test, which looks more at early differences.
    pub fn rho(mut self, rho: f64) -> Self {
        self.rho = rho;
        self
    }

    /// Tests whether the hazards of the groups named by `labels` are the same. `O(n log n + m k^2)`
    /// for `m` event times and `k` groups.
    ///
    /// Entry times are honoured (R's `survdiff` takes none; the score test of R's
    /// `coxph(ties = "exact")` is the same test). Case weights count patients: a row of weight 3
    /// is three patients.
    ///
    /// # Errors
    /// [`Error::TooFewGroups`] with one group, [`Error::Undefined`] when no event time has two
    /// groups at risk, the groups cannot all be compared with each other, or the weights at risk sum to
    /// 1 or less, which is no more than one patient.
    pub fn test<L: Ord + Display>(&self, surv: &Surv, labels: &[L]) -> Result<LogRankTest> {
        check_length("labels", labels.len(), surv.n())?;
        if !self.rho.is_finite() {
            return Err(Error::Setting {
                name: "rho",
                value: self.rho.to_string(),
                expected: "a finite number",
            });
        }
        let (codes, names) = present(surv, labels);
        if names.len() < 2 {
            return Err(Error::TooFewGroups { found: names.len() });
        }
        let strata = life_table::by_stratum(surv);
        let mut sums = Sums::new(names.len());
        for stratum in &strata {
            sums.add(surv, stratum, &codes, self.rho);
        }
        let (chi_squared, df) = sums.chi_squared()?;
        let mut counts = vec![0; names.len()];
        for &row in strata.iter().flat_map(|s| &s.rows) {
            counts[codes[row as usize] as usize] += 1;
        }
        let groups = names.into_iter().zip(counts).enumerate();
        Ok(LogRankTest {
            settings: *self,
            groups: groups
                .map(|(g, (name, n))| LogRankGroup {
                    name,
                    n,
                    observed: sums.observed[g].value(),
                    expected: sums.expected[g].value(),
                })
                .collect(),
            variance: sums
                .variance
                .iter()
                .map(|row| row.iter().map(|v| v.value()).collect())
                .collect(),
            strata: strata.len(),
            chi_squared,
            df,
            p_value: chi_squared_tail(chi_squared, df)?,
        })
    }
}

/// Codes of the labels among those that have a row of positive weight, and their names.
fn present<L: Ord + Display>(surv: &Surv, labels: &[L]) -> (Vec<u32>, Vec<String>) {
    let (mut codes, names) = life_table::encode(labels);
    let mut used = vec![false; names.len()];
    for (row, &code) in codes.iter().enumerate() {
        used[code as usize] |= surv.weight(row) > 0.0;
    }
    let mut next = 0;
    let new: Vec<u32> = used
        .iter()
        .map(|&used| {
            let code = next;
            next += u32::from(used);
            code
        })
        .collect();
    // Rows of weight 0 may get the code of another group: they are never looked at.
    for code in &mut codes {
        *code = new[*code as usize];
    }
    let kept = names.into_iter().zip(used).filter(|(_, used)| *used);
    (codes, kept.map(|(name, _)| name).collect())
}

/// Probability that a chi-squared variable on `df` degrees of freedom exceeds `x`, from the upper
/// tail itself: small values keep their digits.
pub(crate) fn chi_squared_tail(x: f64, df: usize) -> Result<f64> {
    let distribution = ChiSquared::new(df as f64).map_err(|_| Error::Undefined {
        what: "a chi-squared test",
        reason: "it has no degrees of freedom",
    })?;
    Ok(distribution.sf(x))
}

/// Observed, expected and their variance over all strata so far.
struct Sums {
    observed: Vec<Sum>,
    expected: Vec<Sum>,
    variance: Vec<Vec<Sum>>,
    /// Whether a risk set of several groups had no variance because it weighs no more than a patient.
    too_light: bool,
}

impl Sums {
    fn new(groups: usize) -> Self {
        Self {
            observed: vec![Sum::default(); groups],
            expected: vec![Sum::default(); groups],
            variance: vec![vec![Sum::default(); groups]; groups],
            too_light: false,
        }
    }

    /// Adds one stratum. Needs its rows by time; walks from the latest time to the earliest, as
    /// [`LifeTable::new`] does, with risk sets by group.
    fn add(&mut self, surv: &Surv, sample: &Sample, codes: &[u32], rho: f64) {
        let table = LifeTable::new(surv, sample);
        let k = self.observed.len();
        let mut survival = 1.0;
        let weights: Vec<f64> = (0..table.time.len())
            .map(|j| {
                let before: f64 = survival;
                survival *= table.survivors[j] / table.n_risk[j];
                before.powf(rho)
            })
            .collect();
        let mut here = vec![(Sum::default(), 0u32); k];
        let mut not_entered = here.clone();
        let mut late = sample.by_entry.len();
        let mut at_risk = vec![0.0; k];
        for j in (0..table.time.len()).rev() {
            for &row in table.leaving(j, sample) {
                let (weight, rows) = &mut here[codes[row as usize] as usize];
                weight.add(surv.weight(row as usize));
                *rows += 1;
            }
            if let Some(entry) = surv.entry() {
                while late > 0 && entry[sample.by_entry[late - 1] as usize] >= table.time[j] {
                    late -= 1;
                    let row = sample.by_entry[late] as usize;
                    let (weight, rows) = &mut not_entered[codes[row] as usize];
                    weight.add(surv.weight(row));
                    *rows += 1;
                }
            }
            let (n, d, w) = (table.n_risk[j], table.n_event[j], weights[j]);
            if d <= 0.0 || w <= 0.0 {
                continue;
            }
            for &row in table.leaving(j, sample) {
                if surv.event()[row as usize] {
                    self.observed[codes[row as usize] as usize].add(w * surv.weight(row as usize));
                }
            }
            for (g, n_g) in at_risk.iter_mut().enumerate() {
                *n_g = if here[g].1 == not_entered[g].1 {
                    0.0
                } else {
                    here[g].0.value() - not_entered[g].0.value()
                };
                self.expected[g].add(w * d * *n_g / n);
            }
            // A single patient at risk has no variance.
            if n <= 1.0 && table.survivors[j] > 0.0 {
                self.too_light |= at_risk.iter().filter(|n_g| **n_g > 0.0).count() > 1;
            }
            if n > 1.0 && table.survivors[j] > 0.0 {
                let scale = w * w * d * table.survivors[j] / (n - 1.0) / n / n;
                for g in 0..k {
                    self.variance[g][g].add(scale * at_risk[g] * (n - at_risk[g]));
                    for h in (0..k).filter(|&h| h != g) {
                        self.variance[g][h].add(-scale * at_risk[g] * at_risk[h]);
                    }
                }
            }
        }
    }

    /// Quadratic form over the groups that were ever expected to have an event, one left out.
    fn chi_squared(&self) -> Result<(f64, usize)> {
        let expected = |g: &usize| self.expected[*g].value() > 0.0;
        let kept: Vec<usize> = (0..self.expected.len()).filter(expected).skip(1).collect();
        let value = |g: usize, h: usize| self.variance[g][h].value();
        let mut u: Vec<f64> = kept
            .iter()
            .map(|&g| self.observed[g].value() - self.expected[g].value())
            .collect();
        // Cholesky, row by row; the forward substitution of `u` goes along.
        let mut factor: Vec<Vec<f64>> = Vec::with_capacity(kept.len());
        for (i, &g) in kept.iter().enumerate() {
            let mut row = Vec::with_capacity(i + 1);
            for (j, &h) in kept[..i].iter().enumerate() {
                let dot: f64 = row.iter().zip(&factor[j]).map(|(a, b)| a * b).sum();
                row.push((value(g, h) - dot) / factor[j][j]);
            }
            let pivot = value(g, g) - row.iter().map(|a| a * a).sum::<f64>();
            if pivot <= SINGULAR * value(g, g) {
                return Err(Error::Undefined {
                    what: "the log-rank test",
                    reason: if self.too_light {
                        "the weights at risk sum to 1 or less, but they are taken as numbers of patients"
                    } else {
                        "some groups are never at risk together when an event happens"
                    },
                });
            }
            let dot: f64 = row.iter().zip(&u).map(|(a, b)| a * b).sum();
            u[i] = (u[i] - dot) / pivot.sqrt();
            row.push(pivot.sqrt());
            factor.push(row);
        }
        if kept.is_empty() {
            return Err(Error::Undefined {
                what: "the log-rank test",
                reason: "fewer than two groups are at risk when an event happens",
            });
        }
        Ok((u.iter().map(|v| v * v).sum(), kept.len()))
    }
}

/// Result of [`LogRank::test`]: prints R's table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogRankTest {
    /// The settings of the test.
    pub settings: LogRank,
    /// The groups, by name.
    pub groups: Vec<LogRankGroup>,
    /// Variance matrix of observed minus expected, groups by groups, summed over strata.
    pub variance: Vec<Vec<f64>>,
    /// Number of strata (1 without).
    pub strata: usize,
    /// The test statistic.
    pub chi_squared: f64,
    /// Degrees of freedom: groups with an expected event, less one.
    pub df: usize,
    /// Upper tail of the chi-squared distribution.
    pub p_value: f64,
}

/// One group of a log-rank test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogRankGroup {
    /// Its label.
    pub name: String,
    /// Number of rows (of positive weight).
    pub n: usize,
    /// Events, each weighted by `S(t-)^rho`.
    pub observed: f64,
    /// Events expected if all hazards are equal, weighted likewise.
    pub expected: f64,
}

impl LogRankTest {
    /// The `rho` of the test, 0 for the log-rank test.
    pub fn rho(&self) -> f64 {
        self.settings.rho
    }

    /// The printed table of the groups, to be written in other ways.
    pub fn table(&self) -> Table {
        let header = ["", "N", "Observed", "Expected", "(O-E)^2/E", "(O-E)^2/V"];
        let rows: Vec<Vec<String>> = self
            .groups
            .iter()
            .enumerate()
            .map(|(g, group)| {
                let square = (group.observed - group.expected).powi(2);
                vec![
                    group.name.clone(),
                    group.n.to_string(),
                    text_table::significant(group.observed, 4),
                    text_table::significant(group.expected, 4),
                    text_table::significant(square / group.expected, 3),
                    text_table::significant(square / self.variance[g][g], 3),
                ]
            })
            .collect();
        Table::new(&header, rows)
    }
}

impl fmt::Display for LogRankTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)?;
        let plural = if self.df == 1 { "degree" } else { "degrees" };
        writeln!(
            f,
            "\nChisq= {} on {} {plural} of freedom, p= {}",
            text_table::significant(self.chi_squared, 3),
            self.df,
            text_table::p_value(self.p_value),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_data::{self, Rows, close};

    /// Observed, expected and variance from the definition, `O(n^2)`.
    fn slow_twin(rows: &Rows, rho: f64) -> (Vec<f64>, Vec<f64>, Vec<Vec<f64>>) {
        let mut observed = vec![0.0; 3];
        let mut expected = vec![0.0; 3];
        let mut variance = vec![vec![0.0; 3]; 3];
        for stratum in 0..3 {
            let mut times: Vec<f64> = (0..rows.time.len())
                .filter(|&i| rows.event[i] && rows.weights[i] > 0.0 && rows.strata[i] == stratum)
                .map(|i| rows.time[i])
                .collect();
            times.sort_by(f64::total_cmp);
            times.dedup_by(|a, b| a.total_cmp(b).is_eq());
            let mut survival = 1.0f64;
            for t in times {
                let (mut n, mut d) = (vec![0.0; 3], vec![0.0; 3]);
                for i in 0..rows.time.len() {
                    if rows.strata[i] == stratum && rows.at_risk(i, t) {
                        n[rows.group[i]] += rows.weights[i];
                        if rows.event[i] && rows.leaves_at(i, t) {
                            d[rows.group[i]] += rows.weights[i];
                        }
                    }
                }
                let (all, dead): (f64, f64) = (n.iter().sum(), d.iter().sum());
                let w = survival.powf(rho);
                survival *= (all - dead) / all;
                for g in 0..3 {
                    observed[g] += w * d[g];
                    expected[g] += w * dead * n[g] / all;
                    for h in 0..3 {
                        let same = if g == h { 1.0 } else { 0.0 };
                        if all > 1.0 {
                            variance[g][h] += w * w * dead * (all - dead) / (all - 1.0)
                                * (n[g] / all)
                                * (same - n[h] / all);
                        }
                    }
                }
            }
        }
        (observed, expected, variance)
    }

    proptest! {
        #[test]
        fn agrees_with_the_slow_twin(rows in test_data::rows(40), rho in 0..3u8) {
            let surv = rows.surv();
            let rho = f64::from(rho) / 2.0;
            let (observed, expected, variance) = slow_twin(&rows, rho);
            match LogRank::new().rho(rho).test(&surv, &rows.group) {
                Ok(test) => {
                    let index: Vec<usize> =
                        test.groups.iter().map(|g| g.name.parse().unwrap()).collect();
                    for (a, &g) in index.iter().enumerate() {
                        close(test.groups[a].observed, observed[g], 1e-11);
                        close(test.groups[a].expected, expected[g], 1e-11);
                        for (b, &h) in index.iter().enumerate() {
                            close(test.variance[a][b], variance[g][h], 1e-11);
                        }
                    }
                    // Any group may be the one left out: with two groups the form is a square.
                    let busy: Vec<usize> = (0..3).filter(|&g| expected[g] > 0.0).collect();
                    prop_assert_eq!(test.df, busy.len() - 1);
                    if test.df == 1 {
                        let g = busy[0];
                        let want = (observed[g] - expected[g]).powi(2) / variance[g][g];
                        close(test.chi_squared, want, 1e-9);
                    }
                    prop_assert!((0.0..=1.0).contains(&test.p_value));
                }
                Err(Error::TooFewGroups { found }) => {
                    let mut seen: Vec<usize> = (0..rows.time.len())
                        .filter(|&i| rows.weights[i] > 0.0)
                        .map(|i| rows.group[i])
                        .collect();
                    seen.sort_unstable();
                    seen.dedup();
                    prop_assert_eq!(seen.len(), found);
                }
                Err(Error::Undefined { .. }) => {
                    // Then the matrix without some group is singular: all 2 x 2 minors, or a zero.
                    let busy: Vec<usize> = (0..3).filter(|&g| expected[g] > 0.0).collect();
                    let minor = |g: usize, h: usize| {
                        variance[g][g] * variance[h][h] - variance[g][h] * variance[h][g]
                    };
                    let singular = match busy[..] {
                        [_, g] => variance[g][g] < 1e-11,
                        [_, g, h] => minor(g, h) < 1e-9,
                        _ => true,
                    };
                    prop_assert!(singular);
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn whole_weights_are_repeated_rows(rows in test_data::rows(25)) {
            let mut rows = rows;
            for weight in &mut rows.weights {
                *weight = weight.ceil();
            }
            let copies: Vec<usize> = (0..rows.time.len())
                .flat_map(|i| (0..3).filter(|&c| f64::from(c) < rows.weights[i]).map(move |_| i).collect::<Vec<_>>())
                .collect();
            let weighted = LogRank::new().test(&rows.surv(), &rows.group);
            rows.weights = vec![1.0; rows.time.len()];
            let Ok(repeated) = rows.surv().subset(&copies) else { return Ok(()) };
            let groups: Vec<usize> = copies.iter().map(|&i| rows.group[i]).collect();
            match (weighted, LogRank::new().test(&repeated, &groups)) {
                (Ok(a), Ok(b)) => close(a.chi_squared, b.chi_squared, 1e-9),
                (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
            }
        }
    }

    #[test]
    fn the_upper_tail_keeps_its_digits() {
        // R: pchisq(x, df, lower.tail = FALSE).
        for (x, df, want) in [
            (3.84, 1, 5.004_352_124_870_522e-2),
            (200.0, 1, 2.088_487_583_762_545e-45),
            (1200.0, 3, 7.331_671_591_550_679e-260),
            (50.0, 7, 1.444_485_277_921_541e-8),
            (1e-6, 2, 9.999_995_000_001_25e-1),
            (400.0, 200, 1.843_893_649_711_574e-15),
        ] {
            close_relative(chi_squared_tail(x, df).unwrap(), want);
        }
    }

    #[track_caller]
    fn close_relative(found: f64, want: f64) {
        assert!(
            (found / want - 1.0).abs() < 1e-11,
            "{found:e} is not {want:e}"
        );
    }

    #[test]
    fn faults_are_named() {
        let surv = Surv::new(&[1.0, 2.0, 3.0], &[true, true, true]).unwrap();
        let test = LogRank::new().test(&surv, &["a", "a", "a"]);
        assert!(matches!(test, Err(Error::TooFewGroups { found: 1 })));
        let test = LogRank::new().test(&surv, &["a", "b"]);
        assert!(matches!(test, Err(Error::Length { .. })));
        let test = LogRank::new().rho(f64::NAN).test(&surv, &["a", "b", "b"]);
        assert!(matches!(test, Err(Error::Setting { name: "rho", .. })));
        let apart = Surv::builder(&[1.0, 2.0, 3.0, 4.0], &[true; 4])
            .strata(&[0, 0, 1, 1])
            .build()
            .unwrap();
        let test = LogRank::new().test(&apart, &["a", "a", "b", "b"]);
        assert!(matches!(test, Err(Error::Undefined { .. })));
        let apart = test.unwrap_err().to_string();
        assert!(apart.contains("never at risk together"), "{apart}");
        let together = |weight: f64| {
            let surv = Surv::builder(&[1.0, 2.0, 3.0, 4.0], &[true; 4])
                .weights(&[weight; 4])
                .build()
                .unwrap();
            LogRank::new().test(&surv, &["a", "b", "a", "b"])
        };
        assert!(together(0.5).is_ok());
        let light = together(0.25).unwrap_err().to_string();
        assert!(light.contains("numbers of patients"), "{light}");
    }

    #[test]
    fn prints_the_table_and_survives_serde() {
        let time = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let surv = Surv::new(&time, &[true, true, true, false, true, true]).unwrap();
        let groups = ["b", "b", "a", "b", "a", "a"];
        let test = LogRank::new().test(&surv, &groups).unwrap();
        let want = "  N Observed Expected (O-E)^2/E (O-E)^2/V\n\
                    a 3        3     3.85     0.188      1.07\n\
                    b 3        2     1.15     0.628      1.07\n\
                    \n\
                    Chisq= 1.07 on 1 degree of freedom, p= 0.302\n";
        assert_eq!(test.to_string(), want);
        let text = serde_json::to_string(&test).unwrap();
        assert_eq!(serde_json::from_str::<LogRankTest>(&text).unwrap(), test);
    }
}
