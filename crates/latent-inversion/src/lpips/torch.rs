//! Weights as PyTorch's users have them: torchvision's network in one file, LPIPS' heads in another.

use std::io::Read as _;
use std::path::Path;

use burn::tensor::Device;
use sha2::{Digest, Sha256};
use stylegan2_burn::checkpoint::StateDict;

use super::{Lpips, Trunk};
use crate::error::{Error, Result};
use crate::hex;

/// The first digits of the SHA-256 of torchvision's files, which end their names.
const NETWORKS: [(Trunk, &str, &str); 3] = [
    (Trunk::AlexNet, "alexnet-owt-7be5be79.pth", "7be5be79"),
    (Trunk::Vgg16, "vgg16-397923af.pth", "397923af"),
    (Trunk::SqueezeNet, "squeezenet1_1-b8a52dc0.pth", "b8a52dc0"),
];

/// The SHA-256 of the heads in PyPI's `lpips` 0.1.4, `weights/v0.1`.
const HEADS: [(Trunk, &str, &str); 3] = [
    (
        Trunk::AlexNet,
        "alex.pth",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    (
        Trunk::Vgg16,
        "vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
    (
        Trunk::SqueezeNet,
        "squeeze.pth",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    ),
];

impl Lpips {
    /// With torchvision's network (`squeezenet1_1-b8a52dc0.pth`, `vgg16-397923af.pth` or
    /// `alexnet-owt-7be5be79.pth`) and its heads from PyPI's `lpips` 0.1.4 (`weights/v0.1/squeeze.pth`,
    /// `vgg.pth` or `alex.pth`). Both are recognised by their SHA-256, not by their names; of the
    /// network's, torchvision publishes the first eight digits. Nothing in the files is executed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file is absent or cannot be read, [`Error::Checksum`] if the first is none of
    /// the networks or the second not its heads, [`Error::Malformed`] if a file is damaged.
    pub fn open_torch(
        network: impl AsRef<Path>,
        heads: impl AsRef<Path>,
        device: &Device,
    ) -> Result<Self> {
        let (network, heads) = (network.as_ref(), heads.as_ref());
        let trunk = recognise(network, &NETWORKS)?;
        let own = HEADS.map(|known| (known.0 == trunk).then_some(known));
        let own: Vec<_> = own.into_iter().flatten().collect();
        recognise(heads, &own)?;
        Self::from_state_dicts(trunk, network, heads, device)
    }

    fn from_state_dicts(
        trunk: Trunk,
        network: &Path,
        heads: &Path,
        device: &Device,
    ) -> Result<Self> {
        let open = |path: &Path| StateDict::open(path).map_err(|e| malformed(path, &e));
        let (of_network, of_heads) = (open(network)?, open(heads)?);
        Self::from_reader(trunk, device, |name, shape| {
            let in_network = name.starts_with("features.");
            let (path, file) = if in_network {
                (network, &of_network)
            } else {
                (heads, &of_heads)
            };
            file.read(name, shape).map_err(|e| malformed(path, &e))
        })
    }
}

fn malformed(path: &Path, error: &stylegan2_burn::Error) -> Error {
    crate::tensors::malformed(path, error.to_string())
}

/// Which of the known files this is.
fn recognise(path: &Path, known: &[(Trunk, &str, &str)]) -> Result<Trunk> {
    let found = checksum(path).map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let this = known.iter().find(|(_, _, start)| found.starts_with(start));
    this.map(|(trunk, ..)| *trunk).ok_or_else(|| {
        let expected = known.iter().map(|(_, name, sum)| format!("{sum} ({name})"));
        Error::Checksum {
            path: path.to_path_buf(),
            found,
            expected: expected.collect::<Vec<_>>().join(" or "),
        }
    })
}

/// The SHA-256 of a file, which is not held in memory: VGG16 with its classifier is half a gigabyte.
fn checksum(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::tensor::Tensor;
    use safetensors::SafeTensors;

    use super::*;
    use crate::tensors::Arrays;

    fn heads() -> PathBuf {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/lpips");
        PathBuf::from(golden).join("squeeze.pth")
    }

    #[test]
    fn files_are_recognised_by_their_contents() {
        let own = [HEADS[2]];
        assert_eq!(recognise(&heads(), &HEADS).unwrap(), Trunk::SqueezeNet);
        assert_eq!(recognise(&heads(), &own).unwrap(), Trunk::SqueezeNet);
        let device = Device::default();
        // Heads are no network, and a network's heads are its own.
        let error = Lpips::open_torch(heads(), heads(), &device).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }));
        let text = error.to_string();
        assert!(
            text.contains("b8a52dc0 (squeezenet1_1-b8a52dc0.pth)"),
            "{text}"
        );
        let error = recognise(&heads(), &HEADS[..1]).unwrap_err().to_string();
        assert!(error.contains("(alex.pth)"), "{error}");
        let error = Lpips::open_torch("/no/such/network.pth", heads(), &device).unwrap_err();
        assert!(
            error.to_string().contains("/no/such/network.pth"),
            "{error}"
        );
    }

    /// A network of zeros beside the heads as PyTorch wrote them.
    #[test]
    fn heads_are_read_from_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let network = folder.path().join("network.safetensors");
        let shapes: Vec<(String, Vec<usize>)> = Trunk::SqueezeNet
            .steps()
            .iter()
            .flat_map(|step| step.convolutions())
            .flat_map(|(name, shape)| {
                let bias = (format!("{name}.bias"), vec![shape[0]]);
                [(format!("{name}.weight"), shape.to_vec()), bias]
            })
            .collect();
        assert_eq!(shapes.len(), 50);
        let zeros = vec![0.0; 512 * 512];
        let write = |kept: &[(String, Vec<usize>)]| {
            let arrays = kept.iter().fold(Arrays::default(), |file, (name, shape)| {
                file.array(name, shape, &zeros[..shape.iter().product()])
            });
            arrays.write(&network).unwrap();
        };
        let device = Device::default();
        let open = || Lpips::from_state_dicts(Trunk::SqueezeNet, &network, &heads(), &device);
        write(&shapes);
        let lpips = open().unwrap();
        assert_eq!(lpips.heads.len(), 7);
        // The same weights as the package itself gave them.
        let golden = std::fs::read(heads().with_file_name("lpips.safetensors")).unwrap();
        let golden = SafeTensors::deserialize(&golden).unwrap();
        for (i, head) in lpips.heads.iter().enumerate() {
            let expected = golden.tensor(&format!("squeeze.lin{i}.weight")).unwrap();
            let bytes = crate::floats(head.clone())
                .into_iter()
                .flat_map(f32::to_le_bytes);
            assert!(bytes.eq(expected.data().iter().copied()), "head {i}");
        }
        let features = lpips.features(Tensor::ones([1, 3, 33, 40], &device));
        assert!(crate::floats(lpips.distance(&features, &features))[0].abs() < 1e-12);

        write(&shapes[2..]);
        let error = open().unwrap_err().to_string();
        let named = error.contains("network.safetensors") && error.contains("features.0.weight");
        assert!(named, "{error}");
    }
}
