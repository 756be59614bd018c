//! Residuals of a Cox model.
//!
//! With `M_i = d_i - E_i` (events observed less expected), `u_i` the row's share of the score and
//! `V` the model-based variance. Reference: Therneau, Grambsch & Fleming (1990), Biometrika 77:147;
//! Schoenfeld (1982), Biometrika 69:239; Grambsch & Therneau (1994), Biometrika 81:515.

use std::collections::BTreeMap;

use faer::Mat;

use super::diagnostics::CoxDiagnostics;
use super::robust::score_residuals;
use crate::error::{Error, Result, check_length};

/// Residuals of the events, in R's order: by stratum, then by time, then by row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Schoenfeld {
    /// Time of each event.
    pub time: Vec<f64>,
    /// Row of each event in the user's data, from 0.
    pub row: Vec<usize>,
    /// Stratum of each event, an index into [`Surv::stratum_names`](crate::Surv::stratum_names).
    pub stratum: Vec<u32>,
    /// Residuals, row-major `[events, p]`.
    pub values: Vec<f64>,
}

impl CoxDiagnostics<'_> {
    /// Martingale residuals `M_i = d_i - E_i`, in input order: events less the cumulative hazard the
    /// row lived through. Not weighted.
    pub fn martingale(&self) -> Vec<f64> {
        let l = &self.likelihood;
        let by_position: Vec<f64> = (0..self.design.n)
            .map(|i| l.residual[i] / l.weight(i))
            .collect();
        self.by_row(&by_position, 1)
    }

    /// Deviance residuals `sign(M) sqrt(-2 (M + d log(d - M)))`: martingale residuals made roughly
    /// symmetric.
    pub fn deviance(&self) -> Vec<f64> {
        let event = self.surv.event();
        let residuals = self.martingale().into_iter().zip(event);
        residuals
            .map(|(m, &d)| deviance(m, f64::from(u8::from(d))))
            .collect()
    }

    /// Deviance residuals of clusters (several rows of one patient), in the order of their codes: of
    /// the summed martingale residuals and the summed events,
    /// `sign(M) sqrt(-2 (M + d log((d - M) / d)))`. Rows of weight 0 are left out of both sums.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) unless there is a code for every row.
    pub fn deviance_by(&self, cluster: &[u32]) -> Result<Vec<f64>> {
        let martingale = self.martingale();
        let rows = self.surv.event().iter().zip(&martingale);
        // Events without a residual (weight 0) are no more counted than it is.
        let event: Vec<f64> = rows
            .map(|(&e, m)| {
                if m.is_nan() {
                    *m
                } else {
                    f64::from(u8::from(e))
                }
            })
            .collect();
        let martingale = collapse(&martingale, 1, cluster)?;
        let event = collapse(&event, 1, cluster)?;
        Ok(martingale
            .into_iter()
            .zip(event)
            .map(|(m, d)| deviance(m, d))
            .collect())
    }

    /// Score residuals `u_i`, row-major `[n, p]` in input order: each row's share of the score
    /// vector. Not weighted: the weighted ones sum to 0.
    pub fn score(&self) -> Vec<f64> {
        let p = self.p();
        let mut scaled = score_residuals(&self.design, &self.likelihood);
        for row in scaled.chunks_exact_mut(p) {
            for (u, s) in row.iter_mut().zip(&self.design.scale) {
                *u *= s;
            }
        }
        self.by_row(&scaled, p)
    }

    /// Approximate change of every coefficient by a row's presence, `w_i u_i V`, row-major
    /// `[n, p]` in input order. Weighted, as in R.
    pub fn dfbeta(&self) -> Vec<f64> {
        let (n, p) = (self.design.n, self.p());
        let residuals = score_residuals(&self.design, &self.likelihood);
        let variance = self.scaled(self.fit.variance());
        let rows = Mat::from_fn(n, p, |i, j| {
            self.likelihood.weight(i) * residuals[i * p + j]
        });
        let change = rows * variance;
        let places = (0..n).flat_map(|i| (0..p).map(move |j| (i, j)));
        let by_position: Vec<f64> = places
            .map(|(i, j)| change[(i, j)] / self.design.scale[j])
            .collect();
        self.by_row(&by_position, p)
    }

    /// [`CoxDiagnostics::dfbeta`] in model-based standard errors.
    pub fn dfbetas(&self) -> Vec<f64> {
        let mut change = self.dfbeta();
        for row in change.chunks_exact_mut(self.p()) {
            for (v, se) in row.iter_mut().zip(self.fit.se()) {
                *v /= se;
            }
        }
        change
    }

    /// Schoenfeld residuals of the events, `x_i - xbar(t_i)`: the covariates of who had the event less
    /// their mean among those at risk. With Efron ties `xbar` is the mean over the denominators.
    pub fn schoenfeld(&self) -> Schoenfeld {
        let p = self.p();
        let sorted = self.likelihood.sorted;
        let mut out = Schoenfeld {
            time: Vec::new(),
            row: Vec::new(),
            stratum: Vec::new(),
            values: Vec::new(),
        };
        for (s, stratum) in sorted.strata.iter().enumerate() {
            for g in stratum.groups.clone().rev() {
                for i in sorted.groups[g].events.clone() {
                    out.time.push(sorted.groups[g].time);
                    out.row.push(sorted.order[i] as usize);
                    out.stratum.push(s as u32);
                    let x = &self.design.rows[i * p..(i + 1) * p];
                    let mean = &self.means.mean[g * p..(g + 1) * p];
                    let terms = x.iter().zip(mean).zip(&self.design.scale);
                    out.values
                        .extend(terms.map(|((x, m), scale)| (x - m) * scale));
                }
            }
        }
        out
    }

    /// Scaled Schoenfeld residuals, `beta + m s_i V` with `m` the number of events: each estimates the
    /// coefficient at its time, so that their smooth shows how an effect changes. Against the time, or
    /// the transform of [`CoxDiagnostics::zph`].
    pub fn scaled_schoenfeld(&self) -> Schoenfeld {
        let p = self.p();
        let mut out = self.schoenfeld();
        let count = out.time.len() as f64;
        let (variance, coef) = (self.fit.variance(), self.fit.coef());
        for row in out.values.chunks_exact_mut(p) {
            let plain = row.to_vec();
            for (k, v) in row.iter_mut().enumerate() {
                let sum: f64 = (0..p).map(|j| plain[j] * variance[j * p + k]).sum();
                *v = coef[k] + count * sum;
            }
        }
        out
    }
}

