//! rosinality's `.pt` checkpoints: state dicts of the same networks under other names.

use super::pickle::Pickle;
use super::state_dict::{Tensors, state_dict};
use super::tensor::RawTensor;
use super::torch::{self, Storages};
use super::{Entry, NetworkConfig};
use crate::config::{DiscriminatorConfig, GeneratorConfig, MappingConfig, log2};
use crate::error::{Error, Result};

/// More than any network has.
const MAX_LAYERS: usize = 64;

fn unsupported(detail: impl Into<String>) -> Error {
    Error::Unsupported {
        what: "PyTorch checkpoint".to_owned(),
        detail: detail.into(),
    }
}

/// All networks of a checkpoint, converted (`g_ema`, `latent_avg`) or of training (`g`, `d`).
pub(super) fn read(pickle: &Pickle<'_>, storages: &Storages) -> Result<Vec<Entry>> {
    let root = pickle.root;
    let mut entries = Vec::new();
    for (key, name) in [("g", "G"), ("d", "D"), ("g_ema", "G_ema")] {
        let Some(dict) = pickle.get(root, key) else {
            continue;
        };
        let tensors = state_dict(pickle, dict, storages)?;
        entries.push(if name == "D" {
            discriminator(name, tensors)?
        } else {
            let mean = match pickle.get(root, "latent_avg") {
                Some(value) => torch::tensor(pickle, value, "latent_avg", storages)?,
                None => None,
            };
            generator(name, tensors, mean)?
        });
    }
    if entries.is_empty() {
        let keys: Vec<&str> = pickle
            .entries(root)
            .unwrap_or(&[])
            .iter()
            .take(12)
            .filter_map(|&(k, _)| pickle.text(k))
            .collect();
        return Err(unsupported(format!(
            "keys {keys:?}; expected g_ema, g or d"
        )));
    }
    Ok(entries)
}

fn dims(tensors: &Tensors, name: &str) -> Result<Vec<usize>> {
    let tensor = tensors
        .get(name)
        .ok_or_else(|| unsupported(format!("no tensor `{name}`")))?;
    Ok(tensor.shape().to_vec())
}

fn dim(tensors: &Tensors, name: &str, d: usize) -> Result<usize> {
    let dims = dims(tensors, name)?;
    dims.get(d)
        .copied()
        .ok_or_else(|| unsupported(format!("`{name}` has shape {dims:?}")))
}

/// `min(base / r, max)` from the widths at 4 px upwards.
fn channel_rule(widths: &[usize]) -> Result<(usize, usize)> {
    let max = widths.iter().copied().max().unwrap_or(0);
    let fail = || {
        unsupported(format!(
            "feature maps {widths:?} follow no rule base / resolution"
        ))
    };
    let top = widths.len().checked_sub(1).ok_or_else(fail)?;
    let base = widths[top].checked_mul(4 << top.min(20)).ok_or_else(fail)?;
    // A network whose widest layer never meets the rule has every base up to the next bound.
    let fits = widths
        .iter()
        .enumerate()
        .all(|(k, &w)| (base / (4 << k.min(20))).min(max) == w);
    if fits { Ok((base, max)) } else { Err(fail()) }
}

fn count(tensors: &Tensors, name: impl Fn(usize) -> String) -> usize {
    (0..=MAX_LAYERS)
        .take_while(|&k| tensors.contains_key(&name(k)))
        .count()
}

/// Moves tensors to their new names; what remains is unexpected.
struct Renaming {
    old: Tensors,
    new: Tensors,
}

impl Renaming {
    fn take(&mut self, old: &str, new: impl Into<String>, rank: usize) {
        if let Some(tensor) = self.old.remove(old) {
            self.new.insert(new.into(), tensor.squeeze_to(rank));
        }
    }

    fn filter(&mut self, old: &str, new: String) {
        if let Some(tensor) = self.old.remove(old) {
            self.new.insert(new, tensor);
        }
    }

    fn convolution(&mut self, old: &str, new: &str, blur: bool) {
        self.take(&format!("{old}.conv.weight"), format!("{new}.weight"), 4);
        for part in ["weight", "bias"] {
            let affine = format!("{new}.affine.{part}");
            let rank = if part == "weight" { 2 } else { 1 };
            self.take(&format!("{old}.conv.modulation.{part}"), affine, rank);
        }
        self.take(
            &format!("{old}.noise.weight"),
            format!("{new}.noise_strength"),
            0,
        );
        self.take(&format!("{old}.activate.bias"), format!("{new}.bias"), 1);
        if blur {
            self.filter(
                &format!("{old}.conv.blur.kernel"),
                format!("{new}.resample_filter"),
            );
        }
    }

    fn image(&mut self, old: &str, new: &str) {
        self.take(&format!("{old}.conv.weight"), format!("{new}.weight"), 4);
        self.take(
            &format!("{old}.conv.modulation.weight"),
            format!("{new}.affine.weight"),
            2,
        );
        self.take(
            &format!("{old}.conv.modulation.bias"),
            format!("{new}.affine.bias"),
            1,
        );
        if let Some(tensor) = self.old.remove(&format!("{old}.bias")) {
            // [1, 3, 1, 1]
            self.new.insert(format!("{new}.bias"), tensor.squeeze_to(1));
        }
    }

    fn finish(mut self) -> Tensors {
        // Unknown tensors keep their names, so that the mismatch report lists them.
        self.new.append(&mut self.old);
        self.new
    }
}

