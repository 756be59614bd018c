//! The Cox partial likelihood of a network's output, on its device.

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use crate::cox::Ties;
use crate::error::{Error, Result};
use crate::surv::{Sorted, Stratum, Surv};

/// Stands for `log 0`, and unlike `-inf` can be subtracted from itself.
const NOTHING: f32 = -1e30;

/// The negative log partial likelihood per event, Efron ties, as a loss for a network of one's
/// own: `log_risk` `[n]` or the squeezed `[n, 1]` of a network, in the order of `time` and `event`.
///
/// For strata, weights or Breslow ties, and when the same patients come again and again, build a
/// [`PartialLikelihood`] once.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use cox_survival::deep::cox_ph_loss;
/// let device = Device::flex().autodiff();
/// let log_risk = Tensor::<1>::from_data([0.3f32, -0.2, 1.0], &device).require_grad();
/// let loss = cox_ph_loss(log_risk.clone(), &[5.0, 7.0, 2.0], &[true, false, true])?;
/// let gradients = loss.backward();
/// assert_eq!(log_risk.grad(&gradients).unwrap().dims(), [3]);
/// # Ok::<(), cox_survival::Error>(())
/// ```
pub fn cox_ph_loss(log_risk: Tensor<1>, time: &[f64], event: &[bool]) -> Result<Tensor<1>> {
    let surv = Surv::new(time, event)?;
    PartialLikelihood::new(&surv, Ties::Efron, &log_risk.device())?.loss(log_risk)
}

/// The risk sets of an outcome, laid out on a device.
///
/// The log risks are put in order of time, their cumulative sums are formed as
/// `log(exp(a) + exp(b))` in `log2 n` rounds of a scan over each stratum, so that nothing
/// overflows or is swallowed at any size of `a` and `b`, and every event reads its risk set there.
/// With `d` tied events Efron's denominators are `L + log(r + (1 - l/d) f)`, `f` being the share of the
/// risk set's `exp(L)` that belongs to the events and `r` that of the others, summed by itself: `1 - f`
/// would have no digits left where nearly everyone has the event at one time. Cost: `O(n log n)`, in memory too when gradients
/// are asked for.
#[derive(Debug, Clone)]
pub struct PartialLikelihood {
    n: usize,
    total: f64,
    /// Position -> row, rows of positive weight only.
    order: Tensor<1, Int>,
    /// Logarithms of the case weights by position.
    log_weights: Option<Tensor<1>>,
    /// One per round of the scan: 0 where a partner exists, [`NOTHING`] where none does.
    rounds: Vec<Tensor<1>>,
    /// Event positions and their weights.
    events: Tensor<1, Int>,
    event_weights: Tensor<1>,
    /// Last position of each event time's risk set, and the events' weight there.
    ends: Tensor<1, Int>,
    group_weights: Tensor<1>,
    efron: Option<Efron>,
}

/// What tied events need beside.
#[derive(Debug, Clone)]
struct Efron {
    /// Tied event positions and their groups.
    positions: Tensor<1, Int>,
    groups: Tensor<1, Int>,
    count: usize,
    /// The last position of each group that is none of its events, and [`NOTHING`] where there is none.
    others: Tensor<1, Int>,
    gate: Tensor<1>,
    /// For each further denominator: its group, `1 - l / d`, and the mean weight of the events.
    of: Tensor<1, Int>,
    share: Tensor<1>,
    weight: Tensor<1>,
}

