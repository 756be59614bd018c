//! The latent spaces a direction can live in, and the layers an edit may touch.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A space of latent vectors. A latent of it is one row of [`dim`](Self::dim) values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LatentSpace {
    /// The input of the mapping network, normal by construction.
    Z {
        /// Values per latent.
        dim: usize,
    },
    /// The output of the mapping network, one style vector for all layers.
    W {
        /// Values per latent.
        dim: usize,
    },
    /// One style vector per layer; a latent is `[layers, dim]` row-major.
    WPlus {
        /// Values per layer.
        dim: usize,
        /// The layers that an edit touches; its length is the number of layers.
        mask: LayerMask,
    },
    /// Any other vector of features, for example the embedding of an encoder or a molecular
    /// profile.
    Features {
        /// Values per latent.
        dim: usize,
    },
}

impl LatentSpace {
    /// W+ with `layers` layers of `dim` values, all of them open to edits.
    pub fn w_plus(layers: usize, dim: usize) -> Self {
        Self::WPlus {
            dim,
            mask: LayerMask::all(layers),
        }
    }

    /// Values per latent: `dim`, or `layers x dim` in W+.
    ///
    /// Saturates where the product does not fit; [`validate`](Self::validate) refuses that case.
    pub fn dim(&self) -> usize {
        match self {
            Self::Z { dim } | Self::W { dim } | Self::Features { dim } => *dim,
            Self::WPlus { dim, mask } => dim.saturating_mul(mask.layers()),
        }
    }

    /// Number of layers: that of W+, 1 otherwise.
    pub fn layers(&self) -> usize {
        self.mask().map_or(1, LayerMask::layers)
    }

    /// The layers open to edits, in W+.
    pub fn mask(&self) -> Option<&LayerMask> {
        match self {
            Self::WPlus { mask, .. } => Some(mask),
            _ => None,
        }
    }

    /// Whether an edit may change coordinate `index` of a latent.
    pub fn is_open(&self, index: usize) -> bool {
        match self {
            Self::WPlus { dim, mask } => mask.contains(index / (*dim).max(1)),
            _ => index < self.dim(),
        }
    }

    /// Checks that there is something to edit: dimensions, layers, and an open layer.
    pub fn validate(&self) -> Result<()> {
        if let Self::WPlus { dim, mask } = self {
            if mask.layers() == 0 {
                return Err(Error::Space {
                    fault: "there are no layers",
                });
            }
            if dim.checked_mul(mask.layers()).is_none() {
                return Err(Error::Space {
                    fault: "layers x values per layer overflows",
                });
            }
            if mask.count() == 0 {
                return Err(Error::EmptyMask);
            }
        }
        if self.dim() == 0 {
            return Err(Error::Space {
                fault: "there are no dimensions",
            });
        }
        Ok(())
    }

    /// The same space with edits narrowed to the layers that both masks hold.
    pub(crate) fn narrowed(&self, other: &LayerMask) -> Result<Self> {
        let Self::WPlus { dim, mask } = self else {
            return Err(Error::NoLayers {
                space: self.to_string(),
            });
        };
        crate::check::length("layer mask", mask.layers(), other.layers())?;
        let mask = LayerMask(mask.0.iter().zip(&other.0).map(|(a, b)| *a && *b).collect());
        if mask.count() == 0 {
            return Err(Error::EmptyMask);
        }
        Ok(Self::WPlus { dim: *dim, mask })
    }
}

impl fmt::Display for LatentSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Z { dim } => write!(f, "Z ({dim})"),
            Self::W { dim } => write!(f, "W ({dim})"),
            Self::WPlus { dim, mask } => {
                write!(f, "W+ ({} layers x {dim}), edits on ", mask.layers())?;
                if mask.count() == mask.layers() {
                    write!(f, "all layers")
                } else {
                    write!(f, "layers {mask}")
                }
            }
            Self::Features { dim } => write!(f, "features ({dim})"),
        }
    }
}

/// Which layers of W+ an edit touches.
///
/// In `StyleGAN2` the early layers carry pose and shape, the late ones colour and texture, so a mask
/// keeps an edit away from what it should not change.
///
/// ```
/// use latent_attribute::LayerMask;
///
/// let mask = LayerMask::parse("0-3,6", 8)?;
/// assert_eq!(mask.count(), 5);
/// assert!(mask.contains(6) && !mask.contains(4));
/// assert_eq!(mask.to_string(), "0-3,6");
/// # Ok::<(), latent_attribute::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerMask(Vec<bool>);

impl LayerMask {
    /// All of `layers` layers.
    pub fn all(layers: usize) -> Self {
        Self(vec![true; layers])
    }

