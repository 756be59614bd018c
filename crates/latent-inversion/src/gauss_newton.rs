//! Inversion in a narrow Z by Gauss-Newton: few numbers are sought, and every term is a square.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::decoder::{Decoder, broadcast, check_images};
use crate::device::read;
use crate::distribution::{WDistribution, Whitening};
use crate::error::{Error, Result};
use crate::lpips::Lpips;
use crate::objective::{Objective, Target, to_256};
use crate::preimage::preimage;
use crate::projector::State;

/// Damping tried beside the last one that led on, as its multiples.
const TRIED: [f64; 4] = [0.1, 1.0, 10.0, 100.0];
/// Damping at the start, in units of the mean curvature.
const DAMPING: f64 = 0.01;
/// Damping beyond which there is no way on.
const LARGEST: f64 = 1e6;

/// Settings of a search for z by Gauss-Newton with Levenberg's damping.
///
/// The objective is a sum of squares, $|r(z)|^2$: of pixels' differences, of the differences of
/// features that LPIPS weighs, of the whitened latent. With $J$ the derivatives of $r$ (differences, one
/// decoded image a coordinate) a step solves $(J^\top J + \mu I)\,\delta = -J^\top r$ for four sizes of
/// $\mu$ and takes the best of the four images. The derivatives are kept for the next
/// [`reuse`](Self::reuse) steps, each corrected along the last by what was seen there. z keeps unit mean
/// square, as the mapping network sees it.
///
/// Cost: four images decoded and compared an iteration, and `z_dim + 1` where derivatives are computed
/// anew; no gradients.
///
/// Sources: Levenberg 1944, "A method for the solution of certain non-linear problems in least
/// squares"; Broyden 1965, "A class of methods for solving nonlinear simultaneous equations".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussNewton {
    /// Iterations at most; none: z is where the search starts.
    pub iterations: usize,
    /// Step of the differences, z being of unit variance.
    pub difference: f64,
    /// Iterations for which derivatives are kept, corrected by what each step shows of them.
    pub reuse: usize,
    /// Derivatives are computed anew where an iteration lowers the objective by less than this share, and
    /// where one with new derivatives does, the search ends.
    pub tolerance: f64,
    /// What is minimised; `absolute`, `noise` and `delta` do not count.
    pub objective: Objective,
}

impl Default for GaussNewton {
    fn default() -> Self {
        Self {
            iterations: 12,
            difference: 0.01,
            reuse: 3,
            tolerance: 0.06,
            objective: Objective::default(),
        }
    }
}

/// One photo's search.
struct Search<'a> {
    settings: &'a GaussNewton,
    decoder: &'a dyn Decoder,
    lpips: &'a Lpips,
    whitening: &'a Whitening,
    target: Target,
}

/// Where a step leads.
struct Found {
    z: Vec<f64>,
    cost: f64,
    residuals: Vec<Tensor<2>>,
}

