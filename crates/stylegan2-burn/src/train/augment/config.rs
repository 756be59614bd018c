//! Which transformations, how often and how strong.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The settings of the augmentation pipeline.
///
/// Each of the first fields multiplies the probability of its transformation; 0 leaves it out.
/// The others are strengths, with the published values as defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Mirroring left to right.
    pub xflip: f64,
    /// Rotation by a multiple of 90 degrees.
    pub rotate90: f64,
    /// Translation by whole pixels.
    pub xint: f64,
    /// Isotropic scaling.
    pub scale: f64,
    /// Rotation by any angle, before and after anisotropic scaling.
    pub rotate: f64,
    /// Scaling of x against y.
    pub aniso: f64,
    /// Translation by fractions of a pixel.
    pub xfrac: f64,
    /// Brightness.
    pub brightness: f64,
    /// Contrast.
    pub contrast: f64,
    /// Inversion of the luma, colours kept.
    pub lumaflip: f64,
    /// Rotation of the hue; images of three channels only.
    pub hue: f64,
    /// Saturation; images of three channels only.
    pub saturation: f64,
    /// Amplification of frequency bands.
    pub imgfilter: f64,
    /// Additive noise.
    pub noise: f64,
    /// A square of zeros.
    pub cutout: f64,

    /// Largest translation by whole pixels, relative to the size.
    pub xint_max: f64,
    /// Standard deviation of the binary logarithm of the scale.
    pub scale_std: f64,
    /// Largest rotation, 1 being half a turn.
    pub rotate_max: f64,
    /// Standard deviation of the binary logarithm of the anisotropic scale.
    pub aniso_std: f64,
    /// Standard deviation of the fractional translation, relative to the size.
    pub xfrac_std: f64,
    /// Standard deviation of the shift of brightness.
    pub brightness_std: f64,
    /// Standard deviation of the binary logarithm of the contrast.
    pub contrast_std: f64,
    /// Largest rotation of the hue, 1 being half a turn.
    pub hue_max: f64,
    /// Standard deviation of the binary logarithm of the saturation.
    pub saturation_std: f64,
    /// Multipliers of the probability for each of the four bands, lowest first.
    pub imgfilter_bands: [f64; 4],
    /// Standard deviation of the binary logarithm of a band's gain.
    pub imgfilter_std: f64,
    /// Standard deviation of the standard deviation of the noise.
    pub noise_std: f64,
    /// Side of the square of zeros, relative to the size.
    pub cutout_size: f64,
}

impl Default for AugmentConfig {
    /// No transformation, published strengths.
    fn default() -> Self {
        Self {
            xflip: 0.0,
            rotate90: 0.0,
            xint: 0.0,
            scale: 0.0,
            rotate: 0.0,
            aniso: 0.0,
            xfrac: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            lumaflip: 0.0,
            hue: 0.0,
            saturation: 0.0,
            imgfilter: 0.0,
            noise: 0.0,
            cutout: 0.0,
            xint_max: 0.125,
            scale_std: 0.2,
            rotate_max: 1.0,
            aniso_std: 0.2,
            xfrac_std: 0.125,
            brightness_std: 0.2,
            contrast_std: 0.5,
            hue_max: 1.0,
            saturation_std: 1.0,
            imgfilter_bands: [1.0; 4],
            imgfilter_std: 1.0,
            noise_std: 0.1,
            cutout_size: 0.5,
        }
    }
}

impl AugmentConfig {
    /// The names [`AugmentConfig::preset`] knows.
    pub const PRESETS: [&'static str; 11] = [
        "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn",
        "bgcfnc",
    ];

    /// Pixel blitting: mirror, quarter turns, whole-pixel translation.
    pub fn blit() -> Self {
        Self {
            xflip: 1.0,
            rotate90: 1.0,
            xint: 1.0,
            ..Self::default()
        }
    }

    /// Geometric transformations that resample.
    pub fn geom() -> Self {
        Self {
            scale: 1.0,
            rotate: 1.0,
            aniso: 1.0,
            xfrac: 1.0,
            ..Self::default()
        }
    }

    /// Colours.
    pub fn color() -> Self {
        Self {
            brightness: 1.0,
            contrast: 1.0,
            lumaflip: 1.0,
            hue: 1.0,
            saturation: 1.0,
            ..Self::default()
        }
    }

    /// Blitting, geometry and colour: what training uses.
    pub fn bgc() -> Self {
        Self::preset("bgc").unwrap_or_default()
    }

    /// A published set of transformations by name; see [`AugmentConfig::PRESETS`].
    pub fn preset(name: &str) -> Option<Self> {
        let letters = match name {
            "blit" => "b",
            "geom" => "g",
            "color" => "c",
            "filter" => "f",
            "noise" => "n",
            "cutout" => "o",
            "bg" => "bg",
            "bgc" => "bgc",
            "bgcf" => "bgcf",
            "bgcfn" => "bgcfn",
            "bgcfnc" => "bgcfno",
            _ => return None,
        };
        let mut config = Self::default();
        for letter in letters.chars() {
            match letter {
                'b' => {
                    config.xflip = 1.0;
                    config.rotate90 = 1.0;
                    config.xint = 1.0;
                }
                'g' => {
                    config.scale = 1.0;
                    config.rotate = 1.0;
                    config.aniso = 1.0;
                    config.xfrac = 1.0;
                }
                'c' => {
                    config.brightness = 1.0;
                    config.contrast = 1.0;
                    config.lumaflip = 1.0;
                    config.hue = 1.0;
                    config.saturation = 1.0;
                }
                'f' => config.imgfilter = 1.0,
                'n' => config.noise = 1.0,
                _ => config.cutout = 1.0,
            }
        }
        Some(config)
    }

