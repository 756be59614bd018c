//! `survlatent deepsurv`: a network in place of the linear predictor.

use clap::Args;

use crate::data::{FeatureFlags, Outcome};
#[cfg(not(feature = "deep"))]
use crate::failure::Failure;
use crate::value;

/// Train a DeepSurv network
#[derive(Args)]
#[command(after_long_help = AFTER)]
#[command(mut_arg("formula", |formula| formula.long_help(FORMULA)))]
pub(crate) struct DeepSurv {
    #[command(flatten)]
    outcome: Outcome,
    #[command(flatten)]
    features: FeatureFlags,
    /// Columns whose combinations are the strata, each with a baseline hazard of its own
    #[arg(long, value_name = "COL,..", value_delimiter = ',')]
    strata: Vec<String>,
    /// Column telling which rows belong together: with --cv folds, and with --early-stopping a held-out
    /// share, that never separate them
    #[arg(long, value_name = "COL")]
    cluster: Option<String>,
    /// Widths of the hidden layers; 0 alone leaves a linear head, which is the Cox model
    #[arg(
        long,
        value_name = "N,..",
        value_delimiter = ',',
        default_value = "32,32"
    )]
    hidden: Vec<usize>,
    /// selu or relu
    #[arg(long, value_name = "A", default_value = "selu", value_parser = ["selu", "relu"], hide_possible_values = true)]
    activation: String,
    /// Normalisation before each activation: none, batch or layer
    #[arg(long, value_name = "N", default_value = "none", value_parser = ["none", "batch", "layer"], hide_possible_values = true)]
    norm: String,
    /// Probability with which an activation is dropped in training
    #[arg(long, value_name = "P", default_value = "0", value_parser = value::unit)]
    dropout: f64,
    /// efron or breslow
    #[arg(long, value_name = "T", default_value = "efron", value_parser = ["efron", "breslow"], hide_possible_values = true)]
    ties: String,
    /// Patients per step, with the risk sets they form among themselves (default: all)
    #[arg(long, value_name = "N", value_parser = value::count::<2>)]
    batch: Option<usize>,
    /// With --batch: so many events per step, each against this many controls from its risk set
    #[arg(long, value_name = "M", value_parser = value::count::<1>, requires = "batch")]
    controls: Option<usize>,
    /// Passes over the data, at most
    #[arg(long, value_name = "N", default_value = "100", value_parser = value::count::<1>)]
    epochs: usize,
    /// Learning rate
    #[arg(long, value_name = "R", default_value = "0.001", value_parser = value::positive)]
    lr: f64,
    /// Factor on the learning rate after every epoch
    #[arg(long, value_name = "F", default_value = "1", value_parser = value::positive)]
    lr_decay: f64,
    /// Decoupled weight decay
    #[arg(long, value_name = "D", default_value = "0", value_parser = value::not_negative)]
    weight_decay: f64,
    /// Hold out this share of the patients and keep the epoch with their least loss
    #[arg(long, value_name = "SHARE", value_parser = value::inside)]
    early_stopping: Option<f64>,
    /// Epochs without improvement after which to stop
    #[arg(long, value_name = "N", default_value = "10", value_parser = value::count::<1>, requires = "early_stopping")]
    patience: usize,
    /// Train K more times without a fold each and report the concordance out of fold
    #[arg(long, value_name = "K", value_parser = value::count::<2>)]
    cv: Option<usize>,
    /// Seed of weights, dropout, batches and folds
    #[arg(long, value_name = "S", default_value = "0")]
    seed: u64,
    /// Write the trained network to this safetensors file
    #[arg(long, value_name = "FILE")]
    save: Option<std::path::PathBuf>,
    /// Keep the state of the training in this file, and go on from it if it is there
    #[arg(long, value_name = "FILE")]
    state: Option<std::path::PathBuf>,
    #[cfg(feature = "deep")]
    #[command(flatten)]
    device: crate::device::DeviceArg,
}

const FORMULA: &str = "\
Features in R's notation, such as \"age + rcs(bili, 4) + log(protime) + sex:stage + strata(site)\"

Terms are those of `survlatent cox`; strata(a, b) and cluster(a) are as the flags. A network takes no \
offset(a).";

const AFTER: &str = "\
JSON:
  names[], hidden[], n, nevent, ties, epochs, epoch (kept, from 1), loss[] (in-sample, per event),
  validation_loss[]|null, concordance_in_sample, dropped_rows;
  with --cv: cv {foldid[], log_risk[] (out of fold), concordance[] (per fold), mean}

Examples:
  survlatent deepsurv lung.csv --time time --event status --features age,sex --cv 5
  survlatent deepsurv cohort.csv --time days --event died --features-file latents.npy \\
      --hidden 256,256 --dropout 0.2 --early-stopping 0.2 --save network.safetensors";

