//! Small data sets worked out by hand, with `r = exp(beta)`.

use super::Ties;
use super::baseline::baseline;
use super::design::Design;
use super::information::information;
use super::likelihood::Likelihood;
use crate::{Covariates, CoxPh, Surv};

fn near(got: f64, want: f64) {
    assert!(
        (got - want).abs() <= 1e-12 * (1.0 + want.abs()),
        "{got} is not {want}"
    );
}

struct Found {
    loglik: f64,
    score: f64,
    information: f64,
    /// In input order.
    residual: Vec<f64>,
    hazard: Vec<f64>,
}

/// The kernels at `beta`, in the units of the single column `x`.
fn at(surv: &Surv, x: &[f64], beta: f64, ties: Ties) -> Found {
    let view = Covariates::from_columns(x, x.len(), 1).unwrap();
    let design = Design::new(surv, &view).unwrap();
    let scale = design.scale[0];
    let mut eta = vec![0.0; x.len()];
    design.times(&[beta * scale], &mut eta);
    let mut likelihood = Likelihood::new(surv, ties);
    likelihood.evaluate(&eta);
    let fast = information(&design, &likelihood);
    let mut residual = vec![0.0; x.len()];
    for (position, &i) in surv.sorted.order.iter().enumerate() {
        residual[i as usize] = likelihood.residual[position];
    }
    Found {
        loglik: likelihood.loglik,
        score: fast.score[0] * scale,
        information: fast.matrix[(0, 0)] * scale * scale,
        residual,
        hazard: baseline(surv, &likelihood, &[beta], &design.mean)[0]
            .hazard
            .clone(),
    }
}

