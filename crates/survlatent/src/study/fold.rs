//! All models fitted to one training set, where nothing has seen the other rows.

use cox_survival::{
    Covariates, CoxPath, CoxPh, CrossValidation, Error as CoxError, Folds, NelsonAalen, Surv,
};
use latent_attribute::PcaConfig;

use super::data::{Design, StudyData};
use super::models::{ModelKind, StudyModels};
use crate::error::Result;
use crate::latents::{Latents, Values};

/// What one model says after one training.
#[derive(Debug, Clone)]
pub(super) struct Fitted {
    /// Linear predictor of every row, less its mean over the training rows.
    pub(super) risk: Vec<f64>,
    /// What was chosen, in words.
    pub(super) chosen: String,
    /// Coefficients in the units of the features, where the model is linear in them.
    pub(super) coef: Option<Vec<f64>>,
}

/// A model of the first level with what the second needs.
struct Level {
    fitted: Fitted,
    /// Of every training row, by a model that has not seen it.
    out_of_fold: Vec<f64>,
}

/// One training set with its inner folds.
pub(super) struct Training<'a> {
    data: &'a StudyData,
    models: &'a StudyModels,
    whole: &'a Surv,
    rows: Vec<usize>,
    surv: Surv,
    inner: Folds,
    seed: u64,
}

impl<'a> Training<'a> {
    /// On the rows `rows` of `whole`, the outcome of all rows of `data`.
    pub(super) fn new(
        data: &'a StudyData,
        models: &'a StudyModels,
        whole: &'a Surv,
        rows: Vec<usize>,
        inner_folds: usize,
        seed: u64,
    ) -> Result<Self> {
        let surv = whole.subset(&rows)?;
        let patient: Vec<u32> = rows.iter().map(|&i| data.patient[i]).collect();
        let inner = Folds::grouped(&surv, &patient, inner_folds, seed)?;
        Ok(Self {
            data,
            models,
            whole,
            rows,
            surv,
            inner,
            seed,
        })
    }

    /// Fits each of `kinds`; a model that cannot be fitted gives its error and no more.
    pub(super) fn fit(&self, kinds: &[ModelKind]) -> Vec<(ModelKind, Result<Fitted>)> {
        use ModelKind as M;
        let wants = |some: &[M]| some.iter().any(|k| kinds.contains(k));
        let second = [M::LateFusion, M::LateFusionAgeSex];
        let face = (wants(&[M::FaceW]) || wants(&second))
            .then(|| self.penalised(self.data.w.as_ref(), None));
        let cox = |design: &Option<Design>, wanted: bool| wanted.then(|| self.cox(design.as_ref()));
        let clinical = cox(&self.data.clinical, wants(&[M::Clinical, M::LateFusion]));
        let age_sex = cox(&self.data.age_sex, wants(&[M::AgeSex, M::LateFusionAgeSex]));
        kinds
            .iter()
            .map(|&kind| {
                let fitted = match kind {
                    M::FaceW => first(face.as_ref()),
                    M::Clinical => first(clinical.as_ref()),
                    M::AgeSex => first(age_sex.as_ref()),
                    M::LateFusion => self.late(face.as_ref(), clinical.as_ref()),
                    M::LateFusionAgeSex => self.late(face.as_ref(), age_sex.as_ref()),
                    M::FaceWPlus => self
                        .penalised(self.data.w_plus.as_ref(), None)
                        .map(|level| level.fitted),
                    M::EarlyFusion => self
                        .penalised(self.data.w.as_ref(), self.data.clinical.as_ref())
                        .map(|level| level.fitted),
                    M::PcaCox => self.components(),
                    M::DeepSurv => self.deep(),
                    M::Resnet18 | M::Resnet18Fusion | M::Vgg16 | M::Vgg16Fusion => {
                        Err(absent("photos"))
                    }
                };
                (kind, fitted)
            })
            .collect()
    }

