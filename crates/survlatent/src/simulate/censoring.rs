//! The end of observation that censors a given share.

use super::PortraitSurv;

/// Cells of the integral over the time of censoring.
const CELLS: usize = 256;

/// The `end` for which uniform censoring on `[0, end]` is expected to censor the share asked for:
/// the mean over patients of `1/end * integral of S_i from 0 to end`, which falls as `end` grows.
/// `None` where nobody is to be censored.
pub(super) fn end_of_study(settings: &PortraitSurv, log_hazard: &[f64]) -> Option<f64> {
    if settings.censored <= 0.0 {
        return None;
    }
    // Enough patients to know the mean; the same for every number of them beyond.
    let some = &log_hazard[..log_hazard.len().min(4000)];
    let hazard: Vec<f64> = some.iter().map(|eta| eta.exp()).collect();
    let censored = |end: f64| {
        let at = |k: usize| {
            let t = (k as f64 + 0.5) / CELLS as f64 * end / settings.scale;
            let base = t.powf(settings.shape);
            hazard.iter().map(|h| (-base * h).exp()).sum::<f64>()
        };
        (0..CELLS).map(at).sum::<f64>() / (CELLS * hazard.len()) as f64
    };
    let (mut low, mut high) = (settings.scale * 1e-6, settings.scale * 1e6);
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        if censored(middle) > settings.censored {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some((low * high).sqrt())
}
