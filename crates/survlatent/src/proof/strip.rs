//! A face along a direction, in doses of the hazard.

use latent_attribute::{DirectionStability, HealthDirection, direction_stability};

use super::picture::Picture;
use super::portraits::Portraits;
use crate::error::{Error, Result};

/// Hazard ratios of a strip: a quarter to four times the hazard.
pub const DEFAULT_RATIOS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

/// Least width of a face in pixels; small ones are enlarged by a whole number.
const WIDTH: usize = 128;

/// The hazard ratio that takes a survival probability `from` to `to` at one horizon under
/// proportional hazards: `ln(to) / ln(from)`.
///
/// ```
/// use survlatent::proof::hazard_ratio_of_survival;
/// assert!((hazard_ratio_of_survival(0.25, 0.5)? - 0.5).abs() < 1e-12);
/// assert!(hazard_ratio_of_survival(1.0, 0.5).is_err());
/// # Ok::<(), survlatent::Error>(())
/// ```
///
/// # Errors
/// [`Error::Study`] for probabilities that are not between 0 and 1, both excluded.
pub fn hazard_ratio_of_survival(from: f64, to: f64) -> Result<f64> {
    let inside = |p: f64| p > 0.0 && p < 1.0;
    if !(inside(from) && inside(to)) {
        let reason = format!("survival probabilities lie between 0 and 1: not {from} and {to}");
        return Err(Error::Study { reason });
    }
    Ok(to.ln() / from.ln())
}

/// The face of a latent at each hazard ratio, relative to the latent itself, without any label.
fn faces(
    net: &dyn Portraits,
    direction: &HealthDirection,
    latent: &[f64],
    ratios: &[f64],
) -> Result<Vec<Vec<f32>>> {
    let walk = direction.walk(latent, ratios)?;
    let latents: Vec<f32> = walk
        .iter()
        .flat_map(|step| step.latent.iter().map(|v| *v as f32))
        .collect();
    let images = net.images(&latents, ratios.len())?;
    let size = 3 * net.side() * net.side();
    Ok(images.chunks_exact(size).map(<[f32]>::to_vec).collect())
}

fn shown(planes: &[f32], side: usize) -> Picture {
    Picture::from_planes(planes, side)
        .at_least(WIDTH)
        .labelled()
}

/// `HR 1/4`, `HR 2`, `HR 0.8`.
fn caption(ratio: f64) -> String {
    let whole = |v: f64| (v - v.round()).abs() < 1e-9 && v < 100.0;
    if whole(ratio) {
        format!("HR {ratio:.0}")
    } else if whole(1.0 / ratio) {
        format!("HR 1/{:.0}", 1.0 / ratio)
    } else {
        format!("HR {ratio:.2}")
    }
}

/// A face at each hazard ratio, from left to right, each with its ratio above it and labelled as
/// synthetic.
///
/// # Errors
/// Ratios that are not positive, and what the generator refuses.
pub fn strip(
    net: &dyn Portraits,
    direction: &HealthDirection,
    latent: &[f64],
    ratios: &[f64],
) -> Result<Picture> {
    row(net, direction, latent, ratios, &caption)
}

/// The same with the probability of survival at some horizon beside each ratio, `HR 2 S 0.36`;
/// `survival` is that of the latent itself.
///
/// # Errors
/// As [`strip`]; [`Error::Study`] for a probability outside 0 to 1.
pub fn strip_with_survival(
    net: &dyn Portraits,
    direction: &HealthDirection,
    latent: &[f64],
    ratios: &[f64],
    survival: f64,
) -> Result<Picture> {
    probability(survival)?;
    row(net, direction, latent, ratios, &|ratio| {
        format!("{} S {:.2}", caption(ratio), survival.powf(ratio))
    })
}

fn probability(survival: f64) -> Result<()> {
    if (0.0..=1.0).contains(&survival) {
        return Ok(());
    }
    let reason = format!("a probability of survival lies in 0 to 1: not {survival}");
    Err(Error::Study { reason })
}

fn row(
    net: &dyn Portraits,
    direction: &HealthDirection,
    latent: &[f64],
    ratios: &[f64],
    text: &dyn Fn(f64) -> String,
) -> Result<Picture> {
    let faces = faces(net, direction, latent, ratios)?;
    let tiles: Vec<Picture> = faces
        .iter()
        .zip(ratios)
        .map(|(f, r)| shown(f, net.side()).captioned(&text(*r)))
        .collect();
    Picture::row(&tiles)
}