impl GaussNewton {
    /// Sets the number of iterations.
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        self.objective.validate()?;
        let refuse = |name, reason: String| Err(Error::Argument { name, reason });
        if self.objective.perceptual + self.objective.squared <= 0.0 {
            let reason = "Gauss-Newton needs a term of squares that compares the images";
            return refuse("objective", reason.to_owned());
        }
        if !(self.difference > 0.0 && self.difference <= 1.0) {
            let reason = format!("{}; above 0 and at most 1 is taken", self.difference);
            return refuse("difference", reason);
        }
        if !(self.tolerance >= 0.0 && self.tolerance < 1.0) {
            let reason = format!("{}; from 0 to below 1 is taken", self.tolerance);
            return refuse("tolerance", reason);
        }
        Ok(())
    }

    /// Finds the latents of photos, one after the other, from the z whose w is nearest to that of
    /// `start` (`[N, 1, w_dim]`).
    ///
    /// A photo's result depends on its own pixels and start alone. The observer sees the number of the
    /// photo and of its iterations made; when it breaks off, the photos begun stay where they are.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for settings out of range, images of another size than the generator's, or a
    /// start of another shape; [`Error::NotFinite`] for an objective that is not finite;
    /// [`Error::OutOfMemory`] or [`Error::Device`] where the device fails.
    pub fn run(
        &self,
        decoder: &dyn Decoder,
        lpips: &Lpips,
        distribution: &WDistribution,
        target: &Target,
        start: Tensor<3>,
        observer: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<State> {
        self.validate()?;
        check_images(decoder, &target.images)?;
        let (n, d, k) = (target.len(), decoder.w_dim(), decoder.z_dim());
        if start.dims() != [n, 1, d] {
            return Err(Error::Argument {
                name: "start",
                reason: format!("{:?} instead of [{n}, 1, {d}]", start.dims()),
            });
        }
        let device = decoder.device();
        let whitening = distribution.on(&device);
        let mut z = read(preimage(decoder, start.inner().reshape([n, d]))?)?;
        let mut most = 0;
        for (photo, z) in z.chunks_exact_mut(k).enumerate() {
            let search = Search {
                settings: self,
                decoder,
                lpips,
                whitening: &whitening,
                target: target.photo(photo),
            };
            let mut stopped = false;
            let (found, made) = search.run(photo, z, &mut |made| {
                let flow = observer(photo, made);
                stopped = flow.is_break();
                flow
            })?;
            for (z, found) in z.iter_mut().zip(&found) {
                *z = *found as f32;
            }
            most = most.max(made);
            if stopped {
                break;
            }
        }
        let z = Tensor::<2>::from_data(TensorData::new(z, [n, k]), &device);
        Ok(State {
            ws: decoder.map(z).reshape([n, 1, d]),
            noise: None,
            steps: most,
        })
    }
}

/// Residuals at a point and their derivatives, part by part.
struct Model {
    /// `[1, R]` each.
    here: Vec<Tensor<2>>,
    /// `[z_dim, R]` each.
    along: Vec<Tensor<2>>,
    /// Steps since the derivatives were computed.
    age: usize,
}

