//! The heuristic that adapts the probability of augmentation.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The settings of [`AdaController`], with the published values as defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaConfig {
    /// The mean sign of the discriminator's logits on real images to aim for.
    pub target: f64,
    /// Iterations from one change of $p$ to the next.
    pub interval: usize,
    /// Thousands of images after which $p$ can have gone from 0 to 1: 500, or 100 when fine-tuning.
    pub kimg: f64,
    /// $p$ at the start.
    pub initial: f64,
}

impl Default for AdaConfig {
    fn default() -> Self {
        Self {
            target: 0.6,
            interval: 4,
            kimg: 500.0,
            initial: 0.0,
        }
    }
}

/// Adapts the probability $p$ of augmentation to how sure the discriminator is of real images.
///
/// Every `interval` iterations of `batch` images each,
/// $p \leftarrow \max(0, p + \operatorname{sign}(r - \text{target}) \cdot
/// \text{batch} \cdot \text{interval} / (1000\,\text{kimg}))$ with
/// $r = \operatorname{mean} \operatorname{sign} D(x)$ over all real images since the last change
/// (Karras et al. 2020, "Training generative adversarial networks with limited data", section 3.1).
/// Nothing keeps $p$ below 1; probabilities above 1 mean always.
///
/// Its serialised form holds what has been gathered since the last change, so that a run that is
/// resumed goes on as if it had not been stopped.
///
/// ```
/// use stylegan2_burn::train::{AdaConfig, AdaController};
///
/// # fn main() -> Result<(), stylegan2_burn::Error> {
/// let mut ada = AdaController::new(AdaConfig { interval: 1, ..AdaConfig::default() })?;
/// ada.report(&[2.0, 0.5, 1.0, 3.0]);
/// ada.step(4);
/// assert_eq!(ada.p(), 4.0 / 500_000.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaController {
    config: AdaConfig,
    p: f64,
    /// Sum of the signs since the last change, and their number.
    signs: i64,
    count: u64,
    /// Iterations since the last change.
    iterations: usize,
    /// The mean sign that the last change went by.
    last: Option<f64>,
}

impl AdaController {
    /// Starts with `config.initial`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a setting is outside its range.
    pub fn new(config: AdaConfig) -> Result<Self> {
        let check = |field, value: f64, ok: bool, expected| {
            if ok {
                return Ok(());
            }
            Err(Error::Config {
                field,
                value: value.to_string(),
                expected,
            })
        };
        let AdaConfig {
            target,
            interval,
            kimg,
            initial,
        } = config;
        check(
            "ada.target",
            target,
            (-1.0..=1.0).contains(&target),
            "from -1 to 1",
        )?;
        check("ada.interval", interval as f64, interval > 0, "at least 1")?;
        check(
            "ada.kimg",
            kimg,
            kimg.is_finite() && kimg > 0.0,
            "finite and above 0",
        )?;
        check(
            "ada.initial",
            initial,
            initial.is_finite() && initial >= 0.0,
            "finite and not negative",
        )?;
        Ok(Self {
            config,
            p: initial,
            signs: 0,
            count: 0,
            iterations: 0,
            last: None,
        })
    }

    /// The same probability and memory under other settings.
    ///
    /// # Errors
    ///
    /// As [`AdaController::new`].
    pub fn with_config(self, config: AdaConfig) -> Result<Self> {
        Ok(Self {
            config: Self::new(config)?.config,
            ..self
        })
    }

    /// The current probability.
    pub fn p(&self) -> f64 {
        self.p
    }

    /// The settings.
    pub fn config(&self) -> &AdaConfig {
        &self.config
    }

    /// The mean sign that the last change went by.
    pub fn mean_sign(&self) -> Option<f64> {
        self.last
    }

    /// Takes note of logits of real images. A NaN counts as 0.
    pub fn report(&mut self, logits: &[f32]) {
        for &logit in logits {
            self.signs += i64::from(logit > 0.0) - i64::from(logit < 0.0);
        }
        self.count += logits.len() as u64;
    }

    /// Ends an iteration of `batch` images; changes $p$ when it is time.
    ///
    /// Returns $p$.
    pub fn step(&mut self, batch: usize) -> f64 {
        self.iterations += 1;
        if self.iterations < self.config.interval {
            return self.p;
        }
        self.iterations = 0;
        if self.count > 0 {
            let mean = self.signs as f64 / self.count as f64;
            let size = (batch * self.config.interval) as f64 / (self.config.kimg * 1000.0);
            let excess = mean - self.config.target;
            if excess > 0.0 {
                self.p += size;
            } else if excess < 0.0 {
                self.p = (self.p - size).max(0.0);
            }
            self.last = Some(mean);
            (self.signs, self.count) = (0, 0);
        }
        self.p
    }
}

impl fmt::Display for AdaController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p {:.4}", self.p)?;
        match self.last {
            Some(mean) => write!(f, ", mean sign {mean:.3}, target {}", self.config.target),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_follows_the_sign_of_the_excess_every_fourth_iteration() {
        let mut ada = AdaController::new(AdaConfig {
            kimg: 1.0,
            ..AdaConfig::default()
        })
        .unwrap();
        let step = 10.0 * 4.0 / 1000.0;
        for i in 0..8 {
            // Nine of ten positive: a mean sign of 0.8.
            ada.report(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0]);
            let changes = f64::from((i + 1) / 4);
            assert!((ada.step(10) - changes * step).abs() < 1e-12, "{i}");
        }
        assert!((ada.mean_sign().unwrap() - 0.8).abs() < 1e-12);
        for _ in 0..12 {
            ada.report(&[1.0, -1.0, 0.0]);
            ada.step(10);
        }
        assert!(ada.p().abs() < 1e-12, "p stays at 0 or above");
        assert_eq!(ada.to_string(), "p 0.0000, mean sign 0.000, target 0.6");
    }

    #[test]
    fn exactly_on_target_and_without_reports_nothing_changes() {
        let mut ada = AdaController::new(AdaConfig {
            interval: 1,
            initial: 0.25,
            target: 0.5,
            ..AdaConfig::default()
        })
        .unwrap();
        ada.report(&[1.0, 1.0, 1.0, -1.0]);
        ada.step(4);
        ada.step(4);
        assert!((ada.p() - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_stopped_run_goes_on_where_it_was() {
        let config = AdaConfig {
            kimg: 0.1,
            ..AdaConfig::default()
        };
        let run = |stop: usize| {
            let mut ada = AdaController::new(config).unwrap();
            for i in 0..20 {
                if i == stop {
                    let text = serde_json::to_string(&ada).unwrap();
                    ada = serde_json::from_str(&text).unwrap();
                }
                ada.report(&[1.0, if i % 3 == 0 { -1.0 } else { 1.0 }]);
                ada.step(2);
            }
            ada
        };
        for stop in 0..20 {
            assert_eq!(run(stop), run(usize::MAX), "stopped at {stop}");
        }
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        for config in [
            AdaConfig {
                target: 1.5,
                ..AdaConfig::default()
            },
            AdaConfig {
                interval: 0,
                ..AdaConfig::default()
            },
            AdaConfig {
                kimg: 0.0,
                ..AdaConfig::default()
            },
            AdaConfig {
                initial: f64::NAN,
                ..AdaConfig::default()
            },
        ] {
            assert!(matches!(
                AdaController::new(config),
                Err(Error::Config { .. })
            ));
        }
    }
}
