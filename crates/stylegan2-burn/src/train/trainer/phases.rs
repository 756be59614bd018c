//! The phases of an iteration: losses, their gradients, and the update of a network.

use burn::module::Module;
use burn::tensor::Tensor;

use super::Trainer;
use super::devices::spread;
use crate::config::DiscriminatorConfig;
use crate::error::{Error, Result};
use crate::train::inputs::RoundInputs;
use crate::train::loss::{self, numbers};
use crate::train::parameters;

impl Trainer {
    pub(in crate::train) fn generator_main(&mut self, rounds: &[RoundInputs]) -> Result<Tally> {
        let places = self.at_places(|place| {
            let g = place.module(self.g.module.clone()).train();
            (g, place.module(self.d.module.clone()).train().no_grad())
        });
        let (names, precision) = (self.g_names(), self.precision());
        let mut tally = Tally::default();
        let mut sum = Sum::default();
        for round in rounds {
            let parts = self.parts(round.generator.len());
            let mut ws = Vec::new();
            spread(
                &places,
                parts.len(),
                |place, (g, d), part| {
                    let map = round.augment_generator.select(&parts[part]);
                    let latents = place.latents(round.generator.select(&parts[part]));
                    let map = |x| map.apply(x);
                    let (scores, w) = loss::generator_main(g, d, latents, &map, precision);
                    let mut tally = Tally::default();
                    let gradients = tally.add(&scores).sum().backward();
                    (
                        w,
                        tally,
                        parameters::gradients(g, names.clone(), &gradients),
                    )
                },
                |(w, part, gradients)| {
                    ws.push(w.to_device(&self.device));
                    tally.extend(part);
                    sum.add(gradients.to_device(&self.device));
                },
            );
            self.track(ws);
        }
        tally.check(self.progress.iteration, "generator's loss")?;
        let gradients = sum.mean(tally.losses.len());
        let adam = self.settings.generator_optimizer();
        self.g.update(self.g_names(), &adam, gradients);
        Ok(tally)
    }

    /// Moves the mean of w, as every pass of the mapping network in training does.
    fn track(&mut self, ws: Vec<Tensor<2>>) {
        let g = &mut self.g.module;
        g.mapping = g.mapping.clone().track(Tensor::cat(ws, 0));
    }

    pub(in crate::train) fn path_length(
        &mut self,
        rounds: &[RoundInputs],
    ) -> Result<Option<Vec<f64>>> {
        let due: Vec<_> = rounds.iter().filter_map(|r| r.path.as_ref()).collect();
        if due.is_empty() {
            return Ok(None);
        }
        let places = self.at_places(|place| {
            let g = place.module(self.g.module.clone()).train();
            (g.clone(), g.no_grad())
        });
        let names = self.g_names();
        let mut sum = Sum::default();
        let mut penalties = Vec::new();
        for (latents, noise) in due {
            let n = latents.len();
            let size = self.part_size(n, 1).unwrap_or(n).max(1);
            let parts: Vec<Vec<usize>> = (0..n)
                .step_by(size)
                .map(|start| (start..(start + size).min(n)).collect())
                .collect();
            let mut ws = Vec::new();
            let mut paths = Vec::new();
            spread(
                &places,
                parts.len(),
                |place, (_, frozen), part| {
                    let noise = place.tensor(loss::select(noise.clone(), &parts[part]));
                    let latents = place.latents(latents.select(&parts[part]));
                    loss::path_lengths(frozen, &latents, noise)
                },
                |(path, w)| {
                    ws.push(w.to_device(&self.device));
                    paths.push(path);
                },
            );
            self.track(ws);
            let lengths: Vec<f64> = paths.iter().flat_map(|p| p.lengths.clone()).collect();
            let decay = self.settings.path_decay;
            let found = loss::path_penalty(&lengths, self.progress.path_mean, decay);
            if !found.penalties.iter().all(|p| p.is_finite()) {
                return Err(Error::Diverged {
                    step: self.progress.iteration,
                    loss: "path-length penalty",
                });
            }
            self.progress.path_mean = found.mean;
            penalties.extend(found.penalties);
            spread(
                &places,
                parts.len(),
                |place, (g, _), part| {
                    let (samples, path) = (&parts[part], paths[part].clone());
                    // The slopes are those of the mean; the sum over rounds is divided below.
                    let slopes: Vec<f64> = samples
                        .iter()
                        .map(|&k| found.slopes[k] * n as f64)
                        .collect();
                    let noise = place.tensor(loss::select(noise.clone(), samples));
                    let latents = place.latents(latents.select(samples));
                    let objective = loss::path_objective(g, latents, noise, path, &slopes);
                    parameters::gradients(g, names.clone(), &objective.backward())
                },
                |gradients| sum.add(gradients.to_device(&self.device)),
            );
        }
        let interval = self.settings.path_interval.unwrap_or(1) as f64;
        let gradients = sum.mean(penalties.len()) * (self.settings.path_weight * interval);
        let adam = self.settings.generator_optimizer();
        self.g.update(self.g_names(), &adam, gradients);
        Ok(Some(penalties))
    }