    /// The layers of `range` among `layers`.
    pub fn range(range: Range<usize>, layers: usize) -> Result<Self> {
        let kept: Vec<usize> = range.take(layers.saturating_add(1)).collect();
        Self::only(&kept, layers)
    }

    /// The layers listed, from 0, among `layers`.
    pub fn only(kept: &[usize], layers: usize) -> Result<Self> {
        let mut mask = vec![false; layers];
        for &layer in kept {
            *mask.get_mut(layer).ok_or(Error::Layer { layer, layers })? = true;
        }
        if kept.is_empty() {
            return Err(Error::EmptyMask);
        }
        Ok(Self(mask))
    }

    /// Reads a list such as `0-7,9`, both ends included, among `layers`.
    pub fn parse(text: &str, layers: usize) -> Result<Self> {
        let syntax = || Error::LayerSyntax {
            text: text.to_owned(),
        };
        let number = |part: &str| part.trim().parse::<usize>().map_err(|_| syntax());
        let mut kept = Vec::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if last >= layers {
                return Err(Error::Layer {
                    layer: last,
                    layers,
                });
            }
            if first > last {
                return Err(syntax());
            }
            kept.extend(first..=last);
        }
        Self::only(&kept, layers)
    }

    /// Number of layers, open or not.
    pub fn layers(&self) -> usize {
        self.0.len()
    }

    /// Number of open layers.
    pub fn count(&self) -> usize {
        self.0.iter().filter(|&&open| open).count()
    }

    /// Whether `layer` is open; `false` beyond the last layer.
    pub fn contains(&self, layer: usize) -> bool {
        self.0.get(layer).copied().unwrap_or(false)
    }
}

impl fmt::Display for LayerMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut layer = 0;
        let mut separator = "";
        while layer < self.layers() {
            if !self.contains(layer) {
                layer += 1;
                continue;
            }
            let first = layer;
            while self.contains(layer + 1) {
                layer += 1;
            }
            write!(f, "{separator}{first}")?;
            if layer > first {
                write!(f, "-{layer}")?;
            }
            separator = ",";
            layer += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn open_coordinates_follow_the_layers() {
        let space = LatentSpace::WPlus {
            dim: 3,
            mask: LayerMask::only(&[1], 3).unwrap(),
        };
        let open: Vec<usize> = (0..space.dim()).filter(|&i| space.is_open(i)).collect();
        assert_eq!(open, [3, 4, 5]);
        assert!(!space.is_open(9));
        assert_eq!(space.to_string(), "W+ (3 layers x 3), edits on layers 1");
        assert_eq!(LatentSpace::w_plus(18, 512).dim(), 9216);
        assert!(!LatentSpace::W { dim: 4 }.is_open(4));
    }

    #[test]
    fn impossible_spaces_and_masks_are_refused() {
        assert!(matches!(
            LatentSpace::W { dim: 0 }.validate(),
            Err(Error::Space { .. })
        ));
        assert!(matches!(
            LatentSpace::w_plus(0, 8).validate(),
            Err(Error::Space { .. })
        ));
        assert!(matches!(
            LatentSpace::w_plus(2, usize::MAX).validate(),
            Err(Error::Space { .. })
        ));
        assert!(matches!(
            LayerMask::only(&[3], 3),
            Err(Error::Layer {
                layer: 3,
                layers: 3
            })
        ));
        assert!(matches!(LayerMask::only(&[], 3), Err(Error::EmptyMask)));
        assert!(matches!(
            LayerMask::range(0..usize::MAX, 3),
            Err(Error::Layer { .. })
        ));
        for text in ["", "a", "2-1", "1-", "-1", "1,,2"] {
            assert!(
                matches!(LayerMask::parse(text, 4), Err(Error::LayerSyntax { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            LayerMask::parse("0-99999999999", 4),
            Err(Error::Layer {
                layer: 99_999_999_999,
                layers: 4
            })
        ));
        let space = LatentSpace::Z { dim: 4 };
        assert!(matches!(
            space.narrowed(&LayerMask::all(1)),
            Err(Error::NoLayers { .. })
        ));
    }

    proptest! {
        #[test]
        fn a_mask_reads_back_what_it_prints(bits in prop::collection::vec(any::<bool>(), 1..20)) {
            let mut bits = bits;
            // At least one layer must be open.
            bits[0] |= !bits.contains(&true);
            let mask = LayerMask(bits.clone());
            prop_assert_eq!(LayerMask::parse(&mask.to_string(), bits.len()).unwrap(), mask);
        }
    }
}