/// An animated GIF from the first ratio to the last and back, in `frames` even steps of the log
/// hazard each way.
///
/// # Errors
/// As [`strip`]; fewer than two frames.
#[cfg(feature = "pictures")]
pub fn film(
    net: &dyn Portraits,
    direction: &HealthDirection,
    latent: &[f64],
    (first, last): (f64, f64),
    frames: usize,
) -> Result<Vec<u8>> {
    let text = |ratio: f64| format!("HR {ratio:.2}");
    moving(net, direction, latent, (first, last, frames), &text)
}

/// The same with the probability of survival at some horizon beside each ratio, as
/// [`strip_with_survival`] has it.
///
/// # Errors
/// As [`film`]; [`Error::Study`] for a probability outside 0 to 1.
#[cfg(feature = "pictures")]
pub fn film_with_survival(
    net: &dyn Portraits,
    direction: &HealthDirection,
    latent: &[f64],
    (first, last, frames): (f64, f64, usize),
    survival: f64,
) -> Result<Vec<u8>> {
    probability(survival)?;
    let text = |ratio: f64| format!("HR {ratio:.2} S {:.2}", survival.powf(ratio));
    moving(net, direction, latent, (first, last, frames), &text)
}

#[cfg(feature = "pictures")]
fn moving(
    net: &dyn Portraits,
    direction: &HealthDirection,
    latent: &[f64],
    (first, last, frames): (f64, f64, usize),
    text: &dyn Fn(f64) -> String,
) -> Result<Vec<u8>> {
    let ratios = latent_attribute::log_spaced(first, last, frames)?;
    let forth: Vec<Picture> = faces(net, direction, latent, &ratios)?
        .iter()
        .zip(&ratios)
        .map(|(f, r)| shown(f, net.side()).captioned(&text(*r)))
        .collect();
    let back = forth.iter().rev().skip(1).take(frames.saturating_sub(2));
    let all: Vec<Picture> = forth.iter().chain(back).cloned().collect();
    Picture::gif(&all, 12)
}

/// Low hazard, the latent itself and high hazard side by side, and where they differ: white is the
/// largest difference of the pair `1 / ratio` and `ratio`, black none.
///
/// # Errors
/// As [`strip`].
pub fn triptych(
    net: &dyn Portraits,
    direction: &HealthDirection,
    latent: &[f64],
    ratio: f64,
) -> Result<Picture> {
    let ratios = [ratio.recip(), 1.0, ratio];
    let faces = faces(net, direction, latent, &ratios)?;
    let mut tiles: Vec<Picture> = faces
        .iter()
        .zip(["LOW", "MEAN", "HIGH"])
        .zip(&ratios)
        .map(|((f, name), r)| shown(f, net.side()).captioned(&format!("{name} {}", caption(*r))))
        .collect();
    let difference = magnitude(&difference(&faces[0], &faces[2]), net.side());
    tiles.push(map(&difference, net.side(), "DIFFERENCE"));
    Picture::row(&tiles)
}

/// High less low as they are shown: values beyond black and white are no difference.
fn difference(low: &[f32], high: &[f32]) -> Vec<f64> {
    let seen = |v: f32| f64::from(v.clamp(-1.0, 1.0));
    low.iter()
        .zip(high)
        .map(|(l, h)| seen(*h) - seen(*l))
        .collect()
}

/// Length of each pixel's change over the colours.
pub(super) fn magnitude(planes: &[f64], side: usize) -> Vec<f64> {
    let size = side * side;
    (0..size)
        .map(|k| {
            planes
                .iter()
                .skip(k)
                .step_by(size)
                .map(|v| v * v)
                .sum::<f64>()
                .sqrt()
        })
        .collect()
}

/// A map as a gray picture, its largest value white, with its name above it if it has one.
pub(super) fn map(values: &[f64], side: usize, name: &str) -> Picture {
    let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let scaled: Vec<f64> = values.iter().map(|v| v / most).collect();
    Picture::from_gray(&scaled, side)
        .at_least(WIDTH)
        .captioned(name)
}

/// How much the picture of a direction would change with other patients.
#[derive(Debug, Clone)]
pub struct StabilityMaps {
    /// Cosines of the replicates to the direction.
    pub cosines: DirectionStability,
    /// Correlation of the pixels' changes with those of the direction, replicate by replicate.
    pub picture: Vec<f64>,
    /// Mean change between hazard ratios, its standard deviation over the replicates on the same
    /// scale: two maps in gray.
    pub maps: Picture,
}

