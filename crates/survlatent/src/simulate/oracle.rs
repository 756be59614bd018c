//! What the best possible score can reach.

/// Half the width of the grid over which a normal distribution is integrated, in standard
/// deviations, and the number of its cells.
const REACH: f64 = 9.0;
const CELLS: usize = 4000;

/// Concordance of a normal log hazard of standard deviation `s`, its own score, under
/// proportional hazards and without censoring: `E[1 / (1 + exp(-|D|))]` with `D` normal of variance
/// `2 s^2`.
///
/// ```
/// use survlatent::simulate::concordance_of_log_risk_sd;
/// assert!((concordance_of_log_risk_sd(0.735) - 0.680).abs() < 5e-4);
/// assert!((concordance_of_log_risk_sd(0.0) - 0.5).abs() < 1e-9);
/// ```
pub fn concordance_of_log_risk_sd(s: f64) -> f64 {
    let width = 2.0 * REACH / CELLS as f64;
    let (mut sum, mut mass) = (0.0, 0.0);
    for k in 0..CELLS {
        let x = -REACH + (k as f64 + 0.5) * width;
        let density = (-x * x / 2.0).exp();
        let apart = (std::f64::consts::SQRT_2 * s * x).abs();
        sum += density / (1.0 + (-apart).exp());
        mass += density;
    }
    sum / mass
}

/// The standard deviation of the log hazard that gives a concordance, by bisection; 0 for 0.5.
pub fn log_risk_sd_of_concordance(c: f64) -> f64 {
    let (mut low, mut high) = (0.0, 64.0);
    if c <= 0.5 {
        return 0.0;
    }
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if concordance_of_log_risk_sd(middle) < c {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Expected concordance of `score` in these patients without censoring, given their true log
/// hazards: the mean over pairs of the chance that the higher score has the event first. Pairs
/// are those at most `PAIRS / n` places apart, all of them in small cohorts.
pub(super) fn expected_concordance(score: &[f64], log_hazard: &[f64]) -> f64 {
    const PAIRS: usize = 4_000_000;
    let n = score.len();
    let apart = (PAIRS / n).clamp(1, n - 1);
    let (mut sum, mut count) = (0.0, 0.0);
    for i in 0..n {
        for j in (i + 1..n).take(apart) {
            let first = 1.0 / (1.0 + (log_hazard[j] - log_hazard[i]).exp());
            sum += match score[i].total_cmp(&score[j]) {
                std::cmp::Ordering::Greater => first,
                std::cmp::Ordering::Less => 1.0 - first,
                std::cmp::Ordering::Equal => 0.5,
            };
            count += 1.0;
        }
    }
    sum / count
}
