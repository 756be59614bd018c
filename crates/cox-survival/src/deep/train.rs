//! Settings, and the loop over batches and epochs.

use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use super::fit::{DeepSurvFit, Epoch, Inputs};
use super::loss::PartialLikelihood;
use super::network::{Activation, Network, Norm, Shape, Training, Weights};
use super::split;
use super::state::{self, Standing, TrainingState};
use crate::covariates::Covariates;
use crate::cox::Ties;
use crate::cox::used::{among, used_rows};
use crate::error::{Error, Result, check_length};
use crate::progress::{Counter, Observer, silent};
use crate::surv::Surv;

/// Which patients a step of the optimiser sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Batches {
    /// All: the partial likelihood itself.
    Full,
    /// So many, shuffled anew each epoch, with the risk sets they form among themselves: an
    /// approximation, whose risk sets are samples of the true ones.
    InRiskSets {
        /// Patients per batch.
        size: usize,
    },
    /// So many events, each against controls drawn from its true risk set (Kvamme, Borgan &
    /// Scheel 2019, JMLR 20:129); with case weights controls are drawn in proportion to theirs, and
    /// events count with theirs.
    CaseControl {
        /// Events per batch.
        size: usize,
        /// Controls per event.
        controls: usize,
    },
}

/// Settings of a `DeepSurv` network.
///
/// Minimises the negative log partial likelihood of `log_risk = network(x)` per event with `AdamW`
/// (weight decay on all weights), on standardised columns. With early stopping a share of the
/// patients, stratified by event, is held out; training ends when their loss has not improved for
/// `patience` epochs, and the weights of their best epoch are kept. A row of weight 0 is as if it were absent.
///
/// ```
/// use burn::tensor::Device;
/// use cox_survival::deep::{Activation, DeepSurv};
/// use cox_survival::{Covariates, Surv};
/// let n = 80;
/// let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
/// let x: Vec<f64> = (0..n * 2).map(noise).collect();
/// // The risk is a parabola in the first column, which no linear predictor can follow.
/// let time: Vec<f64> = (0..n).map(|i| (1.0 - x[2 * i].powi(2) + 0.1 * noise(i + 7)).exp()).collect();
/// let surv = Surv::new(&time, &vec![true; n])?;
/// let x = Covariates::from_rows(&x, n, 2)?;
/// let settings = DeepSurv::new().hidden(&[16]).activation(Activation::Relu).learning_rate(0.02);
/// let fit = settings.epochs(150).seed(1).fit(&surv, &x, &Device::flex())?;
/// assert!(fit.concordance() > 0.8, "in-sample");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepSurv {
    shape: Shape,
    ties: Ties,
    batches: Batches,
    epochs: usize,
    learning_rate: f64,
    decay: f64,
    weight_decay: f64,
    early_stopping: Option<(f64, usize)>,
    standardize: bool,
    seed: u64,
}

impl Default for DeepSurv {
    fn default() -> Self {
        Self {
            shape: Shape {
                hidden: vec![32, 32],
                activation: Activation::Selu,
                norm: Norm::None,
                dropout: 0.0,
            },
            ties: Ties::Efron,
            batches: Batches::Full,
            epochs: 100,
            learning_rate: 1e-3,
            decay: 1.0,
            weight_decay: 0.0,
            early_stopping: None,
            standardize: true,
            seed: 0,
        }
    }
}

impl DeepSurv {
    /// Two hidden layers of 32 with SELU, full batches, 100 epochs at a learning rate of 1e-3,
    /// Efron ties, no dropout, no weight decay, no early stopping.
    pub fn new() -> Self {
        Self::default()
    }

    /// Widths of the hidden layers; none leaves a linear head, which is the Cox model.
    pub fn hidden(mut self, widths: &[usize]) -> Self {
        self.shape.hidden = widths.to_vec();
        self
    }

    /// Activation after each hidden layer (default SELU).
    pub fn activation(mut self, activation: Activation) -> Self {
        self.shape.activation = activation;
        self
    }