    pub(super) fn fitted(
        &self,
        mut risk: Vec<f64>,
        chosen: String,
        coef: Option<Vec<f64>>,
    ) -> Fitted {
        let mean = self.rows.iter().map(|&i| risk[i]).sum::<f64>() / self.rows.len() as f64;
        for r in &mut risk {
            *r -= mean;
        }
        Fitted { risk, chosen, coef }
    }

    /// An unpenalised Cox model, and its inner out-of-fold predictions.
    fn cox(&self, design: Option<&Design>) -> Result<Level> {
        let design = design.ok_or_else(|| absent("clinical covariates"))?;
        let x = design.covariates()?;
        let (coef, risk) = plain_cox(&self.surv, &x.select(&self.rows)?, &x)?;
        let out_of_fold = self.out_of_fold(|surv, rows| {
            let rows: Vec<usize> = rows.iter().map(|&k| self.rows[k]).collect();
            Ok(plain_cox(surv, &x.select(&rows)?, &x.select(&self.rows)?)?.1)
        })?;
        Ok(Level {
            fitted: self.fitted(risk, String::new(), Some(coef)),
            out_of_fold,
        })
    }

    /// The penalised Cox model of W with unpenalised covariates beside it: its coefficients are those
    /// of the latents alone.
    pub(super) fn adjusted(&self, held: &Design) -> Result<Fitted> {
        let mut fitted = self.penalised(self.data.w.as_ref(), Some(held))?.fitted;
        if let Some(coef) = &mut fitted.coef {
            coef.drain(..held.names().len());
        }
        Ok(fitted)
    }

    /// Predictions for all training rows of a fit to the others, inner fold by inner fold, centred.
    fn out_of_fold(&self, fit: impl Fn(&Surv, &[usize]) -> Result<Vec<f64>>) -> Result<Vec<f64>> {
        let mut out = vec![0.0; self.rows.len()];
        for fold in 0..self.inner.count() {
            let train = self.inner.training(fold);
            let risk = fit(&self.surv.subset(&train)?, &train)?;
            let mean = train.iter().map(|&k| risk[k]).sum::<f64>() / train.len() as f64;
            for k in self.inner.held_out(fold) {
                out[k] = risk[k] - mean;
            }
        }
        Ok(out)
    }

    /// A penalised Cox model of latents, tuned by the inner folds, with unpenalised columns if any.
    fn penalised(&self, latents: Option<&Latents>, free: Option<&Design>) -> Result<Level> {
        let latents = latents.ok_or_else(|| absent("latents"))?;
        let own = latents.covariates()?;
        let mut path = CoxPath::new()
            .n_lambda(self.models.n_lambda)
            .lambda_min_ratio(self.models.lambda_min_ratio)
            .tolerance(1e-5);
        let joined;
        let x = match free {
            None => own,
            Some(free) => {
                let penalty = std::iter::repeat_n(0.0, free.names().len());
                path =
                    path.penalty_factor(penalty.chain(std::iter::repeat_n(1.0, own.p())).collect());
                joined = join(free, &own)?;
                joined.covariates()?
            }
        };
        let train_x = x.select(&self.rows)?;
        let mut best: Option<(f64, Level)> = None;
        for &alpha in &self.models.alphas {
            let settings = CrossValidation::new(path.clone().alpha(alpha));
            let fit = settings.fit_prevalidated(&self.surv, &train_x, &self.inner)?;
            let k = fit.cv.index_min();
            let value = fit.cv.cvm()[k];
            if best.as_ref().is_none_or(|(least, _)| value < *least) {
                let beta = fit.cv.path().beta(k);
                let coef = beta.dense(x.p());
                let lambda = fit.cv.lambda()[k];
                let chosen = format!(
                    "alpha {alpha}, lambda {lambda:.4}, {} columns",
                    beta.index.len()
                );
                let level = Level {
                    fitted: self.fitted(x.times(&coef)?, chosen, Some(coef)),
                    out_of_fold: fit.linear_predictor[k].clone(),
                };
                best = Some((value, level));
            }
        }
        best.map(|(_, level)| level).ok_or_else(|| {
            CoxError::Setting {
                name: "alphas",
                value: String::new(),
                expected: "needs at least one value",
            }
            .into()
        })
    }