    pub(in crate::train) fn discriminator_main(
        &mut self,
        rounds: &[RoundInputs],
    ) -> Result<[Tally; 2]> {
        let places = self.at_places(|place| {
            let d = place.module(self.d.module.clone()).train();
            (place.module(self.g.module.clone()), d)
        });
        let (names, precision) = (self.d_names(), self.precision());
        let mut sum = Sum::default();
        let (mut fake, mut real) = (Tally::default(), Tally::default());
        for round in rounds {
            let parts = self.parts(round.real.dims()[0]);
            let mut ws = Vec::new();
            spread(
                &places,
                parts.len(),
                |place, (g, d), part| {
                    let samples = &parts[part];
                    let (mut fake, mut real) = (Tally::default(), Tally::default());
                    let latents = place.latents(round.discriminator.select(samples));
                    let (images, w) = loss::images(g, &latents, precision);
                    let map = round.augment_fake.select(samples);
                    let map = |x| map.apply(x);
                    let scores = loss::discriminator_fake(d, images, latents.c, &map, precision);
                    let gradients = fake.add(&scores).sum().backward();
                    let of_fake = parameters::gradients(d, names.clone(), &gradients);

                    let map = round.augment_real.select(samples);
                    let images = place.tensor(loss::select(round.real.clone(), samples));
                    let labels = round.real_labels.clone();
                    let labels = labels.map(|c| place.tensor(loss::select(c, samples)));
                    let map = |x| map.apply(x);
                    let scores = loss::discriminator_real(d, images, labels, &map, precision);
                    let gradients = real.add(&scores).sum().backward();
                    let of_real = parameters::gradients(d, names.clone(), &gradients);
                    (w, [fake, real], [of_fake, of_real])
                },
                |(w, [part_fake, part_real], gradients)| {
                    ws.push(w.to_device(&self.device));
                    fake.extend(part_fake);
                    real.extend(part_real);
                    for gradients in gradients {
                        sum.add(gradients.to_device(&self.device));
                    }
                },
            );
            self.track(ws);
        }
        let step = self.progress.iteration;
        fake.check(step, "discriminator's loss of generated images")?;
        real.check(step, "discriminator's loss of real images")?;
        let gradients = sum.mean(real.losses.len());
        let adam = self.settings.discriminator_optimizer();
        self.d.update(self.d_names(), &adam, gradients);
        Ok([fake, real])
    }

