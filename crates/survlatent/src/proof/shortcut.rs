//! Does the outcome go with something in the pictures that is no part of a face?

use cox_survival::{Covariates, CoxPh, NelsonAalen, Surv};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::novelty::{Novelty, PictureLaw, dot, orthonormal};
use super::picture::Picture;
use super::regions::RegionMap;
use super::strip::map;
use super::thumbnails::Thumbnails;
use crate::error::{Error, Result};
use crate::study::Design;

/// Settings of the test for shortcuts.
///
/// A cap, a mask, a tube or a wall with a ruler is something that the generator of portraits does not
/// draw; hair, age and the shape of a face it does draw. So the test first looks, without the
/// outcome, for directions in which the cohort's pictures differ far more than the generator's
/// ([`PictureLaw`]), and then asks whether those go with the outcome: the share of the variance of the
/// martingale residuals of a Cox model of the covariates that the scores along them explain, against
/// permutations of the residuals. A cohort that shows nothing new has no p value and gives no alarm.
///
/// The face's own log risk is not among the covariates on purpose: latents may have
/// taken the cap up (as dark hair, say), and a test beside them would be blind where it matters most. The
/// p value beside the face's risk is reported all the same. What the generator can draw, because it
/// was trained on such pictures, this test cannot see: that takes the saliency by region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShortcutTest {
    /// Directions looked at, at most; never more than one for ten events.
    pub directions: usize,
    /// Permutations.
    pub permutations: usize,
    /// A p value of at most this is an alarm.
    pub level: f64,
    /// Seed of the permutations.
    pub seed: u64,
}

impl Default for ShortcutTest {
    fn default() -> Self {
        Self {
            directions: 8,
            permutations: 999,
            level: 0.05,
            seed: 0,
        }
    }
}

/// What the test found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShortcutFigures {
    /// Whether the outcome goes with something that the generator does not draw.
    pub alarm: bool,
    /// Directions in which the pictures differ more than chance lets the generator's.
    pub novel: usize,
    /// The largest of their variances, where the generator's own pictures have about 1.
    pub largest: Option<f64>,
    /// The variance they had to exceed.
    pub threshold: f64,
    /// p value of their going with the outcome, given the covariates; absent where nothing is novel.
    pub p: Option<f64>,
    /// The same, given the face's out-of-fold log risk, too.
    pub p_given_face: Option<f64>,
    /// Hazard ratio of one standard deviation of the novel score that goes best with the outcome;
    /// fitted to these rows, so too large by chance.
    pub hazard_ratio_per_sd: Option<f64>,
    /// Correlation of that score with the face's out-of-fold log risk: what the face model uses of it.
    pub risk_correlation: Option<f64>,
    /// Share of that score's picture inside the face.
    pub face_share: Option<f64>,
    /// Share of the picture that is face.
    pub face_area: f64,
    /// Patients looked at.
    pub patients: usize,
    /// How much each pixel differs by one standard deviation of that score, in gray levels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<f64>,
}

/// Who the pictures are of, and what became of them; one entry per picture.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// The outcome.
    pub surv: &'a Surv,
    /// Patient of every row, from 0; the first picture of each is looked at.
    pub patient: &'a [u32],
    /// What else is known.
    pub covariates: Option<&'a Design>,
    /// The face model's out-of-fold log risk.
    pub face_risk: Option<&'a [f64]>,
}

/// Covariates with their names.
type Columns = Vec<(String, Vec<f64>)>;

impl ShortcutTest {
    /// Runs the test.
    ///
    /// # Errors
    /// [`Error::Study`] for settings out of range or parts of different lengths; what the Cox model
    /// refuses.
    pub fn fit(
        &self,
        law: &PictureLaw,
        pictures: &Thumbnails,
        outcome: &Outcome<'_>,
    ) -> Result<ShortcutFigures> {
        let n = pictures.n();
        self.fit_above(
            law.threshold(patients(outcome.patient).len().min(n)),
            law,
            pictures,
            outcome,
        )
    }