    /// The second level: a Cox model of two out-of-fold log risks.
    fn late(&self, face: Option<&Result<Level>>, other: Option<&Result<Level>>) -> Result<Fitted> {
        let (face, other) = (level(face)?, level(other)?);
        let columns = [&face.out_of_fold[..], &other.out_of_fold[..]];
        let x = Covariates::from_column_slices(&columns)?.with_names(["face", "clinical"])?;
        let all = [&face.fitted.risk[..], &other.fitted.risk[..]];
        let all = Covariates::from_column_slices(&all)?.with_names(["face", "clinical"])?;
        let (coef, risk) = plain_cox(&self.surv, &x, &all)?;
        let chosen = format!("face x {:.2}, clinical x {:.2}", coef[0], coef[1]);
        Ok(self.fitted(risk, chosen, None))
    }

    /// The rows of the first inner fold.
    #[cfg(all(feature = "photos", feature = "deep"))]
    pub(super) fn first_inner_fold(&self) -> Vec<usize> {
        let held = self.inner.held_out(0);
        held.into_iter().map(|k| self.rows[k]).collect()
    }

    /// The second level for a model that is too dear for the inner folds: a Cox model of its log risk
    /// and the clinical one, fitted to the rows `held` that neither was fitted to.
    #[cfg(all(feature = "photos", feature = "deep"))]
    pub(super) fn blended(&self, face: &Fitted, held: &[usize]) -> Result<Fitted> {
        let design = self.data.clinical.as_ref();
        let design = design.ok_or_else(|| absent("clinical covariates"))?;
        if held.is_empty() {
            return Err(absent(
                "rows held out of the training (models.training.patience)",
            ));
        }
        let x = design.covariates()?;
        let (_, all) = plain_cox(&self.surv, &x.select(&self.rows)?, &x)?;
        let rest: Vec<usize> = self
            .rows
            .iter()
            .copied()
            .filter(|row| !held.contains(row))
            .collect();
        let (_, unseen) = plain_cox(&self.whole.subset(&rest)?, &x.select(&rest)?, &x)?;
        let at = |values: &[f64]| held.iter().map(|&i| values[i]).collect::<Vec<f64>>();
        let columns = [&at(&face.risk)[..], &at(&unseen)[..]];
        let names = ["face", "clinical"];
        let some = Covariates::from_column_slices(&columns)?.with_names(names)?;
        let whole = [&face.risk[..], &all[..]];
        let whole = Covariates::from_column_slices(&whole)?.with_names(names)?;
        let (coef, risk) = plain_cox(&self.whole.subset(held)?, &some, &whole)?;
        let chosen = format!("face x {:.2}, clinical x {:.2}", coef[0], coef[1]);
        Ok(self.fitted(risk, chosen, None))
    }

