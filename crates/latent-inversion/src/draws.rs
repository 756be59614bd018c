//! Random numbers by counter: those of a photo depend on the seed and its name, and on nothing
//! else.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Where the normal numbers of an inversion come from.
pub trait Draws {
    /// The first noise image of photo `photo` (its place in the batch), map `map`, of
    /// `side * side` pixels.
    fn noise(&self, photo: usize, map: usize, side: usize) -> Vec<f32>;

    /// What is added to w at step `step`, before scaling: `w_dim` numbers.
    fn w(&self, photo: usize, step: usize, w_dim: usize) -> Vec<f32>;
}

/// ChaCha8 keyed by the seed and the photo's name, with a stream for each draw.
#[derive(Clone, Debug)]
pub struct CounterDraws {
    keys: Vec<[u8; 32]>,
}

impl CounterDraws {
    /// The draws of a batch of photos.
    pub fn new<S: AsRef<str>>(seed: u64, photos: &[S]) -> Self {
        let key = |name: &S| {
            let mut hash = Sha256::new();
            hash.update(seed.to_le_bytes());
            hash.update(name.as_ref().as_bytes());
            hash.finalize().into()
        };
        Self {
            keys: photos.iter().map(key).collect(),
        }
    }

    fn stream(&self, photo: usize, stream: u64, count: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::from_seed(self.keys[photo]);
        rng.set_stream(stream);
        normals(&mut rng, count)
    }
}

impl Draws for CounterDraws {
    fn noise(&self, photo: usize, map: usize, side: usize) -> Vec<f32> {
        self.stream(photo, map as u64, side * side)
    }

    fn w(&self, photo: usize, step: usize, w_dim: usize) -> Vec<f32> {
        self.stream(photo, (1 << 32) + step as u64, w_dim)
    }
}

/// `count` standard normal numbers (Box and Muller 1958).
pub(crate) fn normals(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(count + 1);
    while out.len() < count {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        // 1 - u lies in (0, 1].
        let radius = (-2.0 * (1.0 - u).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
        out.extend([(radius * cos) as f32, (radius * sin) as f32]);
    }
    out.truncate(count);
    out
}

/// The stream `stream` of a seed.
pub(crate) fn rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_photo_and_not_its_place() {
        let a = CounterDraws::new(3, &["p1", "p2"]);
        let b = CounterDraws::new(3, &["p2"]);
        assert_eq!(a.noise(1, 0, 4), b.noise(0, 0, 4));
        assert_eq!(a.w(1, 7, 5), b.w(0, 7, 5));
        assert_ne!(a.w(0, 7, 5), a.w(1, 7, 5));
        assert_ne!(a.w(0, 7, 5), a.w(0, 8, 5));
        let other = CounterDraws::new(4, &["p2"]);
        assert_ne!(b.w(0, 0, 5), other.w(0, 0, 5));
    }

    #[test]
    fn numbers_are_standard_normal() {
        let x = normals(&mut rng(1, 0), 20_001);
        assert_eq!(x.len(), 20_001);
        let moment = |k: i32| x.iter().map(|v| f64::from(*v).powi(k)).sum::<f64>() / 20_001.0;
        assert!(moment(1).abs() < 0.03, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.05, "{}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.3, "{}", moment(4));
    }
}
