//! Reading weights.

use std::path::Path;

use burn::tensor::Device;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::trunk::{Convolution, Trunk};
use super::{Lpips, upload};
use crate::error::{Error, Result};
use crate::hex;

/// AlexNet with its heads; see `assets/README.md`.
const ALEXNET: &[u8] = include_bytes!("../../assets/lpips_alexnet_f16.safetensors");

/// Files whose contents are known.
const KNOWN: [(&str, Trunk, &str); 2] = [
    (
        "VGG16",
        Trunk::Vgg16,
        "0aaf366c4806b05f31cebe4738aebfc6483785dbc96c0674d95ac9ade11cac7d",
    ),
    (
        "AlexNet",
        Trunk::AlexNet,
        "86a3fdd3789d8add368d46e1df42febb9bd7861bb8aa1eaa43a24fd979d9fae9",
    ),
];

impl Lpips {
    /// With AlexNet, whose weights are part of this crate in half precision.
    ///
    /// # Errors
    ///
    /// None with the weights as released.
    pub fn alexnet(device: &Device) -> Result<Self> {
        Self::from_bytes(Trunk::AlexNet, ALEXNET, device)
    }

    /// With a network from a safetensors file in single precision whose SHA-256 is known: VGG16
    /// with its heads (59 MB; torchvision's `features.*` and PyPI lpips' `lin*.model.1.weight`), or
    /// AlexNet. What PyTorch's users have instead is opened by `Lpips::open_torch`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file is absent or cannot be read, [`Error::Checksum`] if it is another.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let found = hex(&Sha256::digest(&bytes));
        let Some((_, trunk, _)) = KNOWN.iter().find(|known| known.2 == found) else {
            let expected: Vec<String> = KNOWN
                .iter()
                .map(|(name, _, sum)| format!("{sum} ({name})"))
                .collect();
            return Err(Error::Checksum {
                path: path.to_path_buf(),
                found,
                expected: expected.join(" or "),
            });
        };
        Self::from_bytes(*trunk, &bytes, device)
    }

    /// From the bytes of a safetensors file, whatever its weights: names as for [`Lpips::open`],
    /// single or half precision.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] if a tensor is missing or has another shape or type.
    pub fn from_bytes(trunk: Trunk, bytes: &[u8], device: &Device) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| Error::Weights {
            reason: e.to_string(),
        })?;
        Self::from_reader(trunk, device, |name, shape| read(&file, name, shape))
    }

    /// From tensors by name.
    pub(super) fn from_reader(
        trunk: Trunk,
        device: &Device,
        mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let mut convolutions = Vec::new();
        for (name, shape) in trunk.steps().iter().flat_map(|step| step.convolutions()) {
            let weight = read(&format!("{name}.weight"), &shape)?;
            let bias = read(&format!("{name}.bias"), &shape[..1])?;
            convolutions.push(Convolution {
                weight: upload(weight, shape, device),
                bias: upload(bias, [shape[0]], device),
            });
        }
        let mut heads = Vec::new();
        for (i, &width) in trunk.widths().iter().enumerate() {
            let shape = [1, width, 1, 1];
            let head = read(&format!("lin{i}.model.1.weight"), &shape)?;
            heads.push(upload(head, shape, device));
        }
        Ok(Self {
            trunk,
            convolutions,
            heads,
            normalize: false,
        })
    }

    /// A name that two distances share only if they have the same weights.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.trunk.name());
        hash.update([u8::from(self.normalize)]);
        let mut add = |values: Vec<f32>| {
            for value in values {
                hash.update(value.to_le_bytes());
            }
        };
        for Convolution { weight, bias } in &self.convolutions {
            add(crate::floats(weight.clone()));
            add(crate::floats(bias.clone()));
        }
        for head in &self.heads {
            add(crate::floats(head.clone()));
        }
        let mut text = hex(&hash.finalize());
        text.truncate(16);
        text
    }
}

/// A tensor by name, in single precision.
pub(crate) fn read(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let fault = |reason: String| Error::Weights {
        reason: format!("`{name}`: {reason}"),
    };
    let view = file.tensor(name).map_err(|_| fault("missing".to_owned()))?;
    if view.shape() != shape {
        return Err(fault(format!("{:?} instead of {shape:?}", view.shape())));
    }
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => Ok(data
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()),
        Dtype::F16 => Ok(data
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| half::f16::from_le_bytes(*b).to_f32())
            .collect()),
        other => Err(fault(format!("{other:?}; F32 or F16 is read"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_refused_by_their_checksum() {
        let device = Device::default();
        let file = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = Lpips::open(&file, &device).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }));
        assert!(error.to_string().contains("0aaf366c"), "{error}");
        let error = Lpips::open("/no/such/file", &device).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }

    #[test]
    fn missing_and_misshapen_weights_are_named() {
        let device = Device::default();
        let error = Lpips::from_bytes(Trunk::Vgg16, ALEXNET, &device).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`features.0.weight`") && text.contains("[64, 3, 11, 11]"),
            "{text}"
        );
        assert!(Lpips::from_bytes(Trunk::AlexNet, &ALEXNET[..100], &device).is_err());
        assert!(Lpips::from_bytes(Trunk::AlexNet, b"", &device).is_err());
    }

    #[test]
    fn fingerprints_tell_weights_and_ranges_apart() {
        let device = Device::default();
        let lpips = Lpips::alexnet(&device).unwrap();
        let name = lpips.fingerprint();
        assert_eq!(name, Lpips::alexnet(&device).unwrap().fingerprint());
        assert_eq!(name.len(), 16);
        let mut other = lpips.clone();
        other.heads[3] = other.heads[3].clone() * 1.01;
        assert_ne!(name, other.fingerprint());
        assert_ne!(name, lpips.with_normalize(true).fingerprint());
    }
}
