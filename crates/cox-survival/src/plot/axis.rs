//! Axes: where the ticks go and how they are written.

/// The round step (1, 2, 2.5 or 5 times a power of ten) that cuts `[0, end]` into at most `most`
/// parts.
pub(crate) fn tick_step(end: f64, most: usize) -> f64 {
    let rough = end / most.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let mut steps = [1.0, 2.0, 2.5, 5.0].into_iter();
    let step = steps.find(|s| s * power >= rough * (1.0 - 1e-9));
    step.unwrap_or(10.0) * power
}

/// Multiples of `step` from 0 to `end`.
pub(crate) fn ticks(end: f64, step: f64) -> Vec<f64> {
    (0..1000u32)
        .map(|k| f64::from(k) * step)
        .take_while(|t| *t <= end * (1.0 + 1e-9))
        .collect()
}

/// A tick value with as many decimals as its step needs.
pub(crate) fn tick_label(value: f64, step: f64) -> String {
    if value.abs() >= 1e9 || step < 1e-6 {
        return crate::text_table::significant(value, 4);
    }
    let decimals = (0..=7u8).find(|&d| {
        let scaled = step * 10f64.powi(i32::from(d));
        (scaled - scaled.round()).abs() < 1e-6 * scaled
    });
    format!("{value:.*}", usize::from(decimals.unwrap_or(7)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-12;
        assert!(close(tick_step(999.0, 8), 200.0));
        assert!(close(tick_step(2.4, 6), 0.5));
        assert!(close(tick_step(1e-3, 5), 2e-4));
        assert!(close(tick_step(10.0, 4), 2.5));
        assert_eq!(ticks(7.0, 2.5).len(), 3);
    }

    #[test]
    fn labels_have_the_decimals_of_the_step() {
        assert_eq!(tick_label(2.5, 2.5), "2.5");
        assert_eq!(tick_label(5.0, 2.5), "5.0");
        assert_eq!(tick_label(0.25, 0.25), "0.25");
        assert_eq!(tick_label(1000.0, 200.0), "1000");
        assert_eq!(tick_label(0.0004, 0.0002), "0.0004");
    }
}
