//! What is painted into the portraits of some patients, who have another hazard.

use serde::{Deserialize, Serialize};

/// A cap or a mask that some patients wear.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shortcut {
    /// Share of patients who wear it.
    pub share: f64,
    /// Log hazard ratio of those who do.
    pub log_hr: f64,
    /// What it is.
    #[serde(default)]
    pub kind: ShortcutKind,
}

/// What is worn.
///
/// ```
/// use survlatent::simulate::ShortcutKind;
/// let mut gray = vec![9; 10 * 10];
/// ShortcutKind::Cap.paint(&mut gray, [10, 10], 1);
/// assert!(gray[..20].iter().all(|v| *v != 9) && gray[20..].iter().all(|v| *v == 9));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortcutKind {
    /// A surgical cap: the upper fifth of the picture in one colour.
    #[default]
    Cap,
    /// A mask over mouth and chin of an aligned portrait, in one colour.
    Mask,
}

impl ShortcutKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Cap, Self::Mask];

    /// As study files and the command line name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::Mask => "mask",
        }
    }

    fn colour(self) -> [u8; 3] {
        match self {
            Self::Cap => [64, 160, 168],
            Self::Mask => [168, 200, 224],
        }
    }

    /// Paints it over an interleaved picture, row by row; a fourth channel becomes opaque, gray takes the
    /// colour's first value.
    pub fn paint(self, pixels: &mut [u8], [width, height]: [usize; 2], channels: usize) {
        let ([left, right], [top, bottom]) = match self {
            Self::Cap => ([0, width], [0, height.div_ceil(5)]),
            Self::Mask => (
                [width * 27 / 100, width * 73 / 100],
                [height * 60 / 100, height * 92 / 100],
            ),
        };
        let [red, green, blue] = self.colour();
        let colour: &[u8] = match channels {
            2 => &[red, 255],
            _ => &[red, green, blue, 255],
        };
        for y in top..bottom {
            for x in left..right {
                let at = (y * width + x) * channels;
                if let Some(pixel) = pixels.get_mut(at..at + channels) {
                    let n = channels.min(colour.len());
                    pixel[..n].copy_from_slice(&colour[..n]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_lies_over_mouth_and_chin_and_nowhere_else() {
        let regions = crate::proof::RegionMap::canonical(64);
        let mut rgb = vec![7; 64 * 64 * 3];
        ShortcutKind::Mask.paint(&mut rgb, [64, 64], 3);
        let painted = |x: usize, y: usize| rgb[3 * (y * 64 + x)..][..3] == [168, 200, 224];
        assert!(painted(32, 47) && painted(32, 57) && !painted(24, 30) && !painted(2, 47));
        // The mouth is under it.
        let mouth: Vec<usize> = (0..64 * 64)
            .filter(|&k| regions.labels()[k] == crate::proof::Region::Mouth)
            .collect();
        let under = mouth.iter().filter(|&&k| painted(k % 64, k / 64)).count();
        assert!(10 * under > 9 * mouth.len(), "{under} of {}", mouth.len());
    }

    #[test]
    fn every_number_of_channels_is_painted() {
        for (channels, first) in [
            (1, vec![64]),
            (2, vec![64, 255]),
            (4, vec![64, 160, 168, 255]),
        ] {
            let mut pixels = vec![0; 25 * channels];
            ShortcutKind::Cap.paint(&mut pixels, [5, 5], channels);
            assert_eq!(pixels[..channels], first);
            assert!(pixels[5 * channels..].iter().all(|v| *v == 0));
        }
    }

    #[test]
    fn a_study_file_without_a_kind_means_the_cap() {
        let old: Shortcut = serde_json::from_str(r#"{"share": 0.25, "log_hr": 1.0}"#).unwrap();
        assert_eq!(old.kind, ShortcutKind::Cap);
        for kind in ShortcutKind::ALL {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(text, format!("\"{}\"", kind.name()));
        }
        assert!(
            serde_json::from_str::<Shortcut>(r#"{"share": 0.2, "log_hr": 1, "kind": "hat"}"#)
                .is_err()
        );
    }
}
