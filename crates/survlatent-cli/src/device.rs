//! Where networks run: `--device`.

use burn::tensor::Device;
#[cfg(any(
    feature = "flex",
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal",
    feature = "cuda"
))]
use burn::tensor::DeviceType;
use clap::Args;

use crate::failure::Failure;

/// The device of a verb that runs networks.
#[derive(Args)]
pub(crate) struct DeviceArg {
    /// Where to compute: a back end of this build, and with :N its device N from 0 (default: the
    /// fastest kind of the build)
    #[arg(long, value_name = "NAME[:N]", value_parser = known)]
    device: Option<Choice>,
}

/// The devices of a verb that spreads its work.
#[derive(Args)]
pub(crate) struct DevicesArg {
    /// Where to compute: back ends of this build, and with :N their device N from 0; several share each
    /// batch (default: the fastest kind of the build)
    #[arg(long, value_name = "NAME[:N],..", value_delimiter = ',', value_parser = known)]
    device: Vec<Choice>,
}

impl DevicesArg {
    /// The devices asked for, or the build's own choice: one at least.
    pub(crate) fn open(&self) -> Result<Vec<Device>, Failure> {
        if self.device.is_empty() {
            return Ok(vec![Device::default()]);
        }
        self.device.iter().map(Choice::open).collect()
    }
}

/// A back end by name, and which of its devices.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    name: &'static str,
    index: usize,
}

/// The back ends compiled in.
const NAMES: &[&str] = &[
    #[cfg(feature = "flex")]
    "flex",
    #[cfg(feature = "cuda")]
    "cuda",
    #[cfg(feature = "metal")]
    "metal",
    #[cfg(feature = "vulkan")]
    "vulkan",
    #[cfg(feature = "wgpu")]
    "wgpu",
];

fn known(text: &str) -> Result<Choice, String> {
    let (wanted, index) = text.split_once(':').unwrap_or((text, "0"));
    // Burn's CPU back end is called flex, which nobody is to know.
    let wanted = if wanted == "cpu" { "flex" } else { wanted };
    let name = NAMES.iter().copied().find(|name| *name == wanted);
    let name = name.ok_or_else(|| {
        format!(
            "this build has {}",
            if NAMES.is_empty() {
                "no back end".to_owned()
            } else {
                NAMES.join(", ").replace("flex", "flex (the CPU)")
            }
        )
    })?;
    let index = index
        .parse()
        .map_err(|_| format!("`{index}` is no number of a device"))?;
    Ok(Choice { name, index })
}

impl DeviceArg {
    /// The device asked for, if there is one, or the build's own choice.
    pub(crate) fn open(&self) -> Result<Device, Failure> {
        match &self.device {
            None => Ok(Device::default()),
            Some(choice) => choice.open(),
        }
    }
}

impl Choice {
    fn open(&self) -> Result<Device, Failure> {
        let Self { name, index } = self;
        let devices = found(name);
        let count = devices.len();
        devices.into_iter().nth(*index).ok_or_else(|| {
            Failure::usage(match count {
                0 => format!("--device {name}: none is found on this machine"),
                1 => format!("--device {name}:{index}: this machine has one, {name}:0"),
                n => format!("--device {name}:{index}: this machine has {n}, from {name}:0 on"),
            })
        })
    }
}

/// The devices of a back end on this machine.
fn found(name: &str) -> Vec<Device> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => Device::enumerate(DeviceType::Flex).into_vec(),
        #[cfg(feature = "cuda")]
        "cuda" => Device::enumerate(DeviceType::Cuda).into_vec(),
        #[cfg(feature = "metal")]
        "metal" => Device::enumerate(DeviceType::Metal).into_vec(),
        #[cfg(feature = "vulkan")]
        "vulkan" => Device::enumerate(DeviceType::Vulkan).into_vec(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::enumerate(DeviceType::Wgpu).into_vec(),
        _ => Vec::new(),
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn devices_go_by_name_and_number() {
        let choice = |name, index| Ok(Choice { name, index });
        assert_eq!(known("flex"), choice("flex", 0));
        assert_eq!(known("cpu"), choice("flex", 0));
        assert_eq!(known("flex:2"), choice("flex", 2));
        assert!(known("abacus").unwrap_err().contains("flex (the CPU)"));
        assert!(known("flex:first").unwrap_err().contains("first"));
        let open = |name, index| {
            let device = Some(Choice { name, index });
            DeviceArg { device }.open()
        };
        assert_eq!(open("flex", 0).unwrap(), Device::flex());
        let Err(Failure::Usage(text)) = open("flex", 3) else {
            panic!("there is one processor");
        };
        assert!(
            text.contains("flex:3") && text.contains("has one"),
            "{text}"
        );
    }
}