    /// Normalisation before each activation (default none).
    pub fn norm(mut self, norm: Norm) -> Self {
        self.shape.norm = norm;
        self
    }

    /// Probability with which an activation is dropped in training (default 0).
    pub fn dropout(mut self, dropout: f64) -> Self {
        self.shape.dropout = dropout;
        self
    }

    /// Treatment of ties in loss and baseline hazard (default Efron).
    pub fn ties(mut self, ties: Ties) -> Self {
        self.ties = ties;
        self
    }

    /// What a step sees (default all).
    pub fn batches(mut self, batches: Batches) -> Self {
        self.batches = batches;
        self
    }

    /// Passes over the data, at most (default 100).
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Learning rate (default 1e-3).
    pub fn learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Factor on the learning rate after every epoch (default 1).
    pub fn learning_rate_decay(mut self, factor: f64) -> Self {
        self.decay = factor;
        self
    }

    /// Decoupled weight decay (default 0).
    pub fn weight_decay(mut self, decay: f64) -> Self {
        self.weight_decay = decay;
        self
    }

    /// Holds out this share of the patients (of the groups of [`DeepSurv::fit_grouped`]), to the nearest whole
    /// number, and stops after `patience` epochs without a better loss among them (default: no early stopping).
    pub fn early_stopping(mut self, share: f64, patience: usize) -> Self {
        self.early_stopping = Some((share, patience));
        self
    }

    /// Whether columns are centred and scaled first (default yes).
    pub fn standardize(mut self, standardize: bool) -> Self {
        self.standardize = standardize;
        self
    }