impl DeepSurv {
    /// Says that this program was built without it.
    #[cfg(not(feature = "deep"))]
    #[expect(clippy::unused_self, reason = "the other form of it needs the flags")]
    pub(crate) fn run(&self) -> Result<(), Failure> {
        Err(Failure::usage(
            "this program was built without networks for survival; build it with \
             `cargo install --path crates/survlatent-cli --features deep`",
        ))
    }
}

#[cfg(feature = "deep")]
mod with_networks {
    use std::ops::ControlFlow;

    use indicatif::{ProgressBar, ProgressStyle};
    use serde::Serialize;
    use survlatent::cox_survival::deep::{self, Activation, Batches, DeepSurvFit, Norm};
    use survlatent::cox_survival::{Error, Folds, Progress, concordance};
    use survlatent::{Cohort, Groups, OutputFile};

    use super::DeepSurv;
    use crate::failure::Failure;
    use crate::report;

    impl DeepSurv {
        pub(crate) fn run(&self) -> Result<(), Failure> {
            let mut roles = self.outcome.roles().strata(&self.strata);
            if let Some(column) = &self.cluster {
                roles = roles.cluster(column);
            }
            let cohort = self.features.cohort(&self.outcome, roles)?;
            report::notices(&cohort);
            self.check(&cohort)?;
            let (surv, x) = (cohort.surv(), cohort.covariates()?);
            let settings = self.settings()?;
            // Without clusters every row is one by itself.
            let own: Vec<u32> = (0..surv.n() as u32).collect();
            let cluster = cohort.cluster().map_or(own.as_slice(), Groups::codes);
            // What can be wrong is found before hours of training: the folds, and a folder not to be written to.
            let folds = self.folds(&cohort, cluster)?;
            if let Some(path) = &self.save {
                drop(OutputFile::create(path)?);
            }
            let device = self.device.open()?;
            let bar = ProgressBar::new((self.epochs * (1 + self.cv.unwrap_or(0))) as u64);
            if let Ok(style) =
                ProgressStyle::with_template("{bar:40} {pos}/{len} epochs, {elapsed}")
            {
                bar.set_style(style);
            }
            let watch = |_: Progress| {
                bar.inc(1);
                ControlFlow::Continue(())
            };
            let state = self.state.as_ref().map(deep::TrainingState::new);
            let state = state.as_ref();
            let fit = settings.fit_grouped(surv, &x, cluster, &device, &watch, state);
            let fit = fit.map_err(|error| cohort.locate(error))?;
            // Before the cross-validation, which may still fail.
            if let Some(path) = &self.save {
                fit.save(path)?;
            }
            let cv = match folds {
                None => None,
                Some(folds) => {
                    let k = folds.count();
                    let mut cv = Cv {
                        foldid: folds.ids(),
                        log_risk: vec![0.0; surv.n()],
                        concordance: Vec::with_capacity(k),
                        mean: 0.0,
                    };
                    for fold in 0..k {
                        let (train, test) = (folds.training(fold), folds.held_out(fold));
                        let of = |error| in_fold(&cohort, folds.label(fold), &train, error);
                        let part = surv.subset(&train).map_err(of)?;
                        let own: Vec<u32> = train.iter().map(|&row| cluster[row]).collect();
                        let rows = x.select(&train)?;
                        let part = settings.fit_grouped(&part, &rows, &own, &device, &watch, None);
                        let risk = part.map_err(of)?.predict(&x.select(&test)?)?;
                        let judged = concordance(&surv.subset(&test).map_err(of)?, &risk);
                        let judged = judged.map_err(of)?;
                        cv.concordance.push(judged.concordance());
                        for (row, risk) in test.into_iter().zip(risk) {
                            cv.log_risk[row] = risk;
                        }
                    }
                    cv.mean = cv.concordance.iter().sum::<f64>() / k as f64;
                    Some(cv)
                }
            };
            bar.finish_and_clear();
            let out_of_fold = cv.as_ref().map_or_else(String::new, |cv| {
                format!(
                    "Concordance (out-of-fold, mean of {} folds) = {:.4}\n",
                    cv.concordance.len(),
                    cv.mean
                )
            });
            let table = format!("{fit}{out_of_fold}");
            let json = self
                .outcome
                .json
                .then(|| Json::new(self, &fit, &cohort, cv));
            report::result(json.as_ref(), &table)
        }

