//! The TensorFlow pickles of 2019 and 2020: a tuple (G, D, Gs) of networks with numpy arrays.

mod settings;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use self::settings::Settings;
use super::budget::Budget;
use super::pickle::{Global, Pickle, Value};
use super::tensor::{Element, RawTensor, Storage};
use super::{Entry, NetworkConfig};
use crate::config::{Architecture, DiscriminatorConfig, GeneratorConfig, MappingConfig, log2};
use crate::error::{Error, Result};

type Tensors = BTreeMap<String, RawTensor>;

fn unsupported(what: &str, detail: impl Into<String>) -> Error {
    Error::Unsupported {
        what: format!("TensorFlow network `{what}`"),
        detail: detail.into(),
    }
}

/// What may still be made of a file, and the storages that were decoded: many arrays may refer to one.
struct Opened {
    budget: Budget,
    decoded: HashMap<(usize, bool), Storage>,
}

/// Whether the root looks like one of these files.
pub(super) fn recognises(pickle: &Pickle<'_>) -> bool {
    pickle.sequence(pickle.root).is_some_and(|networks| {
        networks.len() == 3
            && networks
                .iter()
                .all(|&n| matches!(pickle.object(n), Some((Global::TflibNetwork, ..))))
    })
}

/// All networks of the file.
pub(super) fn read(pickle: &Pickle<'_>) -> Result<Vec<Entry>> {
    let networks = pickle.sequence(pickle.root).unwrap_or(&[]);
    let mut opened = Opened {
        budget: Budget::new(),
        decoded: HashMap::new(),
    };
    ["G", "D", "G_ema"]
        .into_iter()
        .zip(networks)
        .map(|(name, &value)| network(pickle, name, value, &mut opened))
        .collect()
}

fn network(pickle: &Pickle<'_>, name: &str, value: Value, opened: &mut Opened) -> Result<Entry> {
    let mut variables = Tensors::new();
    let root = Part {
        value,
        prefix: "",
        depth: 0,
    };
    collect(pickle, name, root, opened, &mut variables)?;
    let (_, _, state) = pickle
        .object(value)
        .unwrap_or((Global::Dict, Value::None, Value::None));
    let settings = pickle.get(state, "static_kwargs").unwrap_or(Value::None);
    let settings = Settings {
        pickle,
        name,
        dict: settings,
    };
    if name == "D" {
        discriminator(&settings, variables)
    } else {
        generator(&settings, variables)
    }
}

/// A network, or one of its components.
#[derive(Clone, Copy)]
struct Part<'a> {
    value: Value,
    prefix: &'a str,
    depth: usize,
}

fn collect(
    pickle: &Pickle<'_>,
    name: &str,
    part: Part<'_>,
    opened: &mut Opened,
    variables: &mut Tensors,
) -> Result<()> {
    let Part {
        value,
        prefix,
        depth,
    } = part;
    let Some((Global::TflibNetwork, _, state)) = pickle.object(value) else {
        return Err(unsupported(name, pickle.describe(value)));
    };
    let version = pickle
        .get(state, "version")
        .and_then(|v| pickle.unsigned(v));
    if version.is_none_or(|v| !(4..=5).contains(&v)) {
        return Err(unsupported(
            name,
            format!("stored with version {version:?}; 4 is read"),
        ));
    }
    let list = pickle
        .get(state, "variables")
        .and_then(|v| pickle.sequence(v))
        .unwrap_or(&[]);
    for &pair in list {
        let Some(&[key, array]) = pickle.sequence(pair) else {
            return Err(unsupported(name, "a variable without a name"));
        };
        let key = opened.budget.name(pickle, prefix, key)?;
        let array = array_of(pickle, &key, array, &mut opened.decoded)?;
        variables.insert(key, array);
    }
    let components = pickle.get(state, "components").unwrap_or(Value::None);
    for &(key, child) in pickle.entries(components).unwrap_or(&[]) {
        let path = opened.budget.name(pickle, prefix, key)?;
        if depth > 2 {
            return Err(unsupported(name, "components nested too deeply"));
        }
        let part = Part {
            value: child,
            prefix: &format!("{path}/"),
            depth: depth + 1,
        };
        collect(pickle, name, part, opened, variables)?;
    }
    Ok(())
}