    /// The same with a threshold that is known already, as [`PictureLaw::threshold`] gives it for this
    /// number of patients.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_above(
        &self,
        threshold: f64,
        law: &PictureLaw,
        pictures: &Thumbnails,
        outcome: &Outcome<'_>,
    ) -> Result<ShortcutFigures> {
        let n = pictures.n();
        let lengths = [outcome.surv.n(), outcome.patient.len()];
        let risks = outcome.face_risk.map_or(n, <[f64]>::len);
        if lengths != [n, n] || risks != n {
            return Err(Error::Rows {
                latents: n,
                patients: outcome.surv.n(),
            });
        }
        if self.permutations == 0 || self.directions == 0 || !(0.0..1.0).contains(&self.level) {
            return Err(Error::Study {
                reason: "the shortcut test needs directions, permutations and a level below 1"
                    .into(),
            });
        }
        let rows = patients(outcome.patient);
        let pictures = pictures.select(&rows);
        let most = self.directions.min((outcome.surv.n_events() / 10).max(1));
        let novelty = law.novelty(&pictures, threshold, most)?;
        self.judge(threshold, &novelty, &rows, &pictures, outcome)
    }

    /// The outcome's part, for the pictures of some rows.
    pub(super) fn judge(
        &self,
        threshold: f64,
        novelty: &Novelty,
        rows: &[usize],
        pictures: &Thumbnails,
        outcome: &Outcome<'_>,
    ) -> Result<ShortcutFigures> {
        let surv = outcome.surv.subset(rows)?;
        let regions = RegionMap::canonical(pictures.side());
        let mut figures = ShortcutFigures {
            alarm: false,
            novel: novelty.variance.len(),
            largest: novelty.variance.first().copied(),
            threshold,
            p: None,
            p_given_face: None,
            hazard_ratio_per_sd: None,
            risk_correlation: None,
            face_share: None,
            face_area: regions.face_area(),
            patients: rows.len(),
            map: vec![0.0; pictures.side().pow(2)],
        };
        if novelty.scores.is_empty() {
            return Ok(figures);
        }
        let pick = |column: &[f64]| -> Vec<f64> { rows.iter().map(|&i| column[i]).collect() };
        let mut columns = Columns::new();
        for (j, name) in outcome
            .covariates
            .iter()
            .flat_map(|d| d.names().iter().enumerate())
        {
            let column = outcome
                .covariates
                .map_or_else(Vec::new, |d| pick(d.column(j)));
            columns.push((name.clone(), column));
        }
        columns.retain(|(_, c)| c.iter().any(|v| v.total_cmp(&c[0]).is_ne()));
        let (p, combined) = self.association(&surv, &columns, &novelty.scores)?;
        figures.p = Some(p);
        figures.alarm = p <= self.level;
        figures.hazard_ratio_per_sd = hazard_ratio(&surv, &columns, &combined);
        if let Some(risk) = outcome.face_risk.map(pick)
            && risk.iter().any(|v| v.total_cmp(&risk[0]).is_ne())
        {
            figures.risk_correlation = Some(correlation(&combined, &risk));
            columns.push(("the face's risk".to_owned(), risk));
            // A risk that predicts perfectly has no fit, and then there is no such p value.
            figures.p_given_face = self
                .association(&surv, &columns, &novelty.scores)
                .ok()
                .map(|found| found.0);
        }
        figures.map = shown_by(&combined, pictures);
        let total: f64 = figures.map.iter().sum();
        let face = figures
            .map
            .iter()
            .zip(regions.labels())
            .filter(|(_, l)| l.is_face());
        figures.face_share = (total > 0.0).then(|| face.map(|(v, _)| v).sum::<f64>() / total);
        Ok(figures)
    }

    /// Permutation p value of the scores' going with the residuals of the covariates' model, and the
    /// combination of the scores that goes best with them, of standard deviation 1.
    fn association(
        &self,
        surv: &Surv,
        columns: &Columns,
        scores: &[Vec<f64>],
    ) -> Result<(f64, Vec<f64>)> {
        let n = surv.n();
        let mut residuals = martingale(surv, columns)?;
        let mean = residuals.iter().sum::<f64>() / n as f64;
        for r in &mut residuals {
            *r -= mean;
        }
        // What covariates say of the scores is taken out of them.
        let mut all = vec![vec![1.0; n]];
        all.extend(columns.iter().map(|(_, c)| c.clone()));
        let known = all.len();
        all.extend(scores.iter().cloned());
        orthonormal(&mut all);
        let basis = &all[known..];
        let explained = |r: &[f64]| basis.iter().map(|b| dot(b, r).powi(2)).sum::<f64>();
        let own = explained(&residuals);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(1 << 33);
        let mut dealt = residuals.clone();
        let mut reached = 1;
        for _ in 0..self.permutations {
            for k in 0..n {
                let other = rng.random_range(k..n);
                dealt.swap(k, other);
            }
            reached += usize::from(explained(&dealt) >= own);
        }
        let mut combined = vec![0.0; n];
        for b in basis {
            let weight = dot(b, &residuals);
            combined
                .iter_mut()
                .zip(b)
                .for_each(|(c, b)| *c += weight * b);
        }
        let length = dot(&combined, &combined).sqrt().max(f64::MIN_POSITIVE);
        let scale = (n as f64 - 1.0).sqrt() / length;
        for c in &mut combined {
            *c *= scale;
        }
        Ok((reached as f64 / (self.permutations + 1) as f64, combined))
    }
}