/// Refitted directions, as pictures: the difference between hazard ratios `1 / ratio` and `ratio` of
/// each at one latent, its mean and standard deviation over replicates. The cosines have an interval of
/// level 0.95.
///
/// # Errors
/// No replicate, one of another width, and what the generator refuses.
pub fn stability(
    net: &dyn Portraits,
    direction: &HealthDirection,
    replicates: &[HealthDirection],
    latent: &[f64],
    ratio: f64,
) -> Result<StabilityMaps> {
    stability_at(net, direction, replicates, latent, (ratio, 0.95))
}

/// The same with an interval of another level: `ratio` and `level`.
///
/// # Errors
/// As [`stability`], and for a level that does not lie between 0 and 1.
pub fn stability_at(
    net: &dyn Portraits,
    direction: &HealthDirection,
    replicates: &[HealthDirection],
    latent: &[f64],
    (ratio, level): (f64, f64),
) -> Result<StabilityMaps> {
    let side = net.side();
    let change = |d: &HealthDirection| -> Result<Vec<f64>> {
        let pair = faces(net, d, latent, &[ratio.recip(), ratio])?;
        Ok(difference(&pair[0], &pair[1]))
    };
    let own = change(direction)?;
    let (mut sum, mut squares) = (vec![0.0; own.len()], vec![0.0; own.len()]);
    let mut picture = Vec::with_capacity(replicates.len());
    for replicate in replicates {
        let change = change(replicate)?;
        for ((s, q), c) in sum.iter_mut().zip(&mut squares).zip(&change) {
            *s += c;
            *q += c * c;
        }
        picture.push(latent_attribute::cosine(&own, &change)?);
    }
    let units: Vec<Vec<f64>> = replicates.iter().map(|d| d.unit().to_vec()).collect();
    let cosines = direction_stability(direction.unit(), &units, level)?;
    let n = replicates.len() as f64;
    let mean: Vec<f64> = sum.iter().map(|s| s / n).collect();
    let variance = squares
        .iter()
        .zip(&mean)
        .map(|(q, m)| (q / n - m * m).max(0.0));
    let sd: Vec<f64> = variance.map(f64::sqrt).collect();
    let (mean, sd) = (magnitude(&mean, side), magnitude(&sd, side));
    let most = mean
        .iter()
        .chain(&sd)
        .copied()
        .fold(f64::MIN_POSITIVE, f64::max);
    let scaled = |values: &[f64], name: &str| {
        let values: Vec<f64> = values.iter().map(|v| v / most).collect();
        Picture::from_gray(&values, side)
            .at_least(WIDTH)
            .captioned(name)
    };
    let maps = Picture::row(&[scaled(&mean, "MEAN CHANGE"), scaled(&sd, "SD OF CHANGE")])?;
    Ok(StabilityMaps {
        cosines,
        picture,
        maps,
    })
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "pictures")]
    use image::{AnimationDecoder as _, codecs::gif::GifDecoder};
    use latent_attribute::{FeatureMap, LatentRisk, LatentSpace};

    use super::super::portraits::tests::Patches;
    use super::*;

    pub(crate) fn direction(coef: &[f64]) -> HealthDirection {
        let dim = coef.len();
        let risk = LatentRisk::from_cox(LatentSpace::W { dim }, coef, FeatureMap::identity(dim));
        risk.unwrap().weights().unwrap()
    }

    #[test]
    fn doses_are_hazard_ratios() {
        let net = Patches { dim: 4, side: 16 };
        let d = direction(&[0.0, 1.0, 0.0, 0.0]);
        // One unit of the second number is a hazard ratio of e; the patch moves by a quarter.
        let at = faces(&net, &d, &[0.0; 4], &[1.0_f64.exp(), 1.0, (-1.0_f64).exp()]).unwrap();
        let pixel = 5 * 16;
        assert!((at[0][pixel] - 0.25).abs() < 1e-6 && (at[2][pixel] + 0.25).abs() < 1e-6);
        assert!(at[0][0].abs() < 1e-6 && at[1][pixel].abs() < 1e-6);
        assert_eq!(
            [0.25, 1.0, 4.0, 0.8].map(caption),
            ["HR 1/4", "HR 1", "HR 4", "HR 0.80"]
        );
    }

    #[test]
    fn every_face_of_a_strip_is_labelled() {
        let net = Patches { dim: 4, side: 16 };
        let d = direction(&[0.5, 1.0, 0.0, 0.0]);
        let strip = strip(&net, &d, &[0.1; 4], &DEFAULT_RATIOS).unwrap();
        assert_eq!(strip.width(), 5 * 128 + 4 * 4);
        let white = |k: usize| {
            (0..9).any(|y| {
                let x = 132 * k + 20..132 * k + 108;
                x.into_iter()
                    .any(|x| strip.rgb()[3 * ((strip.height() - 1 - y) * strip.width() + x)] == 255)
            })
        };
        assert!((0..5).all(white));
        #[cfg(feature = "pictures")]
        {
            let film = film(&net, &d, &[0.1; 4], (0.25, 4.0), 5).unwrap();
            assert!(film.starts_with(b"GIF89a"));
            // The second patch is brighter the higher the hazard.
            let ends = |film: &[u8]| {
                let decoder = GifDecoder::new(std::io::Cursor::new(film)).unwrap();
                let frames = decoder.into_frames().collect_frames().unwrap();
                // Forth in five steps, back in three.
                assert_eq!(frames.len(), 8);
                let gray = |k: usize| {
                    let frame = frames[k].buffer();
                    i32::from(frame.get_pixel(5, frame.height() - 128 + 48).0[0])
                };
                (gray(0), gray(4))
            };
            let (first, last) = ends(&film);
            assert!(last - first > 40, "{first} {last}");
            let (first, last) = ends(&super::film(&net, &d, &[0.1; 4], (4.0, 0.25), 5).unwrap());
            assert!(first - last > 40, "{first} {last}");
            let moving = |survival| {
                film_with_survival(&net, &d, &[0.1; 4], (4.0, 0.25, 5), survival).unwrap()
            };
            assert!(moving(0.5) != film && moving(0.5) != moving(0.9));
            assert!(film_with_survival(&net, &d, &[0.1; 4], (4.0, 0.25, 5), 1.5).is_err());
        }
        // The survival at 1/4 and at 4 times the hazard differ, and so do the captions alone.
        let told = |s| strip_with_survival(&net, &d, &[0.1; 4], &DEFAULT_RATIOS, s).unwrap();
        let (a, b) = (told(0.5), told(0.9));
        assert_eq!((a.width(), a.height()), (strip.width(), strip.height()));
        let own = &strip;
        let rows = a.height() - 128;
        let top = 3 * a.width() * rows;
        assert!(a.rgb()[..top] != b.rgb()[..top] && a.rgb()[..top] != own.rgb()[..top]);
        assert!(a.rgb()[top..] == b.rgb()[top..]);
        assert!(super::strip(&net, &d, &[0.1; 4], &[0.0]).is_err());
        assert!(super::strip(&net, &d, &[0.1; 3], &[1.0]).is_err());
        assert!(strip_with_survival(&net, &d, &[0.1; 4], &[1.0], 1.5).is_err());
    }

    #[test]
    fn differences_are_where_the_direction_acts() {
        let net = Patches { dim: 4, side: 16 };
        let t = triptych(&net, &direction(&[0.0, 1.0, 0.0, 0.0]), &[0.0; 4], 2.0).unwrap();
        // The fourth tile: black but for the second patch; its pixels are 8 times enlarged.
        let at = |y: usize| t.rgb()[3 * ((t.height() - 128 + y) * t.width() + 3 * 132 + 5)];
        assert_eq!([at(10), at(40), at(80)], [0, 255, 0]);
    }

    #[test]
    fn equal_replicates_have_no_spread() {
        let net = Patches { dim: 4, side: 16 };
        let d = direction(&[0.0, 1.0, 0.0, 0.0]);
        let same = stability(&net, &d, &[d.clone(), d.clone()], &[0.0; 4], 2.0).unwrap();
        assert!((same.cosines.mean() - 1.0).abs() < 1e-12);
        assert!(same.picture.iter().all(|c| (c - 1.0).abs() < 1e-9));
        let sd = &same.maps.rgb()[3 * (same.maps.width() * 60 + 132 + 5)..][..3];
        assert_eq!(sd, [0; 3]);
        let other = direction(&[1.0, 0.0, 0.0, 0.0]);
        let mixed = stability(&net, &d, &[d.clone(), other], &[0.0; 4], 2.0).unwrap();
        assert!(mixed.picture[1].abs() < 1e-9);
        assert!(stability(&net, &d, &[], &[0.0; 4], 2.0).is_err());
        let some: Vec<HealthDirection> = (0..9)
            .map(|k| direction(&[0.1 * f64::from(k), 1.0, 0.0, 0.0]))
            .collect();
        let width = |level| {
            let maps = stability_at(&net, &d, &some, &[0.0; 4], (2.0, level)).unwrap();
            maps.cosines.interval().1 - maps.cosines.interval().0
        };
        assert!(width(0.5) < 0.8 * width(0.95));
    }
}
