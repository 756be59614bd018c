//! Which part of the picture the risk looks at: the exact derivative by region.

use latent_attribute::{HealthDirection, resample_rows};
use serde::{Deserialize, Serialize};

use super::picture::Picture;
use super::portraits::Portraits;
use super::regions::{Region, RegionMap};
use super::strip::{magnitude, map};
use crate::error::{Error, Result};
use crate::study::Interval;

/// Latents differentiated at once.
const BATCH: usize = 16;

/// Settings of the saliency of a direction in a cohort.
///
/// For each latent `w`, with `d` the direction and `G` the generator, the saliency of a pixel is the
/// length over its colours of `dG(w + t d)/dt` at `t = 0`: a forward tangent, no finite difference. A
/// value beyond black or white counts as not changing, because nobody sees it change. The share of
/// a region is that of its pixels in the picture's sum; shares are averaged over the cohort, with a
/// percentile bootstrap over its latents. Compare a share with the region's area: a direction that
/// changed all pixels alike would have the area's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Saliency {
    /// Bootstrap replicates.
    pub bootstraps: usize,
    /// Level of the intervals.
    pub level: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
}

impl Default for Saliency {
    fn default() -> Self {
        Self {
            bootstraps: 1000,
            level: 0.95,
            seed: 0,
        }
    }
}

/// Share of the saliency in one region.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RegionShare {
    /// The region.
    pub region: Region,
    /// Its mean share with limits.
    #[serde(flatten)]
    pub share: Interval,
    /// Its mean share of the picture's area.
    pub area: f64,
}

/// What a direction changes in a cohort's pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaliencyFigures {
    /// Mean share inside the face.
    pub face_share: f64,
    /// Lower limit.
    pub lower: f64,
    /// Upper limit.
    pub upper: f64,
    /// Share of the pictures' area that is face: what a direction without a preference would have.
    pub face_area: f64,
    /// Share by region.
    pub regions: Vec<RegionShare>,
    /// Latents looked at.
    pub rows: usize,
    /// Whether the face is told by a mask of every photo, and not by an oval.
    #[serde(default)]
    pub masks: bool,
    /// Whether it is told by an oval around each photo's own landmarks, and not around those that aligned
    /// portraits have in general.
    #[serde(default)]
    pub landmarks: bool,
    /// Mean saliency of every pixel, row by row, in gray levels per halving of the hazard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<f64>,
}

