//! The result of a concordance, and the comparison of two.

use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::function::erf::{erf_inv, erfc};

use super::pairs::Totals;
use crate::error::{Error, Result, check_length};
use crate::table::Table;
use crate::text_table;

/// A concordance index with its pair counts and variance.
///
/// Counts are weighted by case weights and time weights. Prints the index, its standard error and
/// the counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the index has the name of the whole"
)]
pub struct Concordance {
    concordance: f64,
    concordant: f64,
    discordant: f64,
    tied_score: f64,
    tied_time: f64,
    tied_both: f64,
    n: usize,
    variance: Option<f64>,
    #[serde(with = "crate::number")]
    score_variance: f64,
    dfbeta: Option<Vec<f64>>,
    /// Influences of the rows from which the censoring curve was estimated, if they are others.
    training_dfbeta: Option<Vec<f64>>,
    cluster: Option<Vec<u32>>,
}

impl Concordance {
    pub(super) fn new(
        n: usize,
        totals: &Totals,
        dfbeta: Option<Vec<f64>>,
        training_dfbeta: Option<Vec<f64>>,
    ) -> Self {
        let comparable = totals.comparable();
        let mut out = Self {
            concordance: totals.concordance(),
            concordant: totals.concordant,
            discordant: totals.discordant,
            tied_score: totals.tied_score,
            tied_time: totals.tied_time,
            tied_both: totals.tied_both,
            n,
            variance: None,
            score_variance: totals.information / (4.0 * comparable * comparable),
            dfbeta,
            training_dfbeta,
            cluster: None,
        };
        out.update_variance();
        out
    }

    /// The probability that of two comparable patients the one who had the event first had the
    /// higher score, tied scores counting one half.
    pub fn concordance(&self) -> f64 {
        self.concordance
    }

    /// Pairs in which the higher score had the event first.
    pub fn concordant(&self) -> f64 {
        self.concordant
    }

    /// Pairs in which the lower score had the event first.
    pub fn discordant(&self) -> f64 {
        self.discordant
    }

    /// Comparable pairs with the same score (R's `tied.x`).
    pub fn tied_score(&self) -> f64 {
        self.tied_score
    }

    /// Pairs of events at the same time with different scores (R's `tied.y`); not comparable.
    pub fn tied_time(&self) -> f64 {
        self.tied_time
    }