    /// Whether images are resampled.
    pub(super) fn moves(&self) -> bool {
        [
            self.xflip,
            self.rotate90,
            self.xint,
            self.scale,
            self.rotate,
            self.aniso,
            self.xfrac,
        ]
        .iter()
        .any(|&m| m > 0.0)
    }

    /// Whether colours are changed.
    pub(super) fn colors(&self) -> bool {
        [
            self.brightness,
            self.contrast,
            self.lumaflip,
            self.hue,
            self.saturation,
        ]
        .iter()
        .any(|&m| m > 0.0)
    }

    pub(super) fn validate(&self, channels: usize) -> Result<()> {
        let bands = self.imgfilter_bands;
        let numbers = [
            ("augment.xflip", self.xflip),
            ("augment.rotate90", self.rotate90),
            ("augment.xint", self.xint),
            ("augment.scale", self.scale),
            ("augment.rotate", self.rotate),
            ("augment.aniso", self.aniso),
            ("augment.xfrac", self.xfrac),
            ("augment.brightness", self.brightness),
            ("augment.contrast", self.contrast),
            ("augment.lumaflip", self.lumaflip),
            ("augment.hue", self.hue),
            ("augment.saturation", self.saturation),
            ("augment.imgfilter", self.imgfilter),
            ("augment.noise", self.noise),
            ("augment.cutout", self.cutout),
            ("augment.xint_max", self.xint_max),
            ("augment.scale_std", self.scale_std),
            ("augment.rotate_max", self.rotate_max),
            ("augment.aniso_std", self.aniso_std),
            ("augment.xfrac_std", self.xfrac_std),
            ("augment.brightness_std", self.brightness_std),
            ("augment.contrast_std", self.contrast_std),
            ("augment.hue_max", self.hue_max),
            ("augment.saturation_std", self.saturation_std),
            ("augment.imgfilter_bands[0]", bands[0]),
            ("augment.imgfilter_bands[1]", bands[1]),
            ("augment.imgfilter_bands[2]", bands[2]),
            ("augment.imgfilter_bands[3]", bands[3]),
            ("augment.imgfilter_std", self.imgfilter_std),
            ("augment.noise_std", self.noise_std),
            ("augment.cutout_size", self.cutout_size),
        ];
        for (field, value) in numbers {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::Config {
                    field,
                    value: value.to_string(),
                    expected: "finite and not negative",
                });
            }
        }
        if self.colors() && channels != 1 && channels != 3 {
            return Err(Error::Config {
                field: "augment",
                value: format!("changes of colour for {channels} channels"),
                expected: "1 or 3 channels, or transformations that leave colours alone",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_sums_of_their_letters() {
        for name in AugmentConfig::PRESETS {
            assert!(AugmentConfig::preset(name).is_some(), "{name}");
        }
        assert_eq!(AugmentConfig::preset("blit"), Some(AugmentConfig::blit()));
        assert_eq!(AugmentConfig::preset("geom"), Some(AugmentConfig::geom()));
        assert_eq!(AugmentConfig::preset("color"), Some(AugmentConfig::color()));
        assert_eq!(AugmentConfig::preset("everything"), None);
        let all = AugmentConfig::preset("bgcfnc").unwrap();
        let bgc = AugmentConfig::bgc();
        assert!(all.noise > 0.0 && all.cutout > 0.0 && all.imgfilter > 0.0);
        assert!(bgc.noise <= 0.0 && bgc.cutout <= 0.0 && bgc.imgfilter <= 0.0);
        assert!(bgc.moves() && bgc.colors() && !AugmentConfig::color().moves());
    }

    #[test]
    fn settings_outside_their_range_are_named() {
        let config = AugmentConfig {
            hue: -1.0,
            ..AugmentConfig::default()
        };
        let error = config.validate(3).unwrap_err().to_string();
        assert!(error.contains("`augment.hue` is -1"), "{error}");
        let config = AugmentConfig {
            xint_max: f64::NAN,
            ..AugmentConfig::default()
        };
        assert!(config.validate(3).is_err());
        let error = AugmentConfig::bgc().validate(4).unwrap_err().to_string();
        assert!(error.contains("4 channels"), "{error}");
        assert!(AugmentConfig::geom().validate(4).is_ok());
    }

    #[test]
    fn files_with_unknown_names_are_refused() {
        let config: AugmentConfig = serde_json::from_str(r#"{"xflip": 0.5}"#).unwrap();
        assert!((config.xflip - 0.5).abs() < 1e-12 && (config.scale_std - 0.2).abs() < 1e-12);
        assert!(serde_json::from_str::<AugmentConfig>(r#"{"xflop": 1}"#).is_err());
    }
}
