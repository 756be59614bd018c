//! The loop that every bootstrap shares.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::progress::{Counter, Observer};

/// The outcomes of `count` replicates on which `work` succeeds, in order of their numbers.
///
/// Replicates on which it fails are left out; the caller sees how many by the length of what is
/// returned.
///
/// # Errors
/// [`Error::Interrupted`] when the observer, or the work itself, says so; the first failure by number
/// when fewer than two replicates are left.
pub(crate) fn replicates<T: Send>(
    count: usize,
    observer: &Observer<'_>,
    work: impl Fn(u64) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    counted_replicates(count, &Counter::new(count, observer), work)
}

/// [`replicates`] that are part of what `counter` counts.
pub(crate) fn counted_replicates<T: Send>(
    count: usize,
    counter: &Counter<'_>,
    work: impl Fn(u64) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let outcomes: Vec<Result<T>> = (0..count as u64)
        .into_par_iter()
        .map(|r| {
            let outcome = work(r);
            counter.step()?;
            match outcome {
                Err(Error::Interrupted) => Err(Error::Interrupted),
                other => Ok(other),
            }
        })
        .collect::<Result<_>>()?;
    let mut found = Vec::with_capacity(outcomes.len());
    let mut first_failure = None;
    for outcome in outcomes {
        match outcome {
            Ok(value) => found.push(value),
            Err(error) => {
                first_failure.get_or_insert(error);
            }
        }
    }
    match first_failure {
        Some(error) if found.len() < 2 => Err(error),
        _ => Ok(found),
    }
}

/// `value`, or the error that `what` is not finite.
pub(crate) fn finite(what: &'static str, value: f64) -> Result<f64> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Error::Undefined {
            what,
            reason: "it is not finite",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::silent;

    #[test]
    fn failures_are_left_out_until_too_few_remain() {
        let odd = |r: u64| {
            if r % 2 == 1 {
                Ok(r)
            } else {
                Err(Error::TooFewRows { n: r as usize })
            }
        };
        assert_eq!(replicates(6, &silent, odd), Ok(vec![1, 3, 5]));
        assert_eq!(replicates(3, &silent, odd), Err(Error::TooFewRows { n: 0 }));
        let stop = |_| Err::<(), _>(Error::Interrupted);
        assert_eq!(replicates(9, &silent, stop), Err(Error::Interrupted));
    }
}
