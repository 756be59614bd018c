//! The networks on the study's folds, each training an output of the run that a later one takes up.

use serde::{Deserialize, Serialize};

use super::super::fold::{Fitted, Training};
use super::super::predict::{Parts, gather, in_fold, repeat_seed};
use super::super::stages::Run;
use super::super::{ModelKind, OutOfFoldPredictions, Study, StudyData};
use super::PhotoNetwork;
use super::train::{Trained, train};
use crate::error::{Error, Result};
use crate::proof::Thumbnails;
use cox_survival::Folds;

/// What a training leaves in the run's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Outcome {
    /// Log risk of every row.
    risk: Vec<f64>,
    epochs: usize,
    /// Why there is none.
    failed: Option<String>,
}

/// Trains the networks that the study asks for on each fold of `predictions` and adds theirs.
pub(in super::super) fn add(
    run: &Run<'_>,
    study: &Study,
    data: &StudyData,
    pictures: &Thumbnails,
    predictions: &mut OutOfFoldPredictions,
) -> Result<()> {
    let v = &study.validation;
    let folds: Vec<Folds> = (0..v.repeats)
        .map(|repeat| {
            let seed = repeat_seed(study.seed, repeat);
            Ok(Folds::grouped(
                &data.surv,
                &data.patient,
                v.outer_folds,
                seed,
            )?)
        })
        .collect::<Result<_>>()?;
    let times = predictions.times.clone();
    for network in study.models.wanted_networks() {
        let (mut alone, mut fused): (Parts, Parts) = (Vec::new(), Vec::new());
        let fuses = network.fusion().possible(data);
        for (repeat, folds) in folds.iter().enumerate() {
            for fold in 0..folds.count() {
                let seed = repeat_seed(study.seed, repeat).wrapping_add(fold as u64 + 1);
                let rows = folds.training(fold);
                let training = Training::new(
                    data,
                    &study.models,
                    &data.surv,
                    rows.clone(),
                    v.inner_folds,
                    seed,
                )
                .map_err(|error| in_fold(repeat, fold, &error))?;
                let held = match study.models.training.patience {
                    0 => Vec::new(),
                    _ => training.first_inner_fold(),
                };
                let fit: Vec<usize> = rows.into_iter().filter(|r| !held.contains(r)).collect();
                let name = format!("1-{}-{}-{}", network.name(), repeat + 1, fold + 1);
                let parts = (&fit[..], &held[..]);
                let outcome = one(run, &name, network, study, data, pictures, parts, seed)?;
                let whole = |fitted: Result<Fitted>| {
                    let fitted = fitted.and_then(|fitted| {
                        let hazards = training.log_hazards(&fitted.risk, &times)?;
                        Ok((fitted, hazards))
                    });
                    fitted.map_err(|error| in_fold(repeat, fold, &error).to_string())
                };
                let risk = match &outcome.failed {
                    None => Ok(outcome.risk),
                    Some(reason) => Err(Error::Study {
                        reason: reason.clone(),
                    }),
                };
                let chosen = format!("{} epochs", outcome.epochs);
                let fitted = risk.map(|risk| training.fitted(risk, chosen, None));
                if fuses {
                    let both = match &fitted {
                        Ok(fitted) => training.blended(fitted, &held),
                        Err(error) => Err(Error::Study {
                            reason: error.to_string(),
                        }),
                    };
                    fused.push(((repeat, fold), whole(both)));
                }
                alone.push(((repeat, fold), whole(fitted)));
            }
        }
        let mut add = |model: ModelKind, parts: Parts| {
            let own = gather(model, parts, &folds, times.len());
            predictions.models.push(own);
        };
        add(network.model(), alone);
        if fuses {
            add(network.fusion(), fused);
        }
    }
    let place = |kind: ModelKind| ModelKind::ALL.iter().position(|k| *k == kind);
    predictions.models.sort_by_key(|p| place(p.model));
    Ok(())
}

/// One training, or what an earlier run left of it.
#[expect(clippy::too_many_arguments, reason = "one fold of one network")]
fn one(
    run: &Run<'_>,
    name: &str,
    network: PhotoNetwork,
    study: &Study,
    data: &StudyData,
    pictures: &Thumbnails,
    parts: (&[usize], &[usize]),
    seed: u64,
) -> Result<Outcome> {
    let settings = &study.models.training;
    run.stage(name, settings.epochs, |step| {
        let mut stopped = None;
        let mut go_on = || match step() {
            Ok(()) => true,
            Err(error) => {
                stopped = Some(error);
                false
            }
        };
        let surv = &data.surv;
        let found = train(network, settings, pictures, surv, parts, seed, &mut go_on);
        if let Some(error) = stopped {
            return Err(error);
        }
        Ok(match found {
            Ok(Some(Trained { risk, epochs })) => Outcome {
                risk,
                epochs,
                failed: None,
            },
            Ok(None) => failed("the training was stopped".into()),
            Err(error) => failed(error.to_string()),
        })
    })
}

fn failed(reason: String) -> Outcome {
    Outcome {
        risk: Vec::new(),
        epochs: 0,
        failed: Some(reason),
    }
}