/// Six patients, times 1 1 6 6 8 9 (Therneau & Grambsch 2000, appendix E.1). At time 1 three
/// patients with `x = 1` and three with `x = 0` are at risk and one of the former dies; at 6 one
/// of each dies out of one and three; at 9 the last patient, with `x = 0`, dies alone.
fn six() -> (Surv, [f64; 6]) {
    let event = [true, false, true, true, false, true];
    let surv = Surv::new(&[1.0, 1.0, 6.0, 6.0, 8.0, 9.0], &event).unwrap();
    (surv, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
}

#[test]
fn six_patients_breslow() {
    let (surv, x) = six();
    for beta in [-1.3f64, 0.0, 0.4, 1.475, 3.0] {
        let r = beta.exp();
        let found = at(&surv, &x, beta, Ties::Breslow);
        near(
            found.loglik,
            2.0 * beta - (3.0 * r + 3.0).ln() - 2.0 * (r + 3.0).ln(),
        );
        near(found.score, 2.0 - r / (r + 1.0) - 2.0 * r / (r + 3.0));
        near(
            found.information,
            r / (r + 1.0).powi(2) + 6.0 * r / (r + 3.0).powi(2),
        );
        let (a, b) = (1.0 / (3.0 * r + 3.0), 2.0 / (r + 3.0));
        let residuals = [
            1.0 - r * a,
            -r * a,
            1.0 - r * (a + b),
            1.0 - (a + b),
            -(a + b),
            -(a + b),
        ];
        for (got, want) in found.residual.iter().zip(residuals) {
            near(*got, want);
        }
        for (got, want) in found.hazard.iter().zip([a, a + b, a + b + 1.0]) {
            near(*got, want);
        }
    }
    // The score is zero where r^2 - 3r - 6 = 0.
    let view = Covariates::from_columns(&x, 6, 1).unwrap();
    let fit = CoxPh::new().ties(Ties::Breslow).fit(&surv, &view).unwrap();
    near(fit.exp_coef()[0], f64::midpoint(3.0, 33f64.sqrt()));
}

#[test]
fn six_patients_efron() {
    let (surv, x) = six();
    for beta in [-1.3f64, 0.0, 0.4, 1.475, 3.0] {
        let r = beta.exp();
        let found = at(&surv, &x, beta, Ties::Efron);
        // At time 6 the second denominator keeps half of the two who die: (r + 5) / 2.
        near(
            found.loglik,
            2.0 * beta - (3.0 * r + 3.0).ln() - (r + 3.0).ln() - (0.5 * (r + 5.0)).ln(),
        );
        near(
            found.score,
            2.0 - r / (r + 1.0) - r / (r + 3.0) - r / (r + 5.0),
        );
        near(
            found.information,
            r / (r + 1.0).powi(2) + 3.0 * r / (r + 3.0).powi(2) + 5.0 * r / (r + 5.0).powi(2),
        );
        let a = 1.0 / (3.0 * r + 3.0);
        let all = a + 1.0 / (r + 3.0) + 2.0 / (r + 5.0);
        let dying = a + 1.0 / (r + 3.0) + 1.0 / (r + 5.0);
        let residuals = [
            1.0 - r * a,
            -r * a,
            1.0 - r * dying,
            1.0 - dying,
            -all,
            1.0 - (all + 1.0),
        ];
        for (got, want) in found.residual.iter().zip(residuals) {
            near(*got, want);
        }
        for (got, want) in found.hazard.iter().zip([a, all, all + 1.0]) {
            near(*got, want);
        }
    }
    // The score is zero where r^3 - 23r - 30 = 0.
    let view = Covariates::from_columns(&x, 6, 1).unwrap();
    let fit = CoxPh::new().fit(&surv, &view).unwrap();
    let r = fit.exp_coef()[0];
    assert!((r.powi(3) - 23.0 * r - 30.0).abs() < 1e-11 && r > 0.0);
}

/// Ten intervals with late entry (appendix E.2): the numbers with `x = 1` and `x = 0` at risk at
/// times 2, 3, 6, 7, 8, 9 are (1,1), (1,2), (3,2), (3,1), (3,1), (3,2).
#[test]
fn ten_intervals_with_entry() {
    let start = [1.0, 2.0, 5.0, 2.0, 1.0, 7.0, 3.0, 4.0, 8.0, 8.0];
    let stop = [2.0, 3.0, 6.0, 7.0, 8.0, 9.0, 9.0, 9.0, 14.0, 17.0];
    let event = [
        true, true, true, true, true, true, true, false, false, false,
    ];
    let x = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0];
    let surv = Surv::builder(&stop, &event).entry(&start).build().unwrap();
    for beta in [-2.0f64, -0.084, 0.0, 1.1] {
        let r = beta.exp();
        let share = |a: f64, b: f64| a * r / (a * r + b);
        let spread = |a: f64, b: f64| a * b * r / (a * r + b).powi(2);
        let common = 4.0 * beta
            - (r + 1.0).ln()
            - (r + 2.0).ln()
            - (3.0 * r + 2.0).ln()
            - 2.0 * (3.0 * r + 1.0).ln();
        let score =
            4.0 - share(1.0, 1.0) - share(1.0, 2.0) - share(3.0, 2.0) - 2.0 * share(3.0, 1.0);
        let information =
            spread(1.0, 1.0) + spread(1.0, 2.0) + spread(3.0, 2.0) + 2.0 * spread(3.0, 1.0);

        let found = at(&surv, &x, beta, Ties::Breslow);
        near(found.loglik, common - 2.0 * (3.0 * r + 2.0).ln());
        near(found.score, score - 2.0 * share(3.0, 2.0));
        near(found.information, information + 2.0 * spread(3.0, 2.0));
        // The first interval is at risk at time 2 alone, the second at time 3 alone.
        near(found.residual[0], 1.0 - r / (r + 1.0));
        near(found.residual[1], 1.0 - 1.0 / (r + 2.0));

        // Both who die at 9 have x = 1: the second denominator is 2r + 2.
        let found = at(&surv, &x, beta, Ties::Efron);
        near(
            found.loglik,
            common - (3.0 * r + 2.0).ln() - (2.0 * r + 2.0).ln(),
        );
        near(found.score, score - share(3.0, 2.0) - share(2.0, 2.0));
        near(
            found.information,
            information + spread(3.0, 2.0) + spread(2.0, 2.0),
        );
    }
}