    /// Pairs of events at the same time with the same score (R's `tied.xy`); not comparable.
    pub fn tied_both(&self) -> f64 {
        self.tied_both
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Infinitesimal-jackknife variance (R's `var`), summed over clusters if there are any.
    pub fn variance(&self) -> Option<f64> {
        self.variance
    }

    /// Square root of [`Concordance::variance`].
    pub fn std_error(&self) -> Option<f64> {
        self.variance.map(f64::sqrt)
    }

    /// The variance formula of the Cox score test for the ranks (R's `cvar`): valid when score
    /// and outcome are unrelated. With time weights other than [`TimeWeight::N`](crate::TimeWeight::N) it is R's figure
    /// and not a variance; NaN after [`Uno::fit_with_censoring`](crate::Uno::fit_with_censoring).
    pub fn score_variance(&self) -> f64 {
        self.score_variance
    }

    /// Influence of each row on the concordance, `w_i dC/dw_i`, in input order.
    pub fn dfbeta(&self) -> Option<&[f64]> {
        self.dfbeta.as_deref()
    }

    /// `(concordant - discordant) / (concordant + discordant)`: Goodman and Kruskal's gamma,
    /// which leaves tied scores out. NaN if all scores are tied.
    pub fn gamma(&self) -> f64 {
        (self.concordant - self.discordant) / (self.concordant + self.discordant)
    }

    /// `concordant / (concordant + discordant)`: the concordance with tied scores left out.
    pub fn concordance_without_ties(&self) -> f64 {
        self.concordant / (self.concordant + self.discordant)
    }

    /// Somers' d, `2 C - 1`.
    pub fn somers_d(&self) -> f64 {
        2.0 * self.concordance - 1.0
    }

    /// Kendall's tau-a over the pairs whose order in time is known or tied.
    pub fn tau_a(&self) -> f64 {
        (self.concordant - self.discordant)
            / (self.concordant
                + self.discordant
                + self.tied_score
                + self.tied_time
                + self.tied_both)
    }

    /// Kendall's tau-b over the same pairs.
    pub fn tau_b(&self) -> f64 {
        let decided = self.concordant + self.discordant;
        let spread = (decided + self.tied_score) * (decided + self.tied_time);
        (self.concordant - self.discordant) / spread.sqrt()
    }

    /// `C -+ z se`, not clipped to 0..1. `level` is for instance 0.95. `None` without variance
    /// or with a level outside 0..1.
    pub fn confidence_interval(&self, level: f64) -> Option<(f64, f64)> {
        if !(level > 0.0 && level < 1.0) {
            return None;
        }
        let z = std::f64::consts::SQRT_2 * erf_inv(level);
        let se = self.std_error()?;
        Some((self.concordance - z * se, self.concordance + z * se))
    }

    /// The same concordance with the variance for correlated rows: `cluster` labels rows of one
    /// patient (`n` labels), whose influences are summed before they are squared.
    ///
    /// ```
    /// use cox_survival::{Surv, concordance};
    /// let surv = Surv::new(&[2.0, 4.0, 5.0, 8.0], &[true, true, false, true])?;
    /// let c = concordance(&surv, &[1.9, 0.3, 0.8, -1.0])?.clustered(&["a", "b", "b", "c"])?;
    /// assert!(c.std_error().is_some());
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    pub fn clustered<L: Ord>(mut self, cluster: &[L]) -> Result<Self> {
        check_length("cluster", cluster.len(), self.n)?;
        self.cluster = Some(codes(cluster));
        self.update_variance();
        Ok(self)
    }

    /// Tests whether `other`, another score's concordance on the same rows in the same order
    /// (and with the same clusters), differs.
    pub fn compare(&self, other: &Self) -> Result<ConcordanceDifference> {
        check_length("dfbeta of the other concordance", other.n, self.n)?;
        if self.dfbeta.is_none() || other.dfbeta.is_none() {
            return Err(Error::Undefined {
                what: "a comparison of concordances",
                reason: "one was computed without its variance",
            });
        }
        let training = |c: &Self| c.training_dfbeta.as_ref().map(Vec::len);
        if self.cluster != other.cluster || training(self) != training(other) {
            return Err(Error::Undefined {
                what: "a comparison of concordances",
                reason: "their clusters or their training data differ",
            });
        }
        let covariance = self.covariance(other);
        let (var_a, var_b) = (self.covariance(self), other.covariance(other));
        let std_error = self.minus(other).sqrt();
        let difference = self.concordance - other.concordance;
        // Two scores with the same ranks differ by exactly nothing.
        let z = if difference.abs() > 0.0 {
            difference / std_error
        } else {
            0.0
        };
        Ok(ConcordanceDifference {
            concordance: (self.concordance, other.concordance),
            variance: (var_a, var_b),
            covariance,
            difference,
            std_error,
            z,
            p: erfc(z.abs() / std::f64::consts::SQRT_2),
        })
    }

    fn update_variance(&mut self) {
        self.variance = self.dfbeta.is_some().then(|| self.covariance(self));
    }

    /// `sum over clusters of (sum of a)(sum of b)` of the influences, training rows one by one.
    fn covariance(&self, other: &Self) -> f64 {
        let clusters = self.cluster.as_deref();
        products(
            self.dfbeta.as_ref(),
            other.dfbeta.as_ref(),
            clusters,
            |a, b| a * b,
        ) + products(
            self.training_dfbeta.as_ref(),
            other.training_dfbeta.as_ref(),
            None,
            |a, b| a * b,
        )
    }

    /// Variance of the difference; no digits are lost when the two are nearly the same.
    fn minus(&self, other: &Self) -> f64 {
        let squared = |a: f64, b: f64| (a - b) * (a - b);
        let clusters = self.cluster.as_deref();
        products(
            self.dfbeta.as_ref(),
            other.dfbeta.as_ref(),
            clusters,
            squared,
        ) + products(
            self.training_dfbeta.as_ref(),
            other.training_dfbeta.as_ref(),
            None,
            squared,
        )
    }
}

/// `sum over clusters of of(sum of a, sum of b)`; without clusters every row is one.
fn products(
    a: Option<&Vec<f64>>,
    b: Option<&Vec<f64>>,
    cluster: Option<&[u32]>,
    of: impl Fn(f64, f64) -> f64,
) -> f64 {
    let (Some(a), Some(b)) = (a, b) else {
        return 0.0;
    };
    let rows = a.iter().zip(b);
    let Some(cluster) = cluster else {
        return rows.map(|(&a, &b)| of(a, b)).sum();
    };
    let clusters = cluster.iter().max().map_or(0, |&c| c as usize + 1);
    let mut sums = vec![(0.0, 0.0); clusters];
    for (&c, (a, b)) in cluster.iter().zip(rows) {
        sums[c as usize].0 += a;
        sums[c as usize].1 += b;
    }
    sums.into_iter().map(|(a, b)| of(a, b)).sum()
}

/// Labels as numbers from 0 in sorted order.
pub(crate) fn codes<L: Ord>(labels: &[L]) -> Vec<u32> {
    let mut levels: Vec<&L> = labels.iter().collect();
    levels.sort_unstable();
    levels.dedup();
    labels
        .iter()
        .map(|label| levels.binary_search(&label).unwrap_or_default() as u32)
        .collect()
}

impl Concordance {
    /// The index, its standard error and the counts, in one row.
    pub fn table(&self) -> Table {
        let header = [
            "",
            "n",
            "concordance",
            "se",
            "concordant",
            "discordant",
            "tied score",
            "tied time",
            "tied both",
        ];
        let se = text_table::optional(self.std_error(), 4);
        let mut row = vec![String::new(), self.n.to_string()];
        row.extend([text_table::significant(self.concordance, 4), se]);
        let counts = [
            self.concordant,
            self.discordant,
            self.tied_score,
            self.tied_time,
            self.tied_both,
        ];
        row.extend(counts.map(|count| text_table::significant(count, 6)));
        Table::new(&header, vec![row])
    }
}

impl fmt::Display for Concordance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n = {}\nConcordance = {:.4}", self.n, self.concordance)?;
        if let Some(se) = self.std_error() {
            write!(f, " (se = {se:.4})")?;
        }
        writeln!(
            f,
            "\n{:>12} {:>12} {:>12} {:>12} {:>12}",
            "concordant", "discordant", "tied score", "tied time", "tied both"
        )?;
        let counts = [
            self.concordant,
            self.discordant,
            self.tied_score,
            self.tied_time,
            self.tied_both,
        ];
        let whole = counts.iter().all(|c| c.fract().abs() <= 0.0);
        let digits = if whole { 0 } else { 2 };
        let cells: Vec<String> = counts.iter().map(|c| format!("{c:>12.digits$}")).collect();
        writeln!(f, "{}", cells.join(" "))
    }
}