/// A numpy array or scalar.
fn array_of(
    pickle: &Pickle<'_>,
    name: &str,
    value: Value,
    decoded: &mut HashMap<(usize, bool), Storage>,
) -> Result<RawTensor> {
    let fail = |reason: &str| Error::Tensor {
        tensor: name.to_owned(),
        reason: reason.to_owned(),
    };
    if let Some(number) = pickle.number(value) {
        let bytes = number.to_le_bytes().to_vec();
        let storage = Storage::Owned(Arc::new(bytes));
        return RawTensor::new(name, Element::F64, storage, 0, Vec::new(), None);
    }
    let Some((Global::NumpyReconstruct, _, state)) = pickle.object(value) else {
        return Err(fail(&format!(
            "{} instead of an array",
            pickle.describe(value)
        )));
    };
    let Some(&[_, shape, dtype, fortran, data]) = pickle.sequence(state) else {
        return Err(fail("array without state"));
    };
    let element = match pickle.dtype(dtype) {
        Some("f4") => Element::F32,
        Some("f8") => Element::F64,
        Some("f2") => Element::F16,
        Some("i8") => Element::I64,
        Some("i4") => Element::I32,
        other => return Err(fail(&format!("element type {other:?}"))),
    };
    let shape: Option<Vec<usize>> = pickle
        .sequence(shape)
        .and_then(|s| s.iter().map(|&d| pickle.unsigned(d)).collect());
    let mut shape = shape.ok_or_else(|| fail("shape is not a list of sizes"))?;
    let key = pickle.characters(data);
    let storage = match key.and_then(|k| decoded.get(&k)) {
        Some(storage) => storage.clone(),
        None => match pickle.bytes(data) {
            Some((bytes, Some(p))) => Storage::File {
                offset: p as u64,
                len: bytes.len() as u64,
            },
            Some((bytes, None)) => Storage::Owned(Arc::new(bytes.into_owned())),
            None => return Err(fail("array without bytes")),
        },
    };
    if let Some(key) = key {
        decoded.entry(key).or_insert_with(|| storage.clone());
    }
    if fortran == Value::Bool(true) {
        shape.reverse();
        let order: Vec<usize> = (0..shape.len()).rev().collect();
        let tensor = RawTensor::new(name, element, storage, 0, shape, None)?;
        return tensor.permute(&order).ok_or_else(|| fail("shape"));
    }
    RawTensor::new(name, element, storage, 0, shape, None)
}

/// Moves variables to their new names and layouts; what remains is unexpected.
struct Renaming {
    old: Tensors,
    new: Tensors,
}

impl Renaming {
    fn keep(&mut self, old: &str, new: String, rank: usize) {
        if let Some(t) = self.old.remove(old) {
            self.new.insert(new, t.squeeze_to(rank));
        }
    }

    fn permuted(&mut self, old: &str, new: String, order: &[usize], flip: bool) {
        if let Some(t) = self.old.remove(old) {
            if let Some(t) = t.clone().permute(order) {
                let t = if flip { t.flip(2).flip(3) } else { t };
                self.new.insert(new, t);
            } else {
                self.old.insert(old.to_owned(), t);
            }
        }
    }

    /// Kernels are stored `[kh, kw, in, out]`; those that upsample are mirrored.
    fn convolution(&mut self, old: &str, new: &str, flip: bool) {
        self.permuted(
            &format!("{old}/weight"),
            format!("{new}.weight"),
            &[3, 2, 0, 1],
            flip,
        );
        self.keep(&format!("{old}/bias"), format!("{new}.bias"), 1);
    }

    fn dense(&mut self, old: &str, new: &str) {
        self.permuted(
            &format!("{old}/weight"),
            format!("{new}.weight"),
            &[1, 0],
            false,
        );
        self.keep(&format!("{old}/bias"), format!("{new}.bias"), 1);
    }

    fn modulated(&mut self, old: &str, new: &str, flip: bool) {
        self.convolution(old, new, flip);
        self.permuted(
            &format!("{old}/mod_weight"),
            format!("{new}.affine.weight"),
            &[1, 0],
            false,
        );
        if let Some(t) = self.old.remove(&format!("{old}/mod_bias")) {
            // TensorFlow's networks add the one at run time.
            self.new.insert(format!("{new}.affine.bias"), t.plus(1.0));
        }
        self.keep(
            &format!("{old}/noise_strength"),
            format!("{new}.noise_strength"),
            0,
        );
    }

    fn finish(mut self) -> Tensors {
        for ignored in ["lod", "synthesis/lod", "ada/p"] {
            self.old.remove(ignored);
        }
        self.new.append(&mut self.old);
        self.new
    }
}