    /// Principal components of the training rows, their number chosen by the inner folds.
    fn components(&self) -> Result<Fitted> {
        let latents = self.data.w.as_ref().ok_or_else(|| absent("latents"))?;
        let limit = |n: usize, p: usize| n.saturating_sub(1).min(p) / 2;
        let smallest = (0..self.inner.count())
            .map(|fold| self.inner.training(fold).len())
            .min()
            .unwrap_or(0);
        let most = limit(smallest, latents.p()).max(1);
        let mut counts: Vec<usize> = self
            .models
            .components
            .iter()
            .map(|&k| k.clamp(1, most))
            .collect();
        counts.sort_unstable();
        counts.dedup();
        let largest = counts.last().copied().ok_or(CoxError::Setting {
            name: "components",
            value: String::new(),
            expected: "needs at least one value",
        })?;
        let mut deviance = vec![0.0; counts.len()];
        for fold in 0..self.inner.count() {
            let train = self.inner.training(fold);
            let rows: Vec<usize> = train.iter().map(|&k| self.rows[k]).collect();
            let scores = Scores::of(latents, &rows, largest)?;
            let part = self.surv.subset(&train)?;
            for (value, &k) in deviance.iter_mut().zip(&counts) {
                let x = scores.first(k);
                let x = x.covariates()?;
                let (_, risk) = plain_cox(&part, &x.select(&rows)?, &x.select(&self.rows)?)?;
                let among: Vec<f64> = train.iter().map(|&i| risk[i]).collect();
                *value += log_likelihood(&part, &among)? - log_likelihood(&self.surv, &risk)?;
            }
        }
        let best = (0..counts.len())
            .min_by(|&a, &b| deviance[a].total_cmp(&deviance[b]))
            .unwrap_or(0);
        let scores = Scores::of(latents, &self.rows, counts[best])?.first(counts[best]);
        let x = scores.covariates()?;
        let (_, risk) = plain_cox(&self.surv, &x.select(&self.rows)?, &x)?;
        Ok(self.fitted(risk, format!("{} components", counts[best]), None))
    }

    /// Patients of the training rows.
    #[cfg(feature = "deep")]
    fn patients(&self) -> Vec<u32> {
        self.rows.iter().map(|&i| self.data.patient[i]).collect()
    }

    #[cfg(feature = "deep")]
    fn deep(&self) -> Result<Fitted> {
        use cox_survival::deep::DeepSurv;
        let latents = self.data.w.as_ref().ok_or_else(|| absent("latents"))?;
        let x = latents.covariates()?;
        let fit = DeepSurv::new()
            .hidden(&[32])
            .dropout(0.3)
            .weight_decay(1e-2)
            .early_stopping(0.2, 10)
            .seed(self.seed)
            // A photo of a patient trained on is no test of when to stop.
            .fit_grouped(
                &self.surv,
                &x.select(&self.rows)?,
                &self.patients(),
                &burn::tensor::Device::default(),
                &|_| std::ops::ControlFlow::Continue(()),
                None,
            )?;
        let chosen = format!("epoch {}", fit.epoch() + 1);
        Ok(self.fitted(fit.predict(&x)?, chosen, None))
    }

    #[cfg(not(feature = "deep"))]
    fn deep(&self) -> Result<Fitted> {
        let _ = self.seed;
        Err(absent("DeepSurv (feature `deep` of this build)"))
    }

    /// Predicted log cumulative hazard at `times` of every row, row-major: the risk beside the
    /// baseline hazard of the training rows at that risk.
    pub(super) fn log_hazards(&self, risk: &[f64], times: &[f64]) -> Result<Vec<f64>> {
        let among: Vec<f64> = self.rows.iter().map(|&i| risk[i]).collect();
        // Before the first event the hazard is 0, whose logarithm files cannot hold.
        let log = |hazard: f64| hazard.max(1e-300).ln();
        let base: Vec<f64> = if constant(&among) {
            // A model that knows nothing, which a penalty may well choose.
            let fit = NelsonAalen::new().fit(&self.surv)?;
            let curve = fit.curves[0].step()?;
            times
                .iter()
                .map(|&t| log(curve.eval(t)) - among[0])
                .collect()
        } else {
            let fit = scale_one(&self.surv, &among)?;
            let curve = &fit.baseline_hazard()[0];
            times.iter().map(|&t| log(curve.at(t))).collect()
        };
        debug_assert_eq!(risk.len(), self.whole.n());
        Ok(risk
            .iter()
            .flat_map(|r| base.iter().map(move |b| b + r))
            .collect())
    }
}

fn absent(what: &'static str) -> crate::Error {
    CoxError::Undefined {
        what: "a model of the study",
        reason: what,
    }
    .into()
}

fn first(level: Option<&Result<Level>>) -> Result<Fitted> {
    self::level(level).map(|l| l.fitted.clone())
}