fn deviance(martingale: f64, events: f64) -> f64 {
    let expected = events - martingale;
    let logs = if events > 0.0 {
        events * (expected / events).ln()
    } else {
        0.0
    };
    // The bracket is at most 0, and 0 up to rounding where nothing was unexpected.
    martingale.signum() * (-2.0 * (martingale + logs)).max(0.0).sqrt()
}

/// Sums of residuals over clusters: row-major `[clusters, columns]`, in the order of the codes. Rows of
/// NaN (weight 0) are left out; multiply by the case weights first where the sum should be weighted.
///
/// ```
/// let residuals = [0.5, -0.25, 0.125];
/// assert_eq!(cox_survival::collapse(&residuals, 1, &[7, 2, 7])?, [-0.25, 0.625]);
/// # Ok::<(), cox_survival::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] unless there are `columns` values for every code.
pub fn collapse(values: &[f64], columns: usize, cluster: &[u32]) -> Result<Vec<f64>> {
    if columns == 0 {
        return Err(Error::NoColumns);
    }
    check_length("cluster", cluster.len() * columns, values.len())?;
    let mut sums: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (row, code) in values.chunks_exact(columns).zip(cluster) {
        let sum = sums.entry(*code).or_insert_with(|| vec![0.0; columns]);
        for (s, v) in sum.iter_mut().zip(row).filter(|(_, v)| !v.is_nan()) {
            *s += v;
        }
    }
    Ok(sums.into_values().flatten().collect())
}

#[cfg(test)]
mod tests {
    use crate::test_data::noise;
    use crate::{Covariates, CoxPh, Surv};

    #[test]
    fn clusters_take_no_events_from_rows_of_weight_zero() {
        let n = 60;
        let x: Vec<f64> = (0..n).map(noise).collect();
        let time: Vec<f64> = (0..n).map(|i| 5.0 + 4.0 * noise(n + i) - x[i]).collect();
        let event: Vec<bool> = (0..n).map(|i| i % 3 < 2).collect();
        let weights: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % 4 < 3))).collect();
        let cluster: Vec<u32> = (0..n as u32).map(|i| i / 4).collect();
        let of = |rows: &[usize]| {
            let pick = |values: &[f64]| -> Vec<f64> { rows.iter().map(|&i| values[i]).collect() };
            let event: Vec<bool> = rows.iter().map(|&i| event[i]).collect();
            let cluster: Vec<u32> = rows.iter().map(|&i| cluster[i]).collect();
            let (time, weights, x) = (pick(&time), pick(&weights), pick(&x));
            let surv = Surv::builder(&time, &event).weights(&weights).build();
            let (surv, x) = (
                surv.unwrap(),
                Covariates::from_columns(&x, rows.len(), 1).unwrap(),
            );
            let fit = CoxPh::new().fit(&surv, &x).unwrap();
            let diagnostics = fit.diagnostics(&surv, &x).unwrap();
            diagnostics.deviance_by(&cluster).unwrap()
        };
        let all: Vec<usize> = (0..n).collect();
        let used: Vec<usize> = (0..n).filter(|&i| weights[i] > 0.0).collect();
        let (found, want) = (of(&all), of(&used));
        assert_eq!(found.len(), want.len());
        for (found, want) in found.iter().zip(&want) {
            assert!((found - want).abs() < 1e-9, "{found} is not {want}");
        }
    }
}