impl ShortcutFigures {
    /// The finding in a sentence.
    pub fn sentence(&self) -> String {
        match self.p {
            None => {
                "The photos show nothing that the generator of portraits does not draw, too: no \
                     sign of a shortcut."
                    .to_owned()
            }
            Some(p) if self.alarm => format!(
                "The outcome goes with something in the photos that the generator of portraits does \
                 not draw (p = {p:.3}): look at the map, it may be a cap, a mask or a place.",
            ),
            Some(p) => format!(
                "The photos show something that the generator of portraits does not draw, but the \
                 outcome does not go with it (p = {p:.3}).",
            ),
        }
    }

    /// The map in gray, the largest difference white.
    pub fn picture(&self) -> Picture {
        let side = self.map.len().isqrt();
        map(&self.map, side, "WITH OUTCOME")
    }
}

/// The first row of every patient.
fn patients(patient: &[u32]) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    (0..patient.len())
        .filter(|&i| seen.insert(patient[i]))
        .collect()
}

/// Martingale residuals of a Cox model of the columns; of no model where there are none.
fn martingale(surv: &Surv, columns: &Columns) -> Result<Vec<f64>> {
    if columns.is_empty() {
        let mut plain = Surv::builder(surv.time(), surv.event()).timefix(false);
        if let Some(entry) = surv.entry() {
            plain = plain.entry(entry);
        }
        let plain = plain.build()?;
        let fit = NelsonAalen::new().fit(&plain)?;
        let hazard = fit.curves[0].step()?;
        let entry = |i: usize| plain.entry().map_or(0.0, |e| hazard.eval(e[i]));
        let one = |i: usize| {
            f64::from(u8::from(plain.event()[i])) - (hazard.eval(plain.time()[i]) - entry(i))
        };
        return Ok((0..plain.n()).map(one).collect());
    }
    let slices: Vec<&[f64]> = columns.iter().map(|(_, c)| c.as_slice()).collect();
    let x = Covariates::from_column_slices(&slices)?;
    let x = x.with_names(columns.iter().map(|(name, _)| name.clone()))?;
    let fit = CoxPh::new().concordance(false).fit(surv, &x)?;
    Ok(fit.diagnostics(surv, &x)?.martingale())
}

fn hazard_ratio(surv: &Surv, columns: &Columns, score: &[f64]) -> Option<f64> {
    let mut slices: Vec<&[f64]> = vec![score];
    slices.extend(columns.iter().map(|(_, c)| c.as_slice()));
    let x = Covariates::from_column_slices(&slices).ok()?;
    let fit = CoxPh::new().concordance(false).fit(surv, &x).ok()?;
    Some(fit.coef()[0].exp()).filter(|ratio| ratio.is_finite())
}

/// Length over the colours of the slope of each pixel by the score, in gray levels.
fn shown_by(score: &[f64], pictures: &Thumbnails) -> Vec<f64> {
    let n = pictures.n() as f64;
    let mut slope = vec![0.0; pictures.width()];
    // Scores have mean 0 and standard deviation 1.
    for (i, s) in score.iter().enumerate() {
        for (sum, v) in slope.iter_mut().zip(pictures.row(i)) {
            *sum += s * f64::from(*v) * 255.0 / (n - 1.0);
        }
    }
    slope.chunks_exact(3).map(|c| dot(c, c).sqrt()).collect()
}

