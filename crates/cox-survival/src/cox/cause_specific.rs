//! Competing events as censoring.

use crate::error::{Error, Result};

/// Event indicators of one cause: true where `cause` holds `of`, every other code is censored.
///
/// A Cox model of such an outcome is the cause-specific one (Prentice et al. 1978, Biometrics 34:541): its
/// hazard ratios are those of the cause among patients still free of all; they are not those of the
/// cumulative incidence. `0` is censoring by convention and no cause.
///
/// ```
/// use cox_survival::{Surv, cause_specific};
/// let cause = [1, 0, 2, 1, 2]; // 0: censored, 1: relapse, 2: death without relapse
/// let relapse = Surv::new(&[5.0, 8.0, 3.0, 9.0, 7.0], &cause_specific(&cause, 1)?)?;
/// assert_eq!(relapse.n_events(), 2);
/// # Ok::<(), cox_survival::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] for cause 0, and [`Error::NoEvents`] when no row has the cause.
pub fn cause_specific(cause: &[u32], of: u32) -> Result<Vec<bool>> {
    if of == 0 {
        return Err(Error::Setting {
            name: "cause",
            value: of.to_string(),
            expected: "0 stands for censoring, causes count from 1",
        });
    }
    let event: Vec<bool> = cause.iter().map(|&c| c == of).collect();
    if event.contains(&true) {
        Ok(event)
    } else {
        Err(Error::NoEvents)
    }
}