impl Search<'_> {
    fn run(
        &self,
        photo: usize,
        start: &[f32],
        observer: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(Vec<f64>, usize)> {
        let mut z = unit(start.iter().map(|v| f64::from(*v)).collect());
        let mut damping = DAMPING;
        let mut known: Option<Model> = None;
        for made in 0..self.settings.iterations {
            let mut model = known.take().unwrap_or_else(|| self.model(&z));
            let cost = model.cost()?;
            if !cost.is_finite() {
                return Err(Error::NotFinite {
                    index: photo,
                    id: None,
                    reason: format!("the objective is {cost} at iteration {made}"),
                });
            }
            let found = self.step(&z, cost, &model, &mut damping)?;
            if observer(made + 1).is_break() {
                return Ok((found.map_or(z, |found| found.z), made + 1));
            }
            let gained = found.as_ref().map_or(0.0, |found| cost - found.cost);
            let fresh = model.age == 0;
            if let Some(found) = found {
                let moved: Vec<f64> = found.z.iter().zip(&z).map(|(a, b)| a - b).collect();
                z = found.z;
                if gained >= self.settings.tolerance * cost && model.age < self.settings.reuse {
                    model.update(found.residuals, &moved);
                    known = Some(model);
                }
            }
            if fresh && gained < self.settings.tolerance * cost {
                return Ok((z, made + 1));
            }
        }
        Ok((z, self.settings.iterations))
    }

    /// The best of the steps of several sizes of damping, if one leads down.
    fn step(
        &self,
        z: &[f64],
        cost: f64,
        model: &Model,
        damping: &mut f64,
    ) -> Result<Option<Found>> {
        let (curvature, slope) = model.equations()?;
        let k = slope.len();
        let scale = (0..k).map(|i| curvature[i * k + i]).sum::<f64>() / k as f64;
        while *damping < LARGEST {
            let dampings = TRIED.map(|factor| *damping * factor);
            let candidates: Vec<Vec<f64>> = dampings
                .iter()
                .map(|damping| {
                    let step = solve(&curvature, &slope, damping * scale.max(f64::MIN_POSITIVE));
                    unit(z.iter().zip(&step).map(|(z, d)| z - d).collect())
                })
                .collect();
            let residuals = self.residuals(&candidates.concat());
            let costs = costs(&residuals)?;
            let best = (0..costs.len()).min_by(|a, b| costs[*a].total_cmp(&costs[*b]));
            if let Some(best) = best.filter(|best| costs[*best] < cost) {
                *damping = dampings[best];
                let row = |part: Tensor<2>| part.narrow(0, best, 1);
                return Ok(Some(Found {
                    z: candidates[best].clone(),
                    cost: costs[best],
                    residuals: residuals.into_iter().map(row).collect(),
                }));
            }
            if model.age > 0 {
                // The derivatives are out of date, which is no reason for small steps.
                return Ok(None);
            }
            *damping *= 1e4;
        }
        Ok(None)
    }

    /// What the squares of are the objective, a row a latent.
    fn residuals(&self, z: &[f64]) -> Vec<Tensor<2>> {
        let k = self.decoder.z_dim();
        let n = z.len() / k;
        let values: Vec<f32> = z.iter().map(|v| *v as f32).collect();
        let z = Tensor::<2>::from_data(TensorData::new(values, [n, k]), &self.decoder.device());
        let w = self.decoder.map(z);
        let ws = broadcast(w.clone(), self.decoder.num_ws());
        let image = self.decoder.decode(ws, None);
        let objective = &self.settings.objective;
        let mut out = Vec::new();
        if objective.perceptual > 0.0 {
            let features = self.lpips.features(to_256(image.clone()));
            let parts = self.lpips.residuals(&features, &self.target.features);
            out.extend(parts.into_iter().map(|r| r * objective.perceptual.sqrt()));
        }
        if objective.squared > 0.0 {
            let [_, c, h, w] = image.dims();
            let difference = image - self.target.images.clone();
            let weight = objective.squared / (c * h * w) as f64;
            out.push(difference.reshape([n, c * h * w]) * weight.sqrt());
        }
        if objective.prior > 0.0 {
            let d = self.decoder.w_dim();
            let whitened = self.whitening.whiten(w.reshape([n, 1, d])).reshape([n, d]);
            out.push(whitened * (objective.prior / d as f64).sqrt());
        }
        out
    }

    /// Derivatives by differences.
    fn model(&self, z: &[f64]) -> Model {
        let (k, h) = (z.len(), self.settings.difference);
        let mut points = z.to_vec();
        for j in 0..k {
            points.extend_from_slice(z);
            points[(j + 1) * k + j] += h;
        }
        let parts = self.residuals(&points).into_iter();
        let (here, along) = parts
            .map(|part| {
                let here = part.clone().narrow(0, 0, 1);
                let along = (part.narrow(0, 1, k) - here.clone()) * (1.0 / h);
                (here, along)
            })
            .unzip();
        Model {
            here,
            along,
            age: 0,
        }
    }
}

impl Model {
    fn cost(&self) -> Result<f64> {
        Ok(costs(&self.here)?[0])
    }

    /// $J^\top J$ and $J^\top r$.
    fn equations(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let k = self.along[0].dims()[0];
        let (mut curvature, mut slope) = (vec![0.0; k * k], vec![0.0; k]);
        let add = |sum: &mut [f64], values: Tensor<2>| -> Result<()> {
            for (s, v) in sum.iter_mut().zip(read(values)?) {
                *s += f64::from(v);
            }
            Ok(())
        };
        for (here, along) in self.here.iter().zip(&self.along) {
            let across = along.clone().transpose();
            add(&mut curvature, along.clone().matmul(across.clone()))?;
            add(&mut slope, here.clone().matmul(across))?;
        }
        Ok((curvature, slope))
    }

    /// Moves on: the derivatives along the step become what was seen there (Broyden 1965), the others
    /// stay.
    fn update(&mut self, residuals: Vec<Tensor<2>>, moved: &[f64]) {
        let k = moved.len();
        let square: f64 = moved.iter().map(|v| v * v).sum();
        let values: Vec<f32> = moved.iter().map(|v| *v as f32).collect();
        let device = self.here[0].device();
        let step = Tensor::<2>::from_data(TensorData::new(values, [k, 1]), &device);
        let before = std::mem::replace(&mut self.here, residuals);
        for ((along, before), here) in self.along.iter_mut().zip(before).zip(&self.here) {
            let expected = step.clone().transpose().matmul(along.clone());
            let missed = here.clone() - before - expected;
            *along = along.clone() + step.clone().matmul(missed) * (1.0 / square);
        }
        self.age += 1;
    }
}