/// 0 where one side does not vary.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let centred = |v: &[f64]| -> Vec<f64> {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|x| x - mean).collect()
    };
    let (a, b) = (centred(a), centred(b));
    let size = (dot(&a, &a) * dot(&b, &b)).sqrt();
    if size > 0.0 { dot(&a, &b) / size } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::novelty::PictureLawSettings;
    use super::super::portraits::tests::Patches;
    use super::*;
    use crate::simulate::{PortraitSurv, Shortcut, ShortcutKind};

    /// Pictures of a simulated cohort of [`Patches`], wearers marked in one corner.
    fn cohort(seed: u64, log_hr: Option<f64>) -> (Thumbnails, Surv, Vec<f64>) {
        let net = Patches { dim: 4, side: 16 };
        let settings = PortraitSurv {
            n: 200,
            dim: 4,
            decay: 0.0,
            seed,
            shortcut: log_hr.map(|log_hr| Shortcut {
                share: 0.25,
                log_hr,
                kind: ShortcutKind::Cap,
            }),
            ..PortraitSurv::default()
        };
        let cohort = settings.simulate().unwrap();
        let w: Vec<f32> = (0..800)
            .map(|k| cohort.latents.get(k / 4, k % 4) as f32)
            .collect();
        let plain = Thumbnails::of(&net, 4, &w, 200).unwrap();
        let mut pictures = Thumbnails::new(4);
        for (i, wears) in cohort.truth.shortcut.iter().enumerate() {
            #[allow(clippy::cast_sign_loss)]
            let mut rgb: Vec<u8> = plain
                .row(i)
                .iter()
                .map(|v| (v * 255.0).round() as u8)
                .collect();
            if *wears {
                rgb[..6].fill(30);
            }
            pictures.push(&rgb, 4, 4).unwrap();
        }
        (pictures, cohort.surv().unwrap(), cohort.truth.face_log_risk)
    }

    fn law() -> PictureLaw {
        let settings = PictureLawSettings {
            side: 4,
            draws: 500,
            cohorts: 20,
            ..PictureLawSettings::default()
        };
        settings.fit(&Patches { dim: 4, side: 16 }).unwrap()
    }

    #[test]
    fn a_mark_that_kills_is_found_where_it_is_and_one_that_does_not_is_not() {
        let law = law();
        let patient: Vec<u32> = (0..200).collect();
        let run = |seed, log_hr| {
            let (pictures, surv, risk) = cohort(seed, log_hr);
            let outcome = Outcome {
                surv: &surv,
                patient: &patient,
                covariates: None,
                face_risk: Some(&risk),
            };
            ShortcutTest::default()
                .fit(&law, &pictures, &outcome)
                .unwrap()
        };
        let planted = run(1, Some(1.5));
        assert!(planted.alarm && planted.novel >= 1, "{planted:?}");
        assert!(planted.p_given_face.is_some_and(|p| p < 0.05));
        assert!(planted.hazard_ratio_per_sd.is_some_and(|r| r > 1.3));
        let most = planted.map.iter().copied().fold(0.0, f64::max);
        assert!(planted.map[0] > 0.9 * most && planted.map[10] < 0.6 * most);
        assert!(planted.sentence().contains("look at the map"));
        let clean = run(2, None);
        assert!(
            !clean.alarm && clean.p.is_none() && clean.novel == 0,
            "{clean:?}"
        );
        let harmless = (3..13).filter(|seed| run(*seed, Some(0.0)).alarm).count();
        assert!(harmless <= 2, "{harmless} of 10 at a level of 5 %");
    }

    #[test]
    fn covariates_are_taken_into_account() {
        let law = law();
        let (pictures, surv, risk) = cohort(1, Some(1.5));
        let worn: Vec<f64> = (0..200)
            .map(|i| f64::from(u8::from(pictures.row(i)[..6].iter().all(|v| *v < 0.12))))
            .collect();
        let design = Design::new(200, vec![("cap".into(), worn)]).unwrap();
        let outcome = Outcome {
            surv: &surv,
            patient: &(0..200).collect::<Vec<u32>>(),
            covariates: Some(&design),
            face_risk: Some(&risk),
        };
        // Who knows of the cap and of the face learns nothing from the cap's picture.
        let found = ShortcutTest::default()
            .fit(&law, &pictures, &outcome)
            .unwrap();
        assert!(found.p_given_face.is_some_and(|p| p > 0.05), "{found:?}");
    }

    #[test]
    fn covariates_that_say_the_same_are_named() {
        let law = law();
        let (pictures, surv, _) = cohort(1, Some(1.5));
        let age: Vec<f64> = (0..200).map(|i| f64::from(i * 7 % 31)).collect();
        let twice = age.iter().map(|v| 2.0 * v).collect();
        let columns = vec![("age".into(), age), ("age_twice".into(), twice)];
        let design = Design::new(200, columns).unwrap();
        let outcome = Outcome {
            surv: &surv,
            patient: &(0..200).collect::<Vec<u32>>(),
            covariates: Some(&design),
            face_risk: None,
        };
        let found = ShortcutTest::default().fit(&law, &pictures, &outcome);
        let error = found.unwrap_err().to_string();
        assert!(error.contains("age"), "{error}");
    }

    #[test]
    fn residuals_without_a_model_are_events_less_hazard() {
        let surv = Surv::new(&[1.0, 2.0, 3.0], &[true, false, true]).unwrap();
        let found = martingale(&surv, &vec![]).unwrap();
        let third = 1.0 / 3.0;
        for (a, b) in found.iter().zip([1.0 - third, -third, -third]) {
            assert!((a - b).abs() < 1e-12, "{found:?}");
        }
        assert_eq!(patients(&[4, 4, 0, 1, 0]), [0, 2, 3]);
    }
}
