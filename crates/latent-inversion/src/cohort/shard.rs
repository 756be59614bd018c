//! Which photos of a cohort a job does.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Part `index`, from 0, of `count` parts of a cohort.
///
/// ```
/// use latent_inversion::cohort::Shard;
///
/// let shard: Shard = "1/3".parse()?;
/// assert_eq!(shard.range(10), 3..6);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Shard {
    index: usize,
    count: usize,
}

/// As a file has it.
#[derive(Deserialize)]
struct Unchecked {
    index: usize,
    count: usize,
}

impl TryFrom<Unchecked> for Shard {
    type Error = String;

    fn try_from(Unchecked { index, count }: Unchecked) -> Result<Self, String> {
        Self::new(index, count).ok_or_else(|| format!("{index}/{count} is no shard"))
    }
}

impl Default for Shard {
    /// The whole.
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Shard {
    /// Part `index`, from 0, of `count`; none if there is no such part.
    pub fn new(index: usize, count: usize) -> Option<Self> {
        (index < count && count <= 99_999).then_some(Self { index, count })
    }

    /// Which part, from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// Of how many.
    pub fn count(self) -> usize {
        self.count
    }

    /// The places of its photos among `photos`: consecutive, and in all shards together each once;
    /// no shard has more than one photo more than another.
    pub fn range(self, photos: usize) -> Range<usize> {
        // 128 bits: photos times shards may be more than 64 hold.
        let cut = |k: usize| (photos as u128 * k as u128 / self.count as u128) as usize;
        cut(self.index)..cut(self.index + 1)
    }

    /// The stem of its files: `latents`, or `latents-00001-of-00003`.
    pub fn stem(self) -> String {
        if self.count == 1 {
            return "latents".to_owned();
        }
        format!("latents-{:05}-of-{:05}", self.index, self.count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            let (index, count) = (index.trim().parse().ok()?, count.trim().parse().ok()?);
            Self::new(index, count)
        });
        parts
            .ok_or_else(|| format!("`{text}` is no shard; I/N with I from 0 to N - 1, such as 0/8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_photo_is_in_one_shard() {
        for photos in [0, 1, 7, 84, 13_503] {
            for count in [1, 2, 3, 8, 100] {
                let shards = (0..count).map(|k| Shard::new(k, count).unwrap().range(photos));
                let shards: Vec<_> = shards.collect();
                let all: Vec<usize> = shards.iter().cloned().flatten().collect();
                assert_eq!(all, (0..photos).collect::<Vec<_>>());
                let sizes = shards.iter().map(ExactSizeIterator::len);
                let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
                assert!(most - least <= 1, "{photos} {count}");
            }
        }
    }

    #[test]
    fn shards_are_counted_from_zero() {
        assert_eq!("0/1".parse(), Ok(Shard::default()));
        assert_eq!("7/8".parse(), Ok(Shard { index: 7, count: 8 }));
        for bad in ["8/8", "1", "a/b", "-1/2", "0/0", "0/100000"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
        let text = serde_json::to_string(&Shard { index: 7, count: 8 }).unwrap();
        assert_eq!(serde_json::from_str(&text).ok(), Shard::new(7, 8));
        for bad in [r#"{"index":0,"count":0}"#, r#"{"index":3,"count":2}"#] {
            let error = serde_json::from_str::<Shard>(bad).unwrap_err();
            assert!(error.to_string().contains("is no shard"), "{error}");
        }
        assert_eq!(Shard::new(1, 3).unwrap().stem(), "latents-00001-of-00003");
        assert_eq!(Shard::default().stem(), "latents");
    }
}