/// The sums of squares, row by row.
fn costs(residuals: &[Tensor<2>]) -> Result<Vec<f64>> {
    let mut costs = Vec::new();
    for part in residuals {
        let squares = read((part.clone() * part.clone()).sum_dim(1))?;
        costs.resize(squares.len(), 0.0);
        for (cost, square) in costs.iter_mut().zip(squares) {
            *cost += f64::from(square);
        }
    }
    Ok(costs)
}

/// Of unit mean square.
fn unit(mut z: Vec<f64>) -> Vec<f64> {
    let square = z.iter().map(|v| v * v).sum::<f64>() / z.len() as f64;
    let scale = square.sqrt().max(f64::MIN_POSITIVE);
    for v in &mut z {
        *v /= scale;
    }
    z
}

/// $(A + \mu I)^{-1} b$ by Cholesky's decomposition; A is positive semidefinite but for rounding.
fn solve(a: &[f64], b: &[f64], mu: f64) -> Vec<f64> {
    let k = b.len();
    let mut root = a.to_vec();
    for i in 0..k {
        root[i * k + i] += mu;
        for j in 0..=i {
            let dot: f64 = (0..j).map(|m| root[i * k + m] * root[j * k + m]).sum();
            let rest = root[i * k + j] - dot;
            root[i * k + j] = if i == j {
                rest.max(f64::MIN_POSITIVE).sqrt()
            } else {
                rest / root[j * k + j]
            };
        }
    }
    let mut x = b.to_vec();
    for i in 0..k {
        let dot: f64 = (0..i).map(|m| root[i * k + m] * x[m]).sum();
        x[i] = (x[i] - dot) / root[i * k + i];
    }
    for i in (0..k).rev() {
        let dot: f64 = (i + 1..k).map(|m| root[m * k + i] * x[m]).sum();
        x[i] = (x[i] - dot) / root[i * k + i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solving_by_hand() {
        // [[3, 1], [1, 2]] and 1 on the diagonal: [[4, 1], [1, 3]] x = [1, 2].
        let x = solve(&[3.0, 1.0, 1.0, 2.0], &[1.0, 2.0], 1.0);
        assert!(
            (x[0] - 1.0 / 11.0).abs() < 1e-15 && (x[1] - 7.0 / 11.0).abs() < 1e-15,
            "{x:?}"
        );
    }

    /// The corrected derivatives give the change that was seen along the step, and keep the rest.
    #[test]
    fn derivatives_are_corrected_along_the_step_alone() {
        let rows = |v: &[f32], n: usize| {
            let data = TensorData::new(v.to_vec(), [n, v.len() / n]);
            Tensor::<2>::from_data(data, &burn::tensor::Device::default())
        };
        let mut model = Model {
            here: vec![rows(&[1.0, 2.0, 3.0], 1)],
            along: vec![rows(&[1.0, 0.0, 2.0, 0.5, 1.0, -1.0], 2)],
            age: 0,
        };
        model.update(vec![rows(&[2.0, 1.0, 3.5], 1)], &[0.5, 0.0]);
        // Half of the first row is now the change that was seen: (1, -1, 0.5).
        let found = crate::floats(model.along[0].clone());
        assert_eq!(found, [2.0, -2.0, 1.0, 0.5, 1.0, -1.0]);
        assert_eq!((model.age, model.cost().unwrap()), (1, 4.0 + 1.0 + 12.25));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let mut settings = GaussNewton::default();
        settings.objective.perceptual = 0.0;
        settings.objective.squared = 0.0;
        settings.objective.absolute = 1.0;
        assert!(
            settings
                .validate()
                .unwrap_err()
                .to_string()
                .contains("objective")
        );
        let settings = GaussNewton {
            difference: 0.0,
            ..GaussNewton::default()
        };
        assert!(
            settings
                .validate()
                .unwrap_err()
                .to_string()
                .contains("difference")
        );
    }
}