fn level(level: Option<&Result<Level>>) -> Result<&Level> {
    match level {
        Some(Ok(level)) => Ok(level),
        Some(Err(error)) => Err(crate::Error::Study {
            reason: error.to_string(),
        }),
        None => Err(absent("its first level")),
    }
}

/// Coefficients of a Cox model and linear predictors of all rows. A column that does not vary among
/// the training rows has coefficient 0.
fn plain_cox(
    surv: &Surv,
    train: &Covariates<'_>,
    all: &Covariates<'_>,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let columns: Vec<Vec<f64>> = (0..train.p()).map(|j| train.column(j)).collect();
    let varying: Vec<usize> = (0..train.p()).filter(|&j| !constant(&columns[j])).collect();
    let mut coef = vec![0.0; train.p()];
    if !varying.is_empty() {
        let some: Vec<&[f64]> = varying.iter().map(|&j| &columns[j][..]).collect();
        let names: Vec<String> = varying.iter().map(|&j| train.name(j)).collect();
        let x = Covariates::from_column_slices(&some)?.with_names(names)?;
        let fit = CoxPh::new().concordance(false).fit(surv, &x)?;
        for (&j, b) in varying.iter().zip(fit.coef()) {
            coef[j] = if b.is_finite() { *b } else { 0.0 };
        }
    }
    let risk = all.times(&coef)?;
    Ok((coef, risk))
}

fn constant(values: &[f64]) -> bool {
    values.iter().all(|v| v.total_cmp(&values[0]).is_eq())
}

/// The Cox model whose only coefficient is held at 1.
pub(super) fn scale_one(surv: &Surv, risk: &[f64]) -> Result<cox_survival::CoxFit> {
    let x = Covariates::from_columns(risk, risk.len(), 1)?.with_names(["risk"])?;
    Ok(CoxPh::new()
        .fix("risk", 1.0)
        .concordance(false)
        .fit(surv, &x)?)
}

fn log_likelihood(surv: &Surv, risk: &[f64]) -> Result<f64> {
    Ok(scale_one(surv, risk)?.loglik())
}

/// Component scores of all rows, components after those of the training rows.
struct Scores {
    values: Vec<f64>,
    n: usize,
    width: usize,
}

impl Scores {
    fn of(latents: &Latents, train: &[usize], count: usize) -> Result<Self> {
        let part = latents.select_rows(train);
        let settings = PcaConfig::default().with_components(count);
        let (n, p) = (latents.n(), latents.p());
        let (pca, values) = match (part.values(), latents.values()) {
            (Values::F32(part), Values::F32(all)) => {
                let pca = settings.fit(part, train.len(), p)?;
                let scores = pca.transform(all)?;
                (pca, scores)
            }
            (Values::F64(part), Values::F64(all)) => {
                let pca = settings.fit(part, train.len(), p)?;
                let scores = pca.transform(all)?;
                (pca, scores)
            }
            // A selection has the type of what it was selected from.
            _ => return Err(absent("latents of one type")),
        };
        Ok(Self {
            values,
            n,
            width: pca.output_dim(),
        })
    }

    fn first(&self, k: usize) -> Design {
        let column = |j: usize| -> Vec<f64> {
            (0..self.n)
                .map(|i| self.values[i * self.width + j])
                .collect()
        };
        let columns = (0..k.min(self.width)).map(|j| (format!("pc{}", j + 1), column(j)));
        // Columns of n values each, made here.
        Design::new(self.n, columns.collect()).unwrap_or_default()
    }
}

/// Clinical columns in front of the latents.
fn join(free: &Design, own: &Covariates<'_>) -> Result<Design> {
    let mut columns: Vec<(String, Vec<f64>)> = free
        .names()
        .iter()
        .enumerate()
        .map(|(j, name)| (format!("clinical:{name}"), free.column(j).to_vec()))
        .collect();
    columns.extend((0..own.p()).map(|j| (own.name(j), own.column(j))));
    Design::new(own.n(), columns)
}