impl PartialLikelihood {
    /// Lays out the risk sets of `surv` on `device` (of either kind, with autodiff or without).
    ///
    /// # Errors
    /// [`Error::Undefined`] for left-truncated data: their risk sets are no running sums;
    /// [`Error::Setting`] for [`Ties::Exact`].
    pub fn new(surv: &Surv, ties: Ties, device: &Device) -> Result<Self> {
        if surv.entry().is_some() {
            return Err(Error::Undefined {
                what: "the loss of a network",
                reason: "left-truncated data (entry times) are not supported here",
            });
        }
        if ties == Ties::Exact {
            return Err(Error::Setting {
                name: "ties",
                value: ties.name().to_owned(),
                expected: "must be efron or breslow for a network",
            });
        }
        let sorted = &surv.sorted;
        // Rows of weight 0 are as if absent. `place` are the positions of the others.
        let used = |i: u32| surv.weight(i as usize) > 0.0;
        let mut place = vec![0u32; surv.n()];
        let mut order = Vec::with_capacity(surv.n());
        let mut within = Vec::with_capacity(surv.n());
        let mut starts = Vec::with_capacity(sorted.strata.len());
        for stratum in &sorted.strata {
            let start = order.len();
            starts.push(start as u32);
            for position in others_first(sorted, stratum) {
                let row = sorted.order[position];
                if used(row) {
                    within.push(order.len() - start);
                    order.push(row);
                }
                // Rows of weight 0 end on whoever came before them.
                place[position] = (order.len() as u32).saturating_sub(1);
            }
        }
        let longest = within.iter().max().map_or(0, |w| w + 1);
        let mut rounds = Vec::new();
        let mut step = 1;
        while step < longest {
            let gate = |&w: &usize| if w >= step { 0.0 } else { NOTHING };
            rounds.push(floats(within.iter().map(gate).collect(), device));
            step *= 2;
        }
        let (mut events, mut event_weights) = (Vec::new(), Vec::new());
        let (mut ends, mut group_weights) = (Vec::new(), Vec::new());
        let (mut positions, mut groups) = (Vec::new(), Vec::new());
        let (mut others, mut gate) = (Vec::new(), Vec::new());
        let (mut of, mut share, mut mean) = (Vec::new(), Vec::new(), Vec::new());
        let mut total = 0.0;
        let weight_at = |position: usize| surv.weight(sorted.order[position] as usize);
        let of_stratum = sorted.strata.iter().zip(starts);
        let starts =
            of_stratum.flat_map(|(stratum, start)| stratum.groups.clone().map(move |_| start));
        for ((g, group), start) in sorted.groups.iter().enumerate().zip(starts) {
            let d = group.events.len();
            let weight: f64 = group.events.clone().map(weight_at).sum();
            total += weight;
            ends.push(place[group.events.end - 1]);
            group_weights.push(weight as f32);
            let first = place[group.events.start];
            others.push(first.saturating_sub(1));
            gate.push(if first > start { 0.0 } else { NOTHING });
            for i in group.events.clone() {
                events.push(place[i]);
                event_weights.push(weight_at(i) as f32);
                if d > 1 {
                    positions.push(place[i]);
                    groups.push(g as u32);
                }
            }
            for l in 1..d {
                of.push(g as u32);
                share.push((1.0 - l as f64 / d as f64) as f32);
                mean.push((weight / d as f64) as f32);
            }
        }
        let efron = (ties == Ties::Efron && !of.is_empty()).then(|| Efron {
            count: ends.len(),
            positions: ints(positions, device),
            groups: ints(groups, device),
            others: ints(others, device),
            gate: floats(gate, device),
            of: ints(of, device),
            share: floats(share, device),
            weight: floats(mean, device),
        });
        let log_weights = surv.weights().map(|w| {
            let log = |&row: &u32| w[row as usize].ln() as f32;
            floats(order.iter().map(log).collect(), device)
        });
        Ok(Self {
            n: surv.n(),
            total,
            order: ints(order, device),
            log_weights,
            rounds,
            events: ints(events, device),
            event_weights: floats(event_weights, device),
            ends: ints(ends, device),
            group_weights: floats(group_weights, device),
            efron,
        })
    }