impl Saliency {
    /// The saliency of `direction` at `n` latents; `regions` is one map for all or one per latent.
    ///
    /// # Errors
    /// [`Error::Study`]: no latent, maps of another number or side; what the generator refuses.
    pub fn fit(
        &self,
        net: &dyn Portraits,
        direction: &HealthDirection,
        latents: &[f32],
        n: usize,
        regions: &[RegionMap],
    ) -> Result<SaliencyFigures> {
        let side = net.side();
        let refuse = |reason: String| Err(Error::Study { reason });
        if n == 0 || self.bootstraps == 0 || !(0.0..1.0).contains(&self.level) {
            return refuse(
                "saliency needs a latent, a bootstrap replicate and a level below 1".into(),
            );
        }
        if regions.len() != 1 && regions.len() != n {
            return refuse(format!("{} region maps for {n} latents", regions.len()));
        }
        if let Some(map) = regions.iter().find(|m| m.side() != side) {
            return refuse(format!(
                "a region map of side {} for pictures of {side}",
                map.side()
            ));
        }
        // Per halving of the hazard, in gray levels of 255.
        let step = direction.step_for_hazard_ratio(0.5)?.abs() * 127.5;
        let width = direction.dim();
        let mut mean = vec![0.0; side * side];
        let mut shares = Vec::with_capacity(n);
        let mut areas = [0.0; Region::ALL.len()];
        for (start, some) in (0..).step_by(BATCH).zip(latents.chunks(BATCH * width)) {
            let count = some.len() / width.max(1);
            let (images, tangents) = net.derivatives(some, count, direction.unit())?;
            let size = 3 * side * side;
            let pairs = images.chunks_exact(size).zip(tangents.chunks_exact(size));
            for (k, (image, tangent)) in pairs.enumerate() {
                let seen: Vec<f64> = image
                    .iter()
                    .zip(tangent)
                    .map(|(v, t)| {
                        if v.abs() < 1.0 {
                            f64::from(*t) * step
                        } else {
                            0.0
                        }
                    })
                    .collect();
                let pixels = magnitude(&seen, side);
                let map = &regions[if regions.len() == 1 { 0 } else { start + k }];
                let mut share = [0.0; Region::ALL.len()];
                for ((m, v), label) in mean.iter_mut().zip(&pixels).zip(map.labels()) {
                    *m += v / n as f64;
                    share[*label as usize] += v;
                }
                let total: f64 = share.iter().sum();
                // A picture that nothing changes has the area's shares.
                for (s, region) in share.iter_mut().zip(Region::ALL) {
                    *s = if total > 0.0 {
                        *s / total
                    } else {
                        map.area(region)
                    };
                }
                for (a, region) in areas.iter_mut().zip(Region::ALL) {
                    *a += map.area(region) / n as f64;
                }
                shares.push(share);
            }
        }
        if shares.len() != n {
            return refuse(format!("{} latents where {n} were announced", shares.len()));
        }
        let face = |share: &[f64; Region::ALL.len()]| -> f64 {
            Region::ALL
                .into_iter()
                .zip(share)
                .filter(|(r, _)| r.is_face())
                .map(|(_, s)| s)
                .sum()
        };
        let of = |value: &dyn Fn(&[f64; Region::ALL.len()]) -> f64| {
            self.interval(&shares.iter().map(value).collect::<Vec<_>>())
        };
        let inside = of(&face);
        Ok(SaliencyFigures {
            face_share: inside.estimate,
            lower: inside.lower.unwrap_or(inside.estimate),
            upper: inside.upper.unwrap_or(inside.estimate),
            face_area: face(&areas),
            regions: Region::ALL
                .into_iter()
                .enumerate()
                .map(|(k, region)| RegionShare {
                    region,
                    share: of(&|share| share[k]),
                    area: areas[k],
                })
                .collect(),
            rows: n,
            masks: false,
            landmarks: false,
            map: mean,
        })
    }

    /// A mean with percentile limits over rows drawn with replacement.
    fn interval(&self, values: &[f64]) -> Interval {
        let n = values.len();
        let means: Vec<Option<f64>> = (0..self.bootstraps)
            .map(|b| {
                let rows = resample_rows(n, b, self.seed);
                Some(rows.iter().map(|&i| values[i]).sum::<f64>() / n as f64)
            })
            .collect();
        Interval::new(
            values.iter().sum::<f64>() / n as f64,
            &means,
            self.level,
            1.0,
        )
    }
}

impl SaliencyFigures {
    /// The map in gray, with the outline of the face as the regions have it, beside a face.
    ///
    /// # Errors
    /// A map of another side than the regions'.
    pub fn picture(&self, face: &Picture, regions: &RegionMap) -> Result<Picture> {
        let side = regions.side();
        if self.map.len() != side * side {
            let reason = format!(
                "a map of {} pixels for regions of side {side}",
                self.map.len()
            );
            return Err(Error::Study { reason });
        }
        let saliency = outlined(map(&self.map, side, ""), regions).captioned("SALIENCY");
        let face = face.at_least(saliency.width()).labelled();
        Picture::row(&[face.captioned("MEAN FACE"), saliency])
    }
}