fn generator(settings: &Settings<'_, '_>, variables: Tensors) -> Result<Entry> {
    if variables.keys().any(|k| k.contains("LabelConcat")) {
        return Err(unsupported(
            settings.name,
            "the label input of 2019 (LabelConcat)",
        ));
    }
    let lr = [
        ("mapping_lrmul", 0.01),
        ("lrmul", 1.0),
        ("normalize_latents", 1.0),
        ("use_spectral_norm", 0.0),
    ];
    settings.refuse(&lr)?;
    let resolution = settings.size("resolution", 1024)?;
    let z_dim = settings.size("latent_size", 512)?;
    let mapping = MappingConfig::new()
        .with_num_layers(settings.size("mapping_layers", 8)?)
        .with_activation(settings.mapping_activation()?);
    let hidden = settings.size("mapping_fmaps", 512)?;
    let w_dim = settings.size("dlatent_size", 512)?;
    let config = GeneratorConfig::new(resolution)
        .with_z_dim(z_dim)
        .with_c_dim(settings.size("label_size", 0)?)
        .with_w_dim(w_dim)
        .with_channels(settings.size("num_channels", 3)?)
        .with_mapping(mapping.with_layer_features((hidden != w_dim).then_some(hidden)))
        .with_channel_base(settings.channel_base()?)
        .with_channel_max(settings.size("fmap_max", 512)?)
        .with_architecture(settings.architecture(Architecture::Skip)?)
        .with_resample_filter(settings.filter()?)
        .with_activation(settings.activation()?)
        .with_use_noise(settings.noise()?)
        .with_conv_clamp(settings.clamp());
    config.validate()?;

    let mut r = Renaming {
        old: variables,
        new: Tensors::new(),
    };
    for k in 0..config.mapping.num_layers {
        r.dense(&format!("mapping/Dense{k}"), &format!("mapping.fc{k}"));
    }
    r.dense("mapping/LabelEmbed", "mapping.embed");
    r.keep("dlatent_avg", "mapping.w_avg".to_owned(), 1);
    r.keep(
        "synthesis/4x4/Const/const",
        "synthesis.b4.const".to_owned(),
        3,
    );
    r.modulated("synthesis/4x4/Conv", "synthesis.b4.conv1", false);
    r.modulated("synthesis/4x4/ToRGB", "synthesis.b4.torgb", false);
    r.keep(
        "synthesis/noise0",
        "synthesis.b4.conv1.noise_const".to_owned(),
        2,
    );
    for k in 3..=log2(resolution) {
        let side = 1 << k;
        let (old, new) = (
            format!("synthesis/{side}x{side}"),
            format!("synthesis.b{side}"),
        );
        r.modulated(&format!("{old}/Conv0_up"), &format!("{new}.conv0"), true);
        r.modulated(&format!("{old}/Conv1"), &format!("{new}.conv1"), false);
        r.modulated(&format!("{old}/ToRGB"), &format!("{new}.torgb"), false);
        r.convolution(&format!("{old}/Skip"), &format!("{new}.skip"), true);
        for half in 0..2 {
            let noise = format!("synthesis/noise{}", 2 * k - 5 + half);
            r.keep(&noise, format!("{new}.conv{half}.noise_const"), 2);
        }
    }
    let config = NetworkConfig::Generator(config);
    let name = settings.name.to_owned();
    Ok(Entry {
        name,
        config,
        tensors: r.finish(),
        optional: Vec::new(),
    })
}

fn discriminator(settings: &Settings<'_, '_>, variables: Tensors) -> Result<Entry> {
    settings.refuse(&[("use_spectral_norm", 0.0)])?;
    let resolution = settings.size("resolution", 1024)?;
    let label = settings.size("label_size", 0)?;
    let mapped = variables.contains_key("LabelEmbed/weight");
    if label > 0 && !mapped {
        return Err(unsupported(settings.name, "the label output of 2019"));
    }
    let layers = (0..64)
        .take_while(|k| variables.contains_key(&format!("Mapping{k}/weight")))
        .count();
    let cmap = variables
        .get("Output/weight")
        .and_then(|t| t.shape().last().copied());
    let config = DiscriminatorConfig::new(resolution)
        .with_c_dim(label)
        .with_channels(settings.size("num_channels", 3)?)
        .with_architecture(settings.architecture(Architecture::Resnet)?)
        .with_resample_filter(settings.filter()?)
        .with_activation(settings.activation()?)
        .with_channel_base(settings.channel_base()?)
        .with_channel_max(settings.size("fmap_max", 512)?)
        .with_conv_clamp(settings.clamp())
        .with_cmap_dim(if label > 0 { cmap } else { None })
        .with_mapping(
            MappingConfig::new()
                .with_num_layers(layers.max(1))
                .with_activation(settings.mapping_activation()?),
        )
        .with_mbstd_group(Some(settings.size("mbstd_group_size", 4)?))
        .with_mbstd_features(settings.size("mbstd_num_features", 1)?);
    config.validate()?;

    let mut r = Renaming {
        old: variables,
        new: Tensors::new(),
    };
    for k in 3..=log2(resolution) {
        let side = 1 << k;
        let (old, new) = (format!("{side}x{side}"), format!("b{side}"));
        for (from, to) in [
            ("FromRGB", "fromrgb"),
            ("Conv0", "conv0"),
            ("Conv1_down", "conv1"),
            ("Skip", "skip"),
        ] {
            r.convolution(&format!("{old}/{from}"), &format!("{new}.{to}"), false);
        }
    }
    r.convolution("4x4/FromRGB", "b4.fromrgb", false);
    r.convolution("4x4/Conv", "b4.conv", false);
    r.dense("4x4/Dense0", "b4.fc");
    r.dense("Output", "b4.out");
    r.dense("LabelEmbed", "mapping.embed");
    for k in 0..layers {
        r.dense(&format!("Mapping{k}"), &format!("mapping.fc{k}"));
    }
    let config = NetworkConfig::Discriminator(config);
    let name = settings.name.to_owned();
    Ok(Entry {
        name,
        config,
        tensors: r.finish(),
        optional: Vec::new(),
    })
}
