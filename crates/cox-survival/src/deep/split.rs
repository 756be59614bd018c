//! The patients held out for early stopping.

use std::cmp::Reverse;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::surv::Surv;

/// Rows that belong together.
#[derive(Debug, Default)]
struct Unit {
    rows: Vec<usize>,
    events: usize,
}

/// Rows to train on and rows held out, both ascending: `share` of the rows (or groups), to the nearest whole
/// number, with the same share of those with an event, but at least one and not all of them.
pub(super) fn split(
    surv: &Surv,
    groups: Option<&[u32]>,
    share: f64,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>)> {
    let units = units(surv, groups);
    let count = units.len();
    let (mut eventful, mut censored): (Vec<Unit>, Vec<Unit>) =
        units.into_iter().partition(|unit| unit.events > 0);
    let part = |of: usize| -> usize {
        #[expect(clippy::cast_sign_loss, reason = "no share is negative")]
        let part = (share * of as f64).round() as usize;
        part
    };
    let all = part(count);
    let with_event = part(eventful.len()).clamp(1, eventful.len().saturating_sub(1).max(1));
    let without = all.saturating_sub(with_event).min(censored.len());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut held = draw(&mut eventful, with_event, &mut rng);
    held.extend(draw(&mut censored, without, &mut rng));
    held.sort_unstable();
    let is_held = |row: &usize| held.binary_search(row).is_ok();
    let train: Vec<usize> = (0..surv.n()).filter(|row| !is_held(row)).collect();
    let has_event = |rows: &[usize]| rows.iter().any(|&row| surv.event()[row]);
    let judges = |rows: &[usize]| rows.len() > 1 && has_event(rows);
    if !judges(&held) || !judges(&train) {
        return Err(Error::Setting {
            name: "early_stopping",
            value: format!("{share} of {count}"),
            expected: "must hold out 2 rows or more, and train on as many, with an event on either side",
        });
    }
    Ok((train, held))
}

/// In the order of their first rows.
fn units(surv: &Surv, groups: Option<&[u32]>) -> Vec<Unit> {
    let mut levels = groups.map(<[u32]>::to_vec).unwrap_or_default();
    levels.sort_unstable();
    levels.dedup();
    let mut units = Vec::new();
    units.resize_with(groups.map_or(surv.n(), |_| levels.len()), Unit::default);
    for row in 0..surv.n() {
        let unit = groups.map_or(row, |groups| {
            levels.binary_search(&groups[row]).unwrap_or_default()
        });
        units[unit].rows.push(row);
        units[unit].events += usize::from(surv.event()[row]);
    }
    units
}

/// The rows of `count` units, drawn evenly from the largest to the smallest.
fn draw(units: &mut [Unit], count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    if units.is_empty() {
        return Vec::new();
    }
    units.shuffle(rng);
    units.sort_by_key(|unit| Reverse((unit.events, unit.rows.len())));
    let (n, start) = (units.len(), rng.random_range(0..units.len()));
    let before = |k: usize| (k * count + start) / n;
    let drawn = (0..n).filter(|&k| before(k + 1) > before(k));
    drawn.flat_map(|k| units[k].rows.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every third row is censored.
    fn surv(n: u32) -> Surv {
        let time: Vec<f64> = (0..n).map(|i| f64::from(1 + i * 7 % 23)).collect();
        let event: Vec<bool> = (0..n).map(|i| i % 3 != 2).collect();
        Surv::new(&time, &event).unwrap()
    }

    #[test]
    fn any_share_is_held_out_to_the_nearest_row() {
        let surv = surv(100);
        let mut seen = [false; 100];
        for (share, count) in [
            (0.02, 2),
            (0.1, 10),
            (0.29, 29),
            (0.3, 30),
            (0.4, 40),
            (0.41, 41),
            (0.5, 50),
        ] {
            for seed in 0..20 {
                let (train, held) = split(&surv, None, share, seed).unwrap();
                assert_eq!((train.len(), held.len()), (100 - count, count));
                assert!(train.iter().all(|row| held.binary_search(row).is_err()));
                assert!(held.is_sorted_by(|a, b| a < b));
                let events = held.iter().filter(|&&row| surv.event()[row]).count();
                assert!((events as f64 - share * 67.0).abs() <= 0.5);
                assert_eq!(split(&surv, None, share, seed).unwrap().1, held);
                for row in held {
                    seen[row] = true;
                }
            }
        }
        assert!(seen.iter().all(|&seen| seen), "some are never held out");
    }

    #[test]
    fn groups_are_held_out_whole() {
        let surv = surv(90);
        // Six of ten rows and thirty of one.
        let groups: Vec<u32> = (0..90).map(|i| if i < 60 { i % 6 } else { i }).collect();
        for seed in 0..20 {
            let (train, held) = split(&surv, Some(&groups), 0.25, seed).unwrap();
            let of = |rows: &[usize]| {
                let mut of: Vec<u32> = rows.iter().map(|&row| groups[row]).collect();
                of.sort_unstable();
                of.dedup();
                of
            };
            let (train, out) = (of(&train), of(&held));
            assert_eq!((train.len(), out.len()), (27, 9));
            assert!(out.iter().all(|group| !train.contains(group)));
            // One or two of the large ones, never all or none.
            let large = out.iter().filter(|&&group| group < 6).count();
            assert!((1..=2).contains(&large), "{large}");
        }
    }

    #[test]
    fn a_share_that_cannot_be_held_out_is_named() {
        let fault = |surv: &Surv, groups: Option<&[u32]>, share| {
            split(surv, groups, share, 1).unwrap_err().to_string()
        };
        let told = fault(&surv(50), None, 0.02);
        assert!(
            told.starts_with("early_stopping = 0.02 of 50: must hold out 2 rows"),
            "{told}"
        );
        let one = Surv::new(&[3.0, 1.0, 2.0, 5.0], &[false, true, false, false]).unwrap();
        assert!(fault(&one, None, 0.5).contains("an event on either side"));
        let together = fault(&surv(6), Some(&[4; 6]), 0.5);
        assert!(
            together.starts_with("early_stopping = 0.5 of 1:"),
            "{together}"
        );
    }
}
