//! Predicted survival curves on a common grid of times.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite, check_length};

/// A predicted curve may rise by so much (the rounding of a network's single precision).
const RISE: f64 = 1e-6;

/// Survival probabilities that a model predicts for `n` patients at `m` times: what calibration and
/// accuracy are measured on, wherever the model comes from.
///
/// Between the times a curve is taken as a right-continuous step function, 1 before the first.
///
/// ```
/// use cox_survival::PredictedSurvival;
/// // Two patients, three times, row after row.
/// let curves = PredictedSurvival::from_rows(&[1.0, 2.0, 5.0], &[0.9, 0.8, 0.5, 0.7, 0.4, 0.1], 2)?;
/// assert_eq!(curves.at(1, 4.0), 0.4);
/// assert_eq!(curves.at(1, 0.5), 1.0);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictedSurvival {
    times: Vec<f64>,
    values: Vec<f64>,
    n: usize,
}

impl PredictedSurvival {
    /// From `values`, row-major `[n, times]`.
    ///
    /// # Errors
    /// [`Error::TimesNotAscending`], [`Error::Shape`], and [`Error::Prediction`] for a value
    /// outside 0 to 1, one that is not a number, or a curve that rises by more than 1e-6.
    pub fn from_rows(times: &[f64], values: &[f64], n: usize) -> Result<Self> {
        check_times(times)?;
        let m = times.len();
        if values.len() != n * m {
            return Err(Error::Shape {
                rows: n,
                columns: m,
                expected: n * m,
                found: values.len(),
            });
        }
        for (row, curve) in values.chunks_exact(m).enumerate() {
            let mut before = 1.0;
            for (column, &value) in curve.iter().enumerate() {
                let fault = if value.is_nan() {
                    "is not a number"
                } else if !(0.0..=1.0).contains(&value) {
                    "is not a probability"
                } else if value > before + RISE {
                    "lies above the value at the time before: survival cannot rise"
                } else {
                    before = value;
                    continue;
                };
                return Err(Error::Prediction {
                    row,
                    column,
                    value,
                    fault,
                });
            }
        }
        Ok(Self {
            times: times.to_vec(),
            values: values.to_vec(),
            n,
        })
    }

    /// From a function of the row and the time.
    pub fn from_fn(n: usize, times: &[f64], of: impl Fn(usize, f64) -> f64) -> Result<Self> {
        let values: Vec<f64> = (0..n)
            .flat_map(|row| times.iter().map(move |&t| (row, t)))
            .map(|(row, t)| of(row, t))
            .collect();
        Self::from_rows(times, &values, n)
    }

    /// Number of patients.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The times, ascending.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// The curve of one patient, one value per time.
    ///
    /// # Panics
    /// If `row` is not below [`PredictedSurvival::n`].
    pub fn row(&self, row: usize) -> &[f64] {
        let m = self.times.len();
        &self.values[row * m..(row + 1) * m]
    }

    /// Predicted survival of a patient at any time: the value at the last time not after `t`.
    ///
    /// # Panics
    /// If `row` is not below [`PredictedSurvival::n`].
    pub fn at(&self, row: usize, t: f64) -> f64 {
        self.step(row, self.times.partition_point(|&u| u <= t))
    }

    /// The same for every patient at his own time, `time` of length [`PredictedSurvival::n`].
    pub fn at_own_time(&self, time: &[f64]) -> Result<Vec<f64>> {
        check_length("time", time.len(), self.n)?;
        check_finite("time", time)?;
        Ok((0..self.n).map(|i| self.at(i, time[i])).collect())
    }

    /// All patients after so many of the times.
    pub(super) fn column(&self, steps: usize) -> Vec<f64> {
        (0..self.n).map(|row| self.step(row, steps)).collect()
    }

    fn step(&self, row: usize, steps: usize) -> f64 {
        match steps {
            0 => 1.0,
            k => self.values[row * self.times.len() + k - 1],
        }
    }
}

/// Evaluation times must be finite, ascend strictly, and be there.
pub(super) fn check_times(times: &[f64]) -> Result<()> {
    if times.is_empty() {
        return Err(Error::Setting {
            name: "times",
            value: "none".to_owned(),
            expected: "at least one time is needed",
        });
    }
    check_finite("times", times)?;
    match times.windows(2).position(|w| w[0] >= w[1]) {
        None => Ok(()),
        Some(k) => Err(Error::TimesNotAscending {
            index: k + 1,
            value: times[k + 1],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_place() {
        let times = [1.0, 2.0];
        let of = |values: &[f64], n| PredictedSurvival::from_rows(&times, values, n).unwrap_err();
        assert!(matches!(of(&[0.5; 3], 2), Error::Shape { found: 3, .. }));
        let place = |error| match error {
            Error::Prediction { row, column, .. } => (row, column),
            other => panic!("{other}"),
        };
        assert_eq!(place(of(&[0.9, 0.8, 0.9, f64::NAN], 2)), (1, 1));
        assert_eq!(place(of(&[0.9, 0.8, 1.5, 0.1], 2)), (1, 0));
        assert_eq!(place(of(&[0.8, 0.9, 0.5, 0.1], 2)), (0, 1));
        assert_eq!(
            of(&[0.8, 0.9], 1).to_string(),
            "prediction of row 1, column 2: 0.9 lies above the value at the time before: survival \
             cannot rise"
        );
        let late = PredictedSurvival::from_rows(&[2.0, 2.0], &[0.5, 0.5], 1).unwrap_err();
        assert!(matches!(late, Error::TimesNotAscending { index: 1, .. }));
        let none = PredictedSurvival::from_rows(&[], &[], 1).unwrap_err();
        assert!(matches!(none, Error::Setting { name: "times", .. }));
    }

    #[test]
    fn a_curve_is_a_step_function_of_time() {
        let times = [1.0, 2.0, 4.0];
        let curves =
            PredictedSurvival::from_fn(2, &times, |i, t| 0.5f64.powf(t * (1.0 + i as f64)));
        let curves = curves.unwrap();
        assert_eq!(curves.row(0), [0.5, 0.25, 0.0625]);
        assert_eq!(
            curves.at_own_time(&[0.9, 9.0]).unwrap(),
            [1.0, 0.003_906_25]
        );
        assert_eq!(curves.column(2), [0.25, 0.0625]);
        let text = serde_json::to_string(&curves).unwrap();
        assert_eq!(
            serde_json::from_str::<PredictedSurvival>(&text).unwrap(),
            curves
        );
    }
}
