//! The generator that the latents of a study belong to.

use super::super::face_model::MARK;
use super::super::photos::{PhotoSettings, is_shipped};
use super::super::read::{bytes, sha256};
use super::super::results::Input;
use crate::assets::FACES_64;
use crate::error::{Error, Result};
use crate::latents::Latents;
use crate::proof::{FaceNetwork, Portraits};

/// A generator, opened, with what it was opened from.
pub(in super::super) struct Generator {
    pub(in super::super) input: Input,
    pub(super) net: FaceNetwork,
}

impl Generator {
    /// Its name and hash.
    pub(in super::super) fn described(&self) -> String {
        format!("{}{MARK}{}", self.input.name, self.input.sha256)
    }

    /// The generator by whose latents the study was made: the one that photos were inverted with, or,
    /// where latents were given, the one that the study names. The reason why there is none, where it names
    /// none: latents do not say where they come from.
    ///
    /// # Errors
    /// No generator in the file; [`Error::Study`] for one whose W is not as wide as the latents.
    pub(in super::super) fn of(
        photos: &PhotoSettings,
        inverts: bool,
        latents: Option<&Latents>,
    ) -> Result<std::result::Result<Self, String>> {
        let Some(w) = latents else {
            return Ok(Err("the study has no latents in W".into()));
        };
        let named = photos.network.as_deref().filter(|path| !is_shipped(path));
        let (name, net, sha256) = match named {
            Some(path) => {
                let name = path.file_name().unwrap_or_default();
                let name = name.to_string_lossy().into_owned();
                (name, FaceNetwork::open(path)?, sha256(&bytes(path)?))
            }
            None if inverts || photos.network.is_some() => (
                "the shipped network".to_owned(),
                FaceNetwork::shipped()?,
                sha256(FACES_64),
            ),
            None => {
                return Ok(Err(
                    "the latents were given, and the study does not say which generator they belong to: \
                     photos.network = \"FILE\", or \"shipped\" for those of the shipped network"
                        .into(),
                ));
            }
        };
        if net.dim() != w.p() {
            return Err(Error::Study {
                reason: format!(
                    "photos.network: W of {name} has {} numbers, the latents have {}",
                    net.dim(),
                    w.p()
                ),
            });
        }
        Ok(Ok(Self {
            input: Input {
                role: "network".into(),
                name,
                sha256,
            },
            net,
        }))
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::latents::Values;

    #[test]
    fn the_shipped_network_is_taken_where_it_is_named_or_inverted_with() {
        let of = |network: Option<&str>, inverts: bool, p: usize| {
            let photos = PhotoSettings {
                network: network.map(Into::into),
                ..PhotoSettings::default()
            };
            let w = Latents::new(Values::F32(vec![0.0; 2 * p]), 2, p).unwrap();
            Generator::of(&photos, inverts, Some(&w)).map(|g| g.map(|g| g.input.name))
        };
        let shipped = Ok("the shipped network".to_owned());
        assert_eq!(of(Some("shipped"), false, 512).unwrap(), shipped);
        assert_eq!(of(None, true, 512).unwrap(), shipped);
        let why = of(None, false, 512).unwrap().unwrap_err();
        assert!(why.contains("photos.network"), "{why}");
        let error = of(Some("shipped"), false, 64).unwrap_err().to_string();
        assert!(error.contains("512") && error.contains("64"), "{error}");
        assert!(of(Some("no/such.pkl"), false, 64).is_err());
        let none = Generator::of(&PhotoSettings::default(), false, None).unwrap();
        assert!(none.is_err());
    }
}