    /// Seed of weights, dropout, batches and the held-out patients (default 0).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn seeded(&self) -> u64 {
        self.seed
    }

    pub(super) fn decayed(&self) -> f64 {
        self.weight_decay
    }

    pub(super) fn tied(&self) -> Ties {
        self.ties
    }

    /// Trains on `device`.
    pub fn fit(&self, surv: &Surv, x: &Covariates<'_>, device: &Device) -> Result<DeepSurvFit> {
        self.fit_with(surv, x, device, &silent)
    }

    /// [`DeepSurv::fit`] that reports every epoch.
    ///
    /// # Errors
    /// [`Error::Diverged`] when the loss is no number any more: a smaller learning rate helps.
    pub fn fit_with(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        device: &Device,
        observer: &Observer<'_>,
    ) -> Result<DeepSurvFit> {
        self.train(surv, x, None, device, observer, None)
    }

    /// [`DeepSurv::fit_with`] that can be interrupted: goes on from the state if its file is there, and keeps
    /// it up to date while it trains.
    ///
    /// A training that goes on computes, on the same kind of device, the same bits as one that never
    /// stopped. The observer interrupts it by `ControlFlow::Break`; the state is then written before
    /// [`Error::Interrupted`] is returned. With more epochs than before a finished training goes
    /// on too; one that is further already is returned as it stands.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use burn::tensor::Device;
    /// use cox_survival::deep::{DeepSurv, TrainingState};
    /// use cox_survival::{Covariates, Error, Progress, Surv};
    /// let x: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 11)).collect();
    /// let time: Vec<f64> = (0..40).map(|i| f64::from(1 + i * 5 % 17)).collect();
    /// let (surv, x) = (Surv::new(&time, &[true; 40])?, Covariates::from_rows(&x, 40, 1)?);
    /// let folder = tempfile::tempdir().unwrap();
    /// let state = TrainingState::new(folder.path().join("training.safetensors"));
    /// let settings = DeepSurv::new().hidden(&[4]).epochs(6);
    /// let stop = |p: Progress| if p.done == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    /// let stopped = settings.fit_resumable(&surv, &x, &Device::flex(), &stop, &state);
    /// assert_eq!(stopped.unwrap_err(), Error::Interrupted);
    /// let go = |_: Progress| ControlFlow::Continue(());
    /// let fit = settings.fit_resumable(&surv, &x, &Device::flex(), &go, &state)?;
    /// assert_eq!(fit, settings.fit(&surv, &x, &Device::flex())?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`DeepSurv::fit_with`]; [`Error::File`] for a file that cannot be written, is no such state, or
    /// belongs to other settings (the number of epochs aside) or other data.
    pub fn fit_resumable(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        device: &Device,
        observer: &Observer<'_>,
        state: &TrainingState,
    ) -> Result<DeepSurvFit> {
        self.train(surv, x, None, device, observer, Some(state))
    }

    /// Trains with `groups`, a label per row of which rows belong together (several photographs of one
    /// patient): early stopping holds out all rows of a group or none. With a state it can be interrupted, as
    /// [`DeepSurv::fit_resumable`].
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use cox_survival::deep::DeepSurv;
    /// use cox_survival::{Covariates, Error, Progress, Surv};
    /// let x: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 11)).collect();
    /// let time: Vec<f64> = (0..40).map(|i| f64::from(1 + i * 5 % 17)).collect();
    /// let (surv, x) = (Surv::new(&time, &[true; 40])?, Covariates::from_rows(&x, 40, 1)?);
    /// let patient: Vec<u32> = (0..40).map(|row| row / 2).collect();
    /// let settings = DeepSurv::new().hidden(&[4]).epochs(5).early_stopping(0.25, 2);
    /// let go = |_: Progress| std::ops::ControlFlow::Continue(());
    /// let fit = settings.fit_grouped(&surv, &x, &patient, &Device::flex(), &go, None)?;
    /// assert!(fit.history()[0].validation.is_some());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`DeepSurv::fit_resumable`], and [`Error::Length`] unless every row has a label.
    pub fn fit_grouped(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        groups: &[u32],
        device: &Device,
        observer: &Observer<'_>,
        state: Option<&TrainingState>,
    ) -> Result<DeepSurvFit> {
        check_length("groups", groups.len(), surv.n())?;
        self.train(surv, x, Some(groups), device, observer, state)
    }

    fn train(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        groups: Option<&[u32]>,
        device: &Device,
        observer: &Observer<'_>,
        file: Option<&TrainingState>,
    ) -> Result<DeepSurvFit> {
        self.check(surv, x)?;
        let Some(rows) = used_rows(surv) else {
            return self.train_on(surv, x, groups, device, observer, file);
        };
        let groups: Option<Vec<u32>> =
            groups.map(|groups| rows.iter().map(|&row| groups[row]).collect());
        among(&rows, surv, x, |surv, x| {
            self.train_on(surv, x, groups.as_deref(), device, observer, file)
        })
    }

    /// Trains on rows that all have weight.
    fn train_on(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        groups: Option<&[u32]>,
        device: &Device,
        observer: &Observer<'_>,
        file: Option<&TrainingState>,
    ) -> Result<DeepSurvFit> {
        let inputs = Inputs::new(surv, x, self.standardize)?;
        let (train, held) = self.split(surv, groups)?;
        let train_surv = surv.subset(&train)?;
        let device = device.clone().autodiff();
        let values = inputs.rows(x, &train);
        let fingerprint = file.map_or(0, |_| state::fingerprint(surv, &inputs, &values));
        let found = match file {
            Some(file) => state::load(file.path(), self, x.p(), fingerprint, &device)?,
            None => None,
        };
        let (mut standing, weights, rng) = found.unwrap_or_else(|| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            let weights = Weights::initial(x.p(), &self.shape, &mut rng);
            let standing = Standing {
                history: Vec::with_capacity(self.epochs),
                rate: self.learning_rate,
                best: None,
                optimiser: AdamW::new(self.weight_decay),
            };
            (standing, weights, rng)
        });
        // Steps of all rows see the same inputs: they are handed over once.
        let (values, whole) = if self.batches == Batches::Full {
            let data = TensorData::new(values, [train.len(), x.p()]);
            (Vec::new(), Some(Tensor::from_data(data, &device)))
        } else {
            (values, None)
        };
        let mut run = Run {
            settings: self,
            surv: &train_surv,
            values,
            whole,
            p: x.p(),
            network: Network::new(&weights, &device),
            training: Training {
                running: weights.running(&device.clone().inner()),
                rng,
            },
            full: PartialLikelihood::new(&train_surv, self.ties, &device)?,
            device,
        };
        let judge = match &held {
            Some(held) => Some((surv.subset(held)?, inputs.standardised(x, held))),
            None => None,
        };
        let save = |standing: &Standing, run: &Run<'_>| match file {
            Some(file) => {
                let network = run.network.weights(&run.training);
                let rng = &run.training.rng;
                state::save(file.path(), self, fingerprint, standing, &network, rng)
            }
            None => Ok(()),
        };
        let counter = Counter::after(standing.history.len(), self.epochs, observer);
        while standing.history.len() < self.epochs && !self.has_stopped(&standing) {
            let epoch = standing.history.len();
            let loss = run.epoch(standing.rate, &mut standing.optimiser);
            standing.rate *= self.decay;
            if !loss.is_finite() {
                return Err(Error::Diverged { epoch });
            }
            let mut validation = None;
            if let Some((judge, x)) = &judge {
                let weights = run.network.weights(&run.training);
                let found =
                    super::fit::loss(judge, self.ties, &weights.evaluate(&self.shape, x.clone()));
                validation = Some(found);
                let least = |(best, _): &(usize, Weights)| standing.history[*best].validation;
                let least = standing.best.as_ref().map(least);
                if least.is_none_or(|least| least.is_some_and(|least| found < least)) {
                    standing.best = Some((epoch, weights));
                }
            }
            standing.history.push(Epoch {
                training: loss,
                validation,
            });
            let told = counter.step();
            if told.is_err() || file.is_some_and(|file| file.is_due(epoch + 1)) {
                save(&standing, &run)?;
            }
            told?;
        }
        save(&standing, &run)?;
        let last = standing.history.len() - 1;
        let (epoch, weights) = standing
            .best
            .unwrap_or_else(|| (last, run.network.weights(&run.training)));
        DeepSurvFit::assemble(
            self.clone(),
            surv,
            x,
            inputs,
            weights,
            standing.history,
            epoch,
        )
    }

    /// Whether the patience with those held out is at its end.
    fn has_stopped(&self, standing: &Standing) -> bool {
        let (Some((_, patience)), Some((best, _))) = (self.early_stopping, &standing.best) else {
            return false;
        };
        standing.history.len() > best + patience
    }

    /// Rows to train on, and rows to judge by.
    fn split(
        &self,
        surv: &Surv,
        groups: Option<&[u32]>,
    ) -> Result<(Vec<usize>, Option<Vec<usize>>)> {
        let Some((share, _)) = self.early_stopping else {
            return Ok(((0..surv.n()).collect(), None));
        };
        let (train, held) = split::split(surv, groups, share, self.seed)?;
        Ok((train, Some(held)))
    }

    fn check(&self, surv: &Surv, x: &Covariates<'_>) -> Result<()> {
        x.check(surv.n())?;
        let setting = |name, value: String, expected| {
            Err(Error::Setting {
                name,
                value,
                expected,
            })
        };
        if self.shape.hidden.contains(&0) {
            return setting("hidden", "0".into(), "every layer needs at least 1 unit");
        }
        let dropout = self.shape.dropout;
        if !(0.0..1.0).contains(&dropout) {
            return setting("dropout", dropout.to_string(), "must lie in [0, 1)");
        }
        if self.epochs == 0 {
            return setting("epochs", "0".into(), "must be at least 1");
        }
        for (name, value) in [
            ("learning_rate", self.learning_rate),
            ("learning_rate_decay", self.decay),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return setting(name, value.to_string(), "must be positive");
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            let value = self.weight_decay.to_string();
            return setting("weight_decay", value, "must not be negative");
        }
        if let Some((share, patience)) = self.early_stopping
            && !(share > 0.0 && share <= 0.5 && patience > 0)
        {
            return setting(
                "early_stopping",
                format!("({share}, {patience})"),
                "needs a share in (0, 0.5] and a patience of at least 1",
            );
        }
        match self.batches {
            Batches::InRiskSets { size } if size < 2 => {
                setting("batch size", size.to_string(), "must be at least 2")
            }
            Batches::CaseControl { size, controls } if size == 0 || controls == 0 => setting(
                "case-control batches",
                format!("{size} events, {controls} controls"),
                "need at least one of each",
            ),
            _ => Ok(()),
        }
    }
}