    /// The negative log partial likelihood, divided by the events' weight.
    ///
    /// # Shapes
    /// - `log_risk`: `[n]`, in the order of the rows
    /// - output: `[1]`
    pub fn loss(&self, log_risk: Tensor<1>) -> Result<Tensor<1>> {
        crate::error::check_length("log_risk", log_risk.dims()[0], self.n)?;
        let eta = log_risk.select(0, self.order.clone());
        let own = eta.clone().select(0, self.events.clone());
        let risk = match &self.log_weights {
            None => eta,
            Some(log) => eta + log.clone(),
        };
        let upto = self.scan(risk.clone());
        let ends = upto.clone().select(0, self.ends.clone());
        let mut loss = (ends.clone() * self.group_weights.clone()).sum()
            - (own * self.event_weights.clone()).sum();
        if let Some(efron) = &self.efron {
            let of_all = risk.select(0, efron.positions.clone())
                - ends.clone().select(0, efron.groups.clone());
            let share = Tensor::<1>::zeros([efron.count], &ends.device()).scatter(
                0,
                efron.groups.clone(),
                of_all.exp(),
                IndexingUpdateOp::Add,
            );
            let others = upto.select(0, efron.others.clone()) + efron.gate.clone();
            let rest = (others - ends).exp().select(0, efron.of.clone());
            let left = rest + share.select(0, efron.of.clone()) * efron.share.clone();
            loss = loss + (left.log() * efron.weight.clone()).sum();
        }
        Ok(loss * (1.0 / self.total))
    }

    /// `log sum exp` of each stratum up to every position.
    fn scan(&self, mut a: Tensor<1>) -> Tensor<1> {
        let n = a.dims()[0];
        let mut step = 1;
        for gate in &self.rounds {
            // The partner `step` places before, or nothing.
            let none = Tensor::<1>::full([step], NOTHING, &a.device());
            let earlier = Tensor::cat(vec![none, a.clone().slice(0..n - step)], 0);
            let b = earlier + gate.clone();
            let top = a.clone().max_pair(b.clone()).detach();
            a = top.clone() + ((a - top.clone()).exp() + (b - top).exp()).log();
            step *= 2;
        }
        a
    }
}

/// Positions of a stratum with the events of each time behind all others of that time, so that both the
/// risk set and the risk set without its events are running sums.
fn others_first<'a>(sorted: &'a Sorted, stratum: &'a Stratum) -> impl Iterator<Item = usize> + 'a {
    let start = stratum.positions.start;
    let groups = &sorted.groups[stratum.groups.clone()];
    let before = groups.iter().scan(start, |from, group| {
        let begin = std::mem::replace(from, group.upto);
        Some((begin, group))
    });
    let end = groups.last().map_or(start, |group| group.upto);
    before
        .flat_map(|(begin, group)| {
            let later = begin..group.events.start;
            later
                .chain(group.events.end..group.upto)
                .chain(group.events.clone())
        })
        .chain(end..stratum.positions.end)
}