        /// The folds of the cross-validation, each with something to learn from and something to judge.
        fn folds(&self, cohort: &Cohort, cluster: &[u32]) -> Result<Option<Folds>, Failure> {
            let Some(k) = self.cv else {
                return Ok(None);
            };
            let (surv, x) = (cohort.surv(), cohort.covariates()?);
            let folds = Folds::grouped(surv, cluster, k, self.seed)?;
            for fold in 0..folds.count() {
                let (train, test) = (folds.training(fold), folds.held_out(fold));
                let of = |error| in_fold(cohort, folds.label(fold), &train, error);
                let (part, held) = (surv.subset(&train), surv.subset(&test));
                if part.map_err(of)?.n_events() == 0 {
                    return Err(of(Error::NoEvents));
                }
                let varies = |j: usize| {
                    let first = x.get(train[0], j);
                    train.iter().any(|&i| x.get(i, j).total_cmp(&first).is_ne())
                };
                if x.p() > 0 && !(0..x.p()).any(varies) {
                    let column = x.name(0);
                    return Err(of(Error::ConstantColumn { column }));
                }
                // Whether there are pairs to be compared does not depend on the risks.
                concordance(&held.map_err(of)?, &vec![0.0; test.len()]).map_err(of)?;
            }
            Ok(Some(folds))
        }

        /// Of the hidden layers.
        fn widths(&self) -> &[usize] {
            match self.hidden.as_slice() {
                [0] => &[],
                widths => widths,
            }
        }

        /// Refuses what a network cannot use, from flags or from the formula.
        fn check(&self, cohort: &Cohort) -> Result<(), Failure> {
            if cohort.offset().is_some() {
                return Err(Failure::usage("--formula: a network takes no offset()"));
            }
            if cohort.cluster().is_some() && self.cv.is_none() && self.early_stopping.is_none() {
                return Err(Failure::usage(
                    "a cluster keeps rows together in folds, and so needs --cv K or --early-stopping",
                ));
            }
            Ok(())
        }

        fn settings(&self) -> Result<deep::DeepSurv, Failure> {
            let mut settings = deep::DeepSurv::new()
                .hidden(self.widths())
                .activation(match self.activation.as_str() {
                    "relu" => Activation::Relu,
                    _ => Activation::Selu,
                })
                .norm(match self.norm.as_str() {
                    "batch" => Norm::Batch,
                    "layer" => Norm::Layer,
                    _ => Norm::None,
                })
                .dropout(self.dropout)
                .ties(self.ties.parse()?)
                .epochs(self.epochs)
                .learning_rate(self.lr)
                .learning_rate_decay(self.lr_decay)
                .weight_decay(self.weight_decay)
                .seed(self.seed);
            settings = match (self.batch, self.controls) {
                (None, _) => settings,
                (Some(size), None) => settings.batches(Batches::InRiskSets { size }),
                (Some(size), Some(controls)) => {
                    settings.batches(Batches::CaseControl { size, controls })
                }
            };
            if let Some(share) = self.early_stopping {
                settings = settings.early_stopping(share, self.patience);
            }
            Ok(settings)
        }
    }

    /// An error met in a fold of the cross-validation, whose training rows are these rows of the cohort.
    fn in_fold(cohort: &Cohort, fold: usize, train: &[usize], error: Error) -> Failure {
        let error = match error {
            Error::Overflow { column, row, value } => Error::Overflow {
                column,
                row: train[row],
                value,
            },
            other => other,
        };
        Failure::run(format!("fold {fold}: {}", cohort.locate(error)))
    }

    #[derive(Serialize)]
    struct Json<'a> {
        names: &'a [String],
        hidden: &'a [usize],
        n: usize,
        nevent: usize,
        ties: &'a str,
        epochs: usize,
        epoch: usize,
        loss: Vec<f64>,
        validation_loss: Option<Vec<f64>>,
        concordance_in_sample: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        cv: Option<Cv>,
        dropped_rows: usize,
    }

    #[derive(Serialize)]
    struct Cv {
        foldid: Vec<usize>,
        log_risk: Vec<f64>,
        concordance: Vec<f64>,
        mean: f64,
    }

    impl<'a> Json<'a> {
        fn new(verb: &'a DeepSurv, fit: &'a DeepSurvFit, cohort: &Cohort, cv: Option<Cv>) -> Self {
            let history = fit.history();
            Self {
                names: fit.names(),
                hidden: verb.widths(),
                n: cohort.surv().n(),
                nevent: cohort.surv().n_events(),
                ties: &verb.ties,
                epochs: history.len(),
                epoch: fit.epoch() + 1,
                loss: history.iter().map(|e| e.training).collect(),
                validation_loss: history.iter().map(|e| e.validation).collect(),
                concordance_in_sample: fit.concordance(),
                cv,
                dropped_rows: cohort.dropped_rows(),
            }
        }
    }
}