fn generator(name: &str, tensors: Tensors, mean: Option<RawTensor>) -> Result<Entry> {
    let ups = count(&tensors, |k| format!("convs.{}.conv.weight", 2 * k));
    if ups == 0 || ups > 12 {
        return Err(unsupported(format!("{ups} upsampling convolutions")));
    }
    let mut widths = vec![dim(&tensors, "input.input", 1)?];
    for k in 0..ups {
        widths.push(dim(&tensors, &format!("convs.{}.conv.weight", 2 * k), 1)?);
    }
    let (base, max) = channel_rule(&widths)?;
    let layers = count(&tensors, |k| format!("style.{}.weight", k + 1));
    let config = GeneratorConfig::new(4 << ups)
        .with_z_dim(dim(&tensors, "style.1.weight", 1)?)
        .with_w_dim(dim(&tensors, "conv1.conv.modulation.weight", 1)?)
        .with_channels(dim(&tensors, "to_rgb1.conv.weight", 1)?)
        .with_mapping(MappingConfig::new().with_num_layers(layers))
        .with_channel_base(base)
        .with_channel_max(max);
    config.validate()?;

    let mut r = Renaming {
        old: tensors,
        new: Tensors::new(),
    };
    for k in 0..layers {
        r.take(
            &format!("style.{}.weight", k + 1),
            format!("mapping.fc{k}.weight"),
            2,
        );
        r.take(
            &format!("style.{}.bias", k + 1),
            format!("mapping.fc{k}.bias"),
            1,
        );
    }
    r.take("input.input", "synthesis.b4.const", 3);
    r.convolution("conv1", "synthesis.b4.conv1", false);
    r.image("to_rgb1", "synthesis.b4.torgb");
    r.take("noises.noise_0", "synthesis.b4.conv1.noise_const", 2);
    for k in 0..ups {
        let block = format!("synthesis.b{}", 8 << k);
        for half in 0..2 {
            let old = format!("convs.{}", 2 * k + half);
            r.convolution(&old, &format!("{block}.conv{half}"), half == 0);
            let noise = format!("{block}.conv{half}.noise_const");
            r.take(&format!("noises.noise_{}", 2 * k + half + 1), noise, 2);
        }
        r.image(&format!("to_rgbs.{k}"), &format!("{block}.torgb"));
        r.filter(
            &format!("to_rgbs.{k}.upsample.kernel"),
            format!("{block}.resample_filter"),
        );
    }
    let mut optional = Vec::new();
    match mean {
        Some(mean) => {
            r.new.insert("mapping.w_avg".to_owned(), mean.squeeze_to(1));
        }
        None => optional.push("mapping.w_avg".to_owned()),
    }
    // Files of before 2020 drew fresh noise each time and store none.
    for k in 2..=log2(config.resolution) {
        for half in 0..2 {
            optional.push(format!("synthesis.b{}.conv{half}.noise_const", 1 << k));
        }
    }
    let config = NetworkConfig::Generator(config);
    Ok(Entry {
        name: name.to_owned(),
        config,
        tensors: r.finish(),
        optional,
    })
}

fn discriminator(name: &str, tensors: Tensors) -> Result<Entry> {
    let downs = count(&tensors, |k| format!("convs.{}.conv1.0.weight", k + 1));
    if downs == 0 || downs > 12 {
        return Err(unsupported(format!("{downs} downsampling blocks")));
    }
    let mut widths = vec![dim(&tensors, "convs.0.0.weight", 0)?];
    for k in 0..downs {
        widths.push(dim(
            &tensors,
            &format!("convs.{}.conv2.1.weight", k + 1),
            0,
        )?);
    }
    widths.reverse();
    let (base, max) = channel_rule(&widths)?;
    let config = DiscriminatorConfig::new(4 << downs)
        .with_channels(dim(&tensors, "convs.0.0.weight", 1)?)
        .with_channel_base(base)
        .with_channel_max(max)
        .with_mbstd_group(Some(4));
    config.validate()?;

    let mut r = Renaming {
        old: tensors,
        new: Tensors::new(),
    };
    let top = 4_usize << downs;
    r.take("convs.0.0.weight", format!("b{top}.fromrgb.weight"), 4);
    r.take("convs.0.1.bias", format!("b{top}.fromrgb.bias"), 1);
    for k in 0..downs {
        let (old, new) = (format!("convs.{}", k + 1), format!("b{}", top >> k));
        r.take(
            &format!("{old}.conv1.0.weight"),
            format!("{new}.conv0.weight"),
            4,
        );
        r.take(
            &format!("{old}.conv1.1.bias"),
            format!("{new}.conv0.bias"),
            1,
        );
        r.filter(
            &format!("{old}.conv2.0.kernel"),
            format!("{new}.conv1.resample_filter"),
        );
        r.take(
            &format!("{old}.conv2.1.weight"),
            format!("{new}.conv1.weight"),
            4,
        );
        r.take(
            &format!("{old}.conv2.2.bias"),
            format!("{new}.conv1.bias"),
            1,
        );
        r.filter(
            &format!("{old}.skip.0.kernel"),
            format!("{new}.skip.resample_filter"),
        );
        r.take(
            &format!("{old}.skip.1.weight"),
            format!("{new}.skip.weight"),
            4,
        );
    }
    r.take("final_conv.0.weight", "b4.conv.weight", 4);
    r.take("final_conv.1.bias", "b4.conv.bias", 1);
    for (k, new) in [(0, "fc"), (1, "out")] {
        r.take(
            &format!("final_linear.{k}.weight"),
            format!("b4.{new}.weight"),
            2,
        );
        r.take(
            &format!("final_linear.{k}.bias"),
            format!("b4.{new}.bias"),
            1,
        );
    }
    let config = NetworkConfig::Discriminator(config);
    Ok(Entry {
        name: name.to_owned(),
        config,
        tensors: r.finish(),
        optional: Vec::new(),
    })
}