/// The difference between two concordances on the same patients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConcordanceDifference {
    /// The two concordances.
    pub concordance: (f64, f64),
    /// Their variances.
    pub variance: (f64, f64),
    /// Their covariance.
    pub covariance: f64,
    /// First minus second.
    pub difference: f64,
    /// Standard error of the difference.
    pub std_error: f64,
    /// `difference / std_error`; 0 when there is no difference.
    pub z: f64,
    /// Two-sided p value of `z` under the normal law.
    pub p: f64,
}

impl fmt::Display for ConcordanceDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:.4} - {:.4} = {:.4} (se = {:.4}), z = {:.2}, p = {:.4}",
            self.concordance.0, self.concordance.1, self.difference, self.std_error, self.z, self.p
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, Harrell, Surv, concordance};

    fn surv() -> Surv {
        let time = [2.0, 4.0, 5.0, 8.0, 8.0, 3.0];
        Surv::new(&time, &[true, true, false, true, true, true]).unwrap()
    }

    #[test]
    fn prints_the_index_and_the_counts() {
        let c = concordance(&surv(), &[2.0, 0.5, 1.0, 0.0, 0.0, 0.5]).unwrap();
        let shown = c.to_string();
        assert_eq!(
            shown,
            "n = 6\nConcordance = 0.7917 (se = 0.1703)\n  concordant   discordant   tied score    \
             tied time    tied both\n           9            2            1            0            1\n"
        );
    }

    #[test]
    fn measures_of_association_follow_from_the_counts() {
        let c = concordance(&surv(), &[2.0, 0.5, 1.0, 0.0, 0.1, 0.5]).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
        let counts = [
            c.concordant(),
            c.discordant(),
            c.tied_score(),
            c.tied_time(),
            c.tied_both(),
        ];
        for (found, expected) in counts.into_iter().zip([9.0, 2.0, 1.0, 1.0, 0.0]) {
            near(found, expected);
        }
        near(c.gamma(), 7.0 / 11.0);
        near(c.concordance_without_ties(), 9.0 / 11.0);
        near(c.somers_d(), 7.0 / 12.0);
        near(c.tau_a(), 7.0 / 13.0);
        near(c.tau_b(), 7.0 / 12.0);
        let (lower, upper) = c.confidence_interval(0.95).unwrap();
        near(
            upper - lower,
            2.0 * 1.959_963_984_540_054 * c.std_error().unwrap(),
        );
        assert_eq!(c.confidence_interval(1.0), None);
    }

    #[test]
    fn a_score_does_not_differ_from_itself_and_clusters_must_match() {
        let surv = surv();
        let a = concordance(&surv, &[2.0, 0.5, 1.0, 0.0, 0.1, 0.5]).unwrap();
        let same = a.compare(&a).unwrap();
        assert_eq!((same.difference, same.z, same.p), (0.0, 0.0, 1.0));
        let clustered = a.clone().clustered(&[1, 1, 2, 2, 3, 3]).unwrap();
        assert!(matches!(
            a.compare(&clustered),
            Err(Error::Undefined { .. })
        ));
        assert!(matches!(
            a.clone().clustered(&[1]),
            Err(Error::Length { .. })
        ));
        let short = Harrell::new()
            .variance(false)
            .fit(&surv, &[2.0, 0.5, 1.0, 0.0, 0.1, 0.5])
            .unwrap();
        assert!(matches!(a.compare(&short), Err(Error::Undefined { .. })));
    }

    #[test]
    fn a_result_survives_serde() {
        let c = concordance(&surv(), &[2.0, 0.5, 1.0, 0.0, 0.1, 0.5]).unwrap();
        let text = serde_json::to_string(&c).unwrap();
        assert_eq!(
            serde_json::from_str::<crate::Concordance>(&text).unwrap(),
            c
        );
    }
}