fn floats(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

fn ints(values: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let n = values.len();
    let values: Vec<i64> = values.into_iter().map(i64::from).collect();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cox::likelihood::Likelihood;
    use crate::test_data::rows;

    /// Loss and gradient by rows, exact, from the linear predictor by rows.
    fn exact(surv: &Surv, ties: Ties, eta: &[f32]) -> (f64, Vec<f64>) {
        let mut likelihood = Likelihood::new(surv, ties);
        let order = &surv.sorted.order;
        let sorted: Vec<f64> = order.iter().map(|&i| f64::from(eta[i as usize])).collect();
        let loglik = likelihood.evaluate(&sorted);
        let total: f64 = (0..surv.n())
            .filter(|&i| surv.event()[i])
            .map(|i| surv.weight(i))
            .sum();
        let mut gradient = vec![0.0; surv.n()];
        for (position, &row) in order.iter().enumerate() {
            gradient[row as usize] = -likelihood.residual[position] / total;
        }
        (-loglik / total, gradient)
    }

    fn ours(surv: &Surv, ties: Ties, eta: &[f32]) -> (f64, Vec<f64>) {
        let device = Device::flex().autodiff();
        let x = floats(eta.to_vec(), &device).require_grad();
        let plan = PartialLikelihood::new(surv, ties, &device).unwrap();
        let loss = plan.loss(x.clone()).unwrap();
        let gradient = x.grad(&loss.backward()).unwrap();
        let gradient = gradient.into_data().try_to_vec::<f32>().unwrap();
        let loss = loss.into_data().try_to_vec::<f32>().unwrap()[0];
        (
            f64::from(loss),
            gradient.into_iter().map(f64::from).collect(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn loss_and_gradient_are_those_of_the_exact_likelihood(
            mut data in rows(40), seed in any::<u64>(), efron in any::<bool>(),
            size in prop::sample::select(vec![0.0f32, 1.0, 30.0, 300.0]),
        ) {
            data.entry = None;
            let surv = data.surv();
            let ties = if efron { Ties::Efron } else { Ties::Breslow };
            let noise = |i: usize| {
                let k = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
                ((k >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * size
            };
            let eta: Vec<f32> = (0..surv.n()).map(noise).collect();
            let (want, slope) = exact(&surv, ties, &eta);
            let (got, gradient) = ours(&surv, ties, &eta);
            let scale = 1.0 + want.abs() + f64::from(size);
            prop_assert!((got - want).abs() < 3e-6 * scale, "{} {}", got, want);
            for (a, b) in gradient.iter().zip(&slope) {
                // Rounding of `eta` itself, in single precision, moves the shares of a risk set.
                prop_assert!((a - b).abs() < 2e-5 + 1e-6 * f64::from(size), "{} {}", a, b);
            }
        }
    }

    #[test]
    fn nearly_all_may_have_the_event_at_one_time() {
        // Of 1 - f, in single precision, nothing would be left for the last denominators.
        let n = 6000;
        let time: Vec<f64> = (0..n).map(|i| if i < 5 { 2.0 } else { 1.0 }).collect();
        let event: Vec<bool> = (0..n).map(|i| i > 5).collect();
        let surv = Surv::new(&time, &event).unwrap();
        let eta: Vec<f32> = (0..n).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        for far in [0.0, -20.0] {
            // Those who outlive the others, at hardly any risk.
            let shifted = |(i, e): (usize, &f32)| if i < 6 { e + far } else { *e };
            let eta: Vec<f32> = eta.iter().enumerate().map(shifted).collect();
            let (want, slope) = exact(&surv, Ties::Efron, &eta);
            let (got, gradient) = ours(&surv, Ties::Efron, &eta);
            assert!((got - want).abs() < 1e-5 * want, "{got} {want}");
            for (a, b) in gradient.iter().zip(&slope) {
                assert!((a - b).abs() < 1e-4 * b.abs() + 1e-9, "{a} {b}");
            }
        }
    }

    #[test]
    fn risks_beyond_the_range_of_numbers_have_a_loss() {
        // In order of time 3000, -3000, 0, with an event each: 0 first, against all three.
        let surv = Surv::new(&[3.0, 2.0, 1.0], &[true; 3]).unwrap();
        let (loss, gradient) = ours(&surv, Ties::Breslow, &[3000.0, -3000.0, 0.0]);
        assert!((loss - (6000.0 + 3000.0) / 3.0).abs() < 1e-3, "{loss}");
        for (found, want) in gradient.iter().zip([2.0 / 3.0, -1.0 / 3.0, -1.0 / 3.0]) {
            assert!((found - want).abs() < 1e-6, "{found} is not {want}");
        }
    }

    #[test]
    fn what_it_cannot_do_is_an_error() {
        let device = Device::flex();
        let entry = [0.0, 1.0];
        let surv = Surv::builder(&[2.0, 3.0], &[true, true]).entry(&entry);
        let surv = surv.build().unwrap();
        assert!(matches!(
            PartialLikelihood::new(&surv, Ties::Efron, &device),
            Err(Error::Undefined { .. })
        ));
        let short = floats(vec![0.0], &device);
        assert!(matches!(
            cox_ph_loss(short, &[1.0, 2.0], &[true, true]),
            Err(Error::Length { .. })
        ));
    }
}