/// One training run.
struct Run<'a> {
    settings: &'a DeepSurv,
    surv: &'a Surv,
    /// Standardised rows `[n, p]`, row-major; empty when they are all on the device.
    values: Vec<f32>,
    /// The same on the device, for steps that see all rows.
    whole: Option<Tensor<2>>,
    p: usize,
    network: Network,
    training: Training,
    full: PartialLikelihood,
    device: Device,
}

impl Run<'_> {
    /// Mean loss over the steps of one epoch, each followed by one of the optimiser.
    fn epoch(&mut self, rate: f64, optimiser: &mut AdamW) -> f64 {
        match self.settings.batches {
            Batches::Full => {
                let shape = &self.settings.shape;
                let x = self.whole.clone();
                let log_risk = x.map(|x| self.network.forward(x, shape, &mut self.training));
                let loss = log_risk.and_then(|log_risk| self.full.loss(log_risk).ok());
                self.step(loss, rate, optimiser)
            }
            Batches::InRiskSets { size } => {
                let mut rows: Vec<usize> = (0..self.surv.n()).collect();
                rows.shuffle(&mut self.training.rng);
                let mut losses = Vec::new();
                for rows in rows.chunks(size) {
                    // A batch without an event says nothing.
                    let Ok(surv) = self.surv.subset(rows) else {
                        continue;
                    };
                    let log_risk = self.risk(rows);
                    let loss = PartialLikelihood::new(&surv, self.settings.ties, &self.device);
                    let loss = loss.and_then(|plan| plan.loss(log_risk)).ok();
                    losses.push(self.step(loss, rate, optimiser));
                }
                losses.iter().sum::<f64>() / losses.len() as f64
            }
            Batches::CaseControl { size, controls } => {
                let mut cases = super::cases::Cases::new(self.surv);
                cases.shuffle(&mut self.training.rng);
                let mut losses = Vec::new();
                for batch in cases.batches(size) {
                    let rows = cases.rows(batch, controls, &mut self.training.rng);
                    let risk = self.risk(&rows).reshape([batch.len(), controls + 1]);
                    let loss = cases.loss(batch, risk);
                    losses.push(self.step(Some(loss), rate, optimiser));
                }
                losses.iter().sum::<f64>() / losses.len() as f64
            }
        }
    }

    fn risk(&mut self, rows: &[usize]) -> Tensor<1> {
        let p = self.p;
        let mut values = Vec::with_capacity(rows.len() * p);
        for &row in rows {
            values.extend_from_slice(&self.values[row * p..(row + 1) * p]);
        }
        let x = Tensor::from_data(TensorData::new(values, [rows.len(), p]), &self.device);
        let shape = &self.settings.shape;
        self.network.forward(x, shape, &mut self.training)
    }

    fn step(&mut self, loss: Option<Tensor<1>>, rate: f64, optimiser: &mut AdamW) -> f64 {
        let Some(loss) = loss else { return f64::NAN };
        let value = loss.clone().into_scalar::<f32>();
        if value.is_finite() {
            let gradients = loss.backward();
            let network = self.network.clone();
            self.network = network.updated(&mut optimiser.step(rate, &gradients));
        }
        f64::from(value)
    }
}
