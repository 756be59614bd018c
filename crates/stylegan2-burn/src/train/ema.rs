//! The moving average of the generator.

use crate::checkpoint::Names;
use crate::generator::Generator;
use crate::train::parameters::{buffer, values, with_values};

/// The weight of the old average when `batch` images have been seen since:
/// $0.5^{batch / n}$, where `n` is the half-life in images.
///
/// With a ramp-up the half-life is at most `images * ramp_up`, so that the average follows
/// quickly at first; at the very beginning the weight is 0 and the average is a copy.
pub fn ema_weight(batch: usize, half_life: f64, ramp_up: Option<f64>, images: u64) -> f64 {
    let half_life = match ramp_up {
        Some(ramp) => half_life.min(images as f64 * ramp),
        None => half_life,
    };
    0.5_f64.powf(batch as f64 / half_life.max(1e-8))
}

/// Moves the average towards the generator: parameters by $\theta + \beta (\bar\theta - \theta)$,
/// noise images and the mean of w as copies.
pub(crate) fn update(
    average: Generator,
    generator: &Generator,
    names: Names,
    weight: f64,
) -> Generator {
    let parameter = |name: &str, trained: bool| !buffer(name, trained);
    let now = values(generator, names.clone(), &parameter);
    let old = values(&average, names.clone(), &parameter);
    // At weight 0 a copy, also of what is not finite.
    let new = if weight > 0.0 {
        now.clone() + (old - now) * weight
    } else {
        now
    };
    let average = with_values(average, names.clone(), &parameter, new);
    let copies = values(generator, names.clone(), &buffer);
    with_values(average, names, &buffer, copies)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::GeneratorConfig;

    #[test]
    fn weights_are_halved_after_the_half_life() {
        assert!((ema_weight(500, 1000.0, None, 0).powi(2) - 0.5).abs() < 1e-12);
        assert!(ema_weight(8, 1000.0, Some(0.05), 0) < 1e-300);
        // 8 images seen: a half-life of 0.4 images, 20 of which go by in a batch of 8.
        assert!((ema_weight(8, 1000.0, Some(0.05), 8) - 0.5_f64.powi(20)).abs() < 1e-15);
        let late = ema_weight(8, 1000.0, Some(0.05), 1_000_000);
        assert!((late - ema_weight(8, 1000.0, None, 0)).abs() < 1e-15);
    }

    #[test]
    fn parameters_are_averaged_and_buffers_copied() {
        let config = GeneratorConfig::new(8)
            .with_channel_base(64)
            .with_z_dim(4)
            .with_w_dim(4);
        let device = Device::default();
        let names = || Names::generator(8);
        let (a, b) = (config.init(&device).unwrap(), config.init(&device).unwrap());
        let all = |_: &str, _: bool| true;
        let parameter = |name: &str, t: bool| !buffer(name, t);
        let numbers = |g: &Generator, f: crate::train::parameters::Filter<'_>| -> Vec<f32> {
            values(g, names(), f).into_data().try_to_vec().unwrap()
        };
        let (pa, pb) = (numbers(&a, &parameter), numbers(&b, &parameter));
        let mean = update(a.clone(), &b, names(), 0.75);
        let expected: Vec<f32> = pa
            .iter()
            .zip(&pb)
            .map(|(a, b)| 0.75 * a + 0.25 * b)
            .collect();
        let mean_of = numbers(&mean, &parameter);
        for (k, (got, e)) in mean_of.iter().zip(&expected).enumerate() {
            // Weights of the mapping network are of the order of 100 and may cancel.
            let size = pa[k].abs() + pb[k].abs() + 1.0;
            assert!((got - e).abs() < 1e-6 * size, "{got} {e}");
        }
        assert_ne!(numbers(&a, &buffer), numbers(&b, &buffer));
        assert_eq!(numbers(&mean, &buffer), numbers(&b, &buffer));
        assert_eq!(
            numbers(&update(a, &b, names(), 0.0), &all),
            numbers(&b, &all)
        );
    }
}