/// A picture, some times as large as the regions, with a thin line around the face.
fn outlined(mut picture: Picture, regions: &RegionMap) -> Picture {
    let side = regions.side();
    let times = picture.width() / side;
    let face = |x: usize, y: usize| regions.at(x.min(side - 1), y.min(side - 1)).is_face();
    for y in 0..side * times {
        for x in 0..side * times {
            let own = face(x / times, y / times);
            if own != face((x + 1) / times, y / times) || own != face(x / times, (y + 1) / times) {
                picture.set(x, y, [255; 3]);
            }
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use latent_attribute::{FeatureMap, LatentRisk, LatentSpace};

    use super::super::portraits::tests::Patches;
    use super::*;

    fn along(coef: &[f64]) -> HealthDirection {
        let dim = coef.len();
        let risk = LatentRisk::from_cox(LatentSpace::W { dim }, coef, FeatureMap::identity(dim));
        risk.unwrap().weights().unwrap()
    }

    #[test]
    fn shares_are_those_of_the_patches_that_change() {
        let net = Patches { dim: 4, side: 16 };
        // Rows 4 to 7 change; the mask calls rows 6 to 9 face.
        let mask: Vec<u8> = (0..16)
            .flat_map(|y| [u8::from((6..10).contains(&y)); 16])
            .collect();
        let map = RegionMap::from_mask(16, &mask, 16, 16).unwrap();
        let latents: Vec<f32> = (0..40).map(|k| (k as f32 * 0.7).sin()).collect();
        let d = along(&[0.0, 2.0, 0.0, 0.0]);
        let one = std::slice::from_ref(&map);
        let found = Saliency::default()
            .fit(&net, &d, &latents, 10, one)
            .unwrap();
        assert!((found.face_share - 0.5).abs() < 1e-9 && (found.face_area - 0.25).abs() < 1e-9);
        assert!(
            (found.upper - found.lower).abs() < 1e-9,
            "all pictures agree"
        );
        // Halving takes ln(2)/2 along the number, a quarter of that per plane, 127.5 gray levels.
        let expected = 3.0_f64.sqrt() * 0.5_f64.ln().abs() / 2.0 / 4.0 * 127.5;
        assert!(
            (found.map[5 * 16] - expected).abs() < 1e-4,
            "{}",
            found.map[5 * 16]
        );
        assert!(found.map[0].abs() < 1e-12);
        // A patch that is white already does not change.
        let mut white = latents.clone();
        white[1] = 9.0;
        let seen = Saliency::default().fit(&net, &d, &white, 10, one).unwrap();
        assert!(seen.map[5 * 16] < 0.95 * expected);
        let picture = found
            .picture(&Picture::filled(16, 16, [7; 3]), &map)
            .unwrap();
        assert_eq!(picture.width(), 128 + 4 + 128);
    }

    #[test]
    fn limits_bracket_the_mean_of_shares_that_differ() {
        let net = Patches { dim: 4, side: 16 };
        let maps: Vec<RegionMap> = (0..12)
            .map(|k| {
                let rows = 1 + k % 4;
                let mask: Vec<u8> = (0..16)
                    .flat_map(|y| [u8::from((4..4 + rows).contains(&y)); 16])
                    .collect();
                RegionMap::from_mask(16, &mask, 16, 16).unwrap()
            })
            .collect();
        let d = along(&[0.0, 1.0, 0.0, 0.0]);
        let found = Saliency::default()
            .fit(&net, &d, &[0.1; 48], 12, &maps)
            .unwrap();
        assert!((found.face_share - 0.625).abs() < 1e-9);
        // Standard error of shares 1/4 to 1: 0.28 / sqrt(12).
        assert!(found.lower < 0.52 && found.lower > 0.40, "{}", found.lower);
        assert!(found.upper > 0.73 && found.upper < 0.85, "{}", found.upper);
        assert!(
            Saliency::default()
                .fit(&net, &d, &[0.1; 48], 12, &maps[..3])
                .is_err()
        );
        assert!(
            Saliency::default()
                .fit(&net, &d, &[], 0, &maps[..1])
                .is_err()
        );
        let small = [RegionMap::canonical(8)];
        assert!(
            Saliency::default()
                .fit(&net, &d, &[0.1; 48], 12, &small)
                .is_err()
        );
    }
}
