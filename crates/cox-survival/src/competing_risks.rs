//! The outcome when there are several kinds of event.

use std::fmt::Display;

use crate::error::{Error, Result, check_length};
use crate::life_table;
use crate::surv::Surv;

/// Survival data in which every event has a cause.
///
/// ```
/// use cox_survival::{CompetingRisks, Surv};
/// let surv = Surv::new(&[5.0, 3.0, 3.0, 8.0], &[true, false, true, true])?;
/// // What stands beside a censored row does not matter.
/// let outcome = CompetingRisks::new(surv, &["relapse", "-", "death", "relapse"])?;
/// assert_eq!(outcome.causes(), ["death", "relapse"]);
/// // For a Cox model of the relapses: deaths are censored.
/// assert_eq!(outcome.cause_specific("relapse")?.n_events(), 2);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CompetingRisks {
    surv: Surv,
    /// Index into `causes`; whatever for censored rows.
    cause: Vec<u32>,
    causes: Vec<String>,
}

impl CompetingRisks {
    /// From an outcome whose events are those of any cause, and the cause of each; labels of
    /// censored rows are not looked at. Causes are ordered by label.
    pub fn new<L: Ord + Display>(surv: Surv, cause: &[L]) -> Result<Self> {
        check_length("cause", cause.len(), surv.n())?;
        let rows: Vec<usize> = (0..surv.n()).filter(|&i| surv.event()[i]).collect();
        let labels: Vec<&L> = rows.iter().map(|&i| &cause[i]).collect();
        let (codes, causes) = life_table::encode(&labels);
        let mut cause = vec![0; surv.n()];
        for (&row, code) in rows.iter().zip(codes) {
            cause[row] = code;
        }
        Ok(Self {
            surv,
            cause,
            causes,
        })
    }

    /// The outcome in which any event is one.
    pub fn surv(&self) -> &Surv {
        &self.surv
    }

    /// Names of the causes, in sorted order.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// Cause of a row, as an index into [`CompetingRisks::causes`]; `None` for a censored row.
    pub fn cause(&self, row: usize) -> Option<usize> {
        let event = *self.surv.event().get(row)?;
        event.then_some(self.cause[row] as usize)
    }

    /// The outcome of one cause, events of the others censored: what the cause-specific Cox model
    /// and log-rank test need. R: `Surv(time, status == cause)`.
    ///
    /// The Kaplan-Meier curve of this outcome is not the probability of the event: that is
    /// [`AalenJohansen`](crate::AalenJohansen).
    pub fn cause_specific(&self, cause: &str) -> Result<Surv> {
        let Some(k) = self.causes.iter().position(|name| name == cause) else {
            return Err(Error::Setting {
                name: "cause",
                value: cause.to_owned(),
                expected: "must be one of the causes in the data",
            });
        };
        let event: Vec<bool> = (0..self.surv.n())
            .map(|i| self.cause(i) == Some(k))
            .collect();
        let mut builder = Surv::builder(self.surv.time(), &event)
            .timefix(false)
            .strata_of(&self.surv, 0..self.surv.n());
        if let Some(entry) = self.surv.entry() {
            builder = builder.entry(entry);
        }
        if let Some(weights) = self.surv.weights() {
            builder = builder.weights(weights);
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_causes_are_censored_and_the_rest_is_kept() {
        let surv = Surv::builder(&[5.0, 3.0, 4.0, 8.0], &[true, true, false, true])
            .entry(&[1.0, 0.0, 0.0, 2.0])
            .weights(&[1.0, 2.0, 0.5, 1.0])
            .strata(&["n", "s", "n", "s"])
            .build()
            .unwrap();
        let outcome = CompetingRisks::new(surv, &[2, 1, 7, 2]).unwrap();
        assert_eq!(outcome.causes(), ["1", "2"]);
        assert_eq!(outcome.cause(2), None);
        assert_eq!(outcome.cause(3), Some(1));
        let two = outcome.cause_specific("2").unwrap();
        assert_eq!(two.event(), [true, false, false, true]);
        assert_eq!(two.entry(), outcome.surv().entry());
        assert_eq!(two.weights(), outcome.surv().weights());
        assert_eq!(two.stratum_names(), ["n", "s"]);
        let numbered = Surv::builder(&[5.0, 3.0, 4.0], &[true; 3])
            .strata(&[10, 2, 10])
            .build()
            .unwrap();
        let numbered = CompetingRisks::new(numbered, &["a", "a", "b"]).unwrap();
        let a = numbered.cause_specific("a").unwrap();
        assert_eq!(a.stratum_names(), ["2", "10"]);
        assert_eq!(a.stratum(), [1, 0, 1]);
        assert!(matches!(
            outcome.cause_specific("7"),
            Err(Error::Setting { .. })
        ));
        let short = CompetingRisks::new(two, &[1]);
        assert!(matches!(short, Err(Error::Length { .. })));
    }
}