    /// Penalties and logits, where the penalty is due.
    pub(in crate::train) fn r1(&mut self, rounds: &[RoundInputs]) -> Result<Option<Tally>> {
        if rounds.iter().all(|r| r.augment_r1.is_none()) {
            return Ok(None);
        }
        let places = self.at_places(|place| {
            let d = place.module(self.d.module.clone()).train();
            (d.clone(), d.no_grad())
        });
        let names = self.d_names();
        let mut sum = Sum::default();
        let mut tally = Tally::default();
        for round in rounds {
            let Some(map) = &round.augment_r1 else {
                continue;
            };
            let parts = self.parts(round.real.dims()[0]);
            spread(
                &places,
                parts.len(),
                |place, (d, frozen), part| {
                    let samples = &parts[part];
                    let map = map.select(samples);
                    let real = place.tensor(loss::select(round.real.clone(), samples));
                    let labels = round.real_labels.clone();
                    let labels = labels.map(|c| place.tensor(loss::select(c, samples)));
                    let r1 = loss::r1(d, frozen, real, labels, &|x| map.apply(x));
                    let tally = Tally {
                        losses: numbers(r1.penalties),
                        logits: numbers(r1.logits),
                    };
                    let gradients = r1.objective.backward();
                    (tally, parameters::gradients(d, names.clone(), &gradients))
                },
                |(part, gradients)| {
                    tally.extend(part);
                    sum.add(gradients.to_device(&self.device));
                },
            );
        }
        tally.check(self.progress.iteration, "R1 penalty")?;
        let interval = self.settings.r1_interval.unwrap_or(1) as f64;
        let gradients = sum.mean(tally.losses.len()) * (self.settings.r1_gamma * interval);
        let adam = self.settings.discriminator_optimizer();
        self.d.update(self.d_names(), &adam, gradients);
        Ok(Some(tally))
    }

    /// The samples that are computed at once: whole groups of the minibatch standard deviation,
    /// in the order in which the discriminator groups them.
    fn parts(&self, n: usize) -> Vec<Vec<usize>> {
        let group = group_size(&self.networks.discriminator, n);
        parts(n, group, self.part_size(n, group))
    }
}

/// Samples that the discriminator compares with each other.
pub(super) fn group_size(config: &DiscriminatorConfig, n: usize) -> usize {
    if config.mbstd_features == 0 {
        1
    } else {
        config.mbstd_group.map_or(n, |g| g.min(n))
    }
}

/// Sample `i` of `n` is in group `i mod (n / group)`; a part holds whole groups, so laid out that
/// the same rule finds them.
fn parts(n: usize, group: usize, size: Option<usize>) -> Vec<Vec<usize>> {
    let groups = n / group;
    let at_once = (size.unwrap_or(n) / group).clamp(1, groups);
    (0..groups)
        .step_by(at_once)
        .map(|first| {
            let members = first..(first + at_once).min(groups);
            (0..group)
                .flat_map(|k| members.clone().map(move |g| k * groups + g))
                .collect()
        })
        .collect()
}

/// Gradients of sums of losses.
#[derive(Default)]
struct Sum(Option<Tensor<1>>);

impl Sum {
    fn add(&mut self, gradients: Tensor<1>) {
        self.0 = Some(match self.0.take() {
            Some(sum) => sum + gradients,
            None => gradients,
        });
    }

    fn mean(self, samples: usize) -> Tensor<1> {
        self.0.expect("at least one round") * (1.0 / samples as f64)
    }
}

/// Losses and logits of a phase, one per sample.
#[derive(Clone, Debug, Default)]
pub(in crate::train) struct Tally {
    pub losses: Vec<f64>,
    pub logits: Vec<f64>,
}

impl Tally {
    /// Counts a part; gives its losses back.
    fn add(&mut self, scores: &loss::Scores) -> Tensor<2> {
        self.losses
            .extend(numbers(scores.losses.clone().detach().inner()));
        self.logits.extend(numbers(scores.logits.clone()));
        scores.losses.clone()
    }

    fn extend(&mut self, part: Self) {
        self.losses.extend(part.losses);
        self.logits.extend(part.logits);
    }

    fn check(&self, step: u64, loss: &'static str) -> Result<()> {
        if self.losses.iter().all(|l| l.is_finite()) {
            Ok(())
        } else {
            Err(Error::Diverged { step, loss })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_whole_groups() {
        assert_eq!(parts(8, 4, None), [[0, 1, 2, 3, 4, 5, 6, 7]]);
        assert_eq!(parts(8, 4, Some(4)), [[0, 2, 4, 6], [1, 3, 5, 7]]);
        assert_eq!(parts(6, 1, Some(4)), [vec![0, 1, 2, 3], vec![4, 5]]);
        assert_eq!(parts(12, 2, Some(5)).len(), 3);
        // In a part of its own a group is found where it was in the batch.
        for part in parts(12, 2, Some(4)) {
            let groups = part.len() / 2;
            for (place, sample) in part.iter().enumerate() {
                let partner = part[(place + groups) % part.len()];
                assert_eq!(sample % 6, partner % 6);
            }
        }
    }
}
