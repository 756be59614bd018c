//! NVIDIA's plain pickles (stylegan2-ada-pytorch, and stylegan3 with `--cfg=stylegan2`).
//!
//! A dict of networks, each a tree of modules stored as class name, source text, parameters,
//! buffers and constructor arguments. The source text is never looked at.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::budget::Budget;
use super::pickle::{Global, Pickle, Value};
use super::tensor::RawTensor;
use super::torch::{self, Storages};
use super::{Entry, NetworkConfig};
use crate::config::{Architecture, DiscriminatorConfig, GeneratorConfig, MappingConfig};
use crate::error::{Error, Result};
use crate::ops::Activation;

const MAX_DEPTH: usize = 12;

fn unsupported(what: &str, detail: impl Into<String>) -> Error {
    Error::Unsupported {
        what: what.to_owned(),
        detail: detail.into(),
    }
}

/// Whether the root looks like one of these files.
pub(super) fn recognises(pickle: &Pickle<'_>) -> bool {
    ["G_ema", "G", "D"]
        .iter()
        .filter_map(|key| pickle.get(pickle.root, key))
        .any(|v| matches!(pickle.object(v), Some((Global::PersistentObject, ..))))
}

/// All networks of the file.
pub(super) fn read(pickle: &Pickle<'_>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut budget = Budget::new();
    let storages = Storages::Nested(RefCell::default());
    for name in ["G", "D", "G_ema"] {
        let Some(value) = pickle.get(pickle.root, name) else {
            continue;
        };
        if value == Value::None {
            continue;
        }
        entries.push(network(pickle, name, value, &mut budget, &storages)?);
    }
    Ok(entries)
}

struct Module {
    class: String,
    state: Value,
}

fn module(pickle: &Pickle<'_>, path: &str, value: Value) -> Result<Module> {
    let fail = |detail: String| unsupported(&format!("module `{path}`"), detail);
    let Some((Global::PersistentObject, args, _)) = pickle.object(value) else {
        return Err(fail(format!(
            "{}; expected a stored module",
            pickle.describe(value)
        )));
    };
    let meta = pickle
        .sequence(args)
        .and_then(|a| a.first())
        .copied()
        .unwrap_or(Value::None);
    let kind = pickle.get(meta, "type").and_then(|v| pickle.text(v));
    if kind != Some("class") {
        return Err(fail("not a stored class".to_owned()));
    }
    let version = pickle.get(meta, "version").and_then(|v| pickle.unsigned(v));
    if version != Some(6) {
        return Err(fail(format!(
            "stored with version {version:?}; version 6 is read"
        )));
    }
    let class = pickle.get(meta, "class_name").and_then(|v| pickle.text(v));
    let state = pickle.get(meta, "state");
    match (class, state) {
        (Some(class), Some(state)) => Ok(Module {
            class: class.to_owned(),
            state,
        }),
        _ => Err(fail("class name or state is missing".to_owned())),
    }
}

fn network(
    pickle: &Pickle<'_>,
    name: &str,
    value: Value,
    budget: &mut Budget,
    storages: &Storages,
) -> Result<Entry> {
    let top = module(pickle, name, value)?;
    let config = match top.class.as_str() {
        "Generator" => NetworkConfig::Generator(generator(pickle, name, top.state)?),
        "Discriminator" => NetworkConfig::Discriminator(discriminator(pickle, name, top.state)?),
        other => {
            let detail = format!("class {other}; expected Generator or Discriminator");
            return Err(unsupported(&format!("network `{name}`"), detail));
        }
    };
    let mut tensors = BTreeMap::new();
    let root = Place {
        prefix: "",
        depth: 0,
    };
    collect(pickle, top.state, root, budget, storages, &mut tensors)?;
    Ok(Entry {
        name: name.to_owned(),
        config,
        tensors,
        optional: Vec::new(),
    })
}

/// Where a module is in its network.
#[derive(Clone, Copy)]
struct Place<'a> {
    prefix: &'a str,
    depth: usize,
}

fn collect(
    pickle: &Pickle<'_>,
    state: Value,
    Place { prefix, depth }: Place<'_>,
    budget: &mut Budget,
    storages: &Storages,
    tensors: &mut BTreeMap<String, RawTensor>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(unsupported(
            &format!("module `{prefix}`"),
            "nested too deeply",
        ));
    }
    for group in ["_parameters", "_buffers"] {
        let dict = pickle.get(state, group).unwrap_or(Value::None);
        for &(key, value) in pickle.entries(dict).unwrap_or(&[]) {
            let name = budget.name(pickle, prefix, key)?;
            if value == Value::None {
                continue;
            }
            let tensor = torch::tensor(pickle, value, &name, storages)?;
            let found = tensor.ok_or_else(|| Error::Tensor {
                tensor: name.clone(),
                reason: format!("{} instead of a tensor", pickle.describe(value)),
            })?;
            tensors.insert(name, found);
        }
    }
    let children = pickle.get(state, "_modules").unwrap_or(Value::None);
    for &(key, value) in pickle.entries(children).unwrap_or(&[]) {
        let path = budget.name(pickle, prefix, key)?;
        let child = module(pickle, &path, value)?;
        let place = Place {
            prefix: &format!("{path}."),
            depth: depth + 1,
        };
        collect(pickle, child.state, place, budget, storages, tensors)?;
    }
    Ok(())
}

/// Constructor arguments; what is not asked for in the end is an unknown setting.
struct Arguments<'p, 'a> {
    pickle: &'p Pickle<'a>,
    what: String,
    /// Names are not copied: a dict may refer to one long name many times.
    values: BTreeMap<&'a str, Value>,
}

impl<'p, 'a> Arguments<'p, 'a> {
    fn of_state(
        pickle: &'p Pickle<'a>,
        what: &str,
        state: Value,
        positional: &[&'static str],
    ) -> Result<Self> {
        let dict = pickle.get(state, "_init_kwargs").unwrap_or(Value::None);
        let mut arguments = Self::of_dict(pickle, what, dict);
        let args = pickle
            .get(state, "_init_args")
            .and_then(|v| pickle.sequence(v))
            .unwrap_or(&[]);
        if args.len() > positional.len() {
            return Err(unsupported(
                what,
                format!("{} positional arguments", args.len()),
            ));
        }
        for (&name, &value) in positional.iter().zip(args) {
            arguments.values.insert(name, value);
        }
        Ok(arguments)
    }

    fn of_dict(pickle: &'p Pickle<'a>, what: &str, dict: Value) -> Self {
        let values = pickle
            .entries(dict)
            .unwrap_or(&[])
            .iter()
            .map(|&(k, v)| (pickle.text(k).unwrap_or("?"), v))
            .collect();
        Self {
            pickle,
            what: what.to_owned(),
            values,
        }
    }

    fn bad(&self, name: &str, value: Value) -> Error {
        unsupported(
            &self.what,
            format!("`{name}` = {}", self.pickle.describe(value)),
        )
    }

    fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Pickle<'a>, Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.values.remove(name) {
            None => Ok(None),
            Some(value) => read(self.pickle, value)
                .map(Some)
                .ok_or_else(|| self.bad(name, value)),
        }
    }

    fn size(&mut self, name: &str, default: usize) -> Result<usize> {
        Ok(self.take(name, Pickle::unsigned)?.unwrap_or(default))
    }

    fn required(&mut self, name: &str) -> Result<usize> {
        let what = self.what.clone();
        let value = self.take(name, Pickle::unsigned)?;
        value.ok_or_else(|| unsupported(&what, format!("`{name}` is missing")))
    }

    /// A size or `None`.
    fn optional_size(&mut self, name: &str, default: Option<usize>) -> Result<Option<usize>> {
        let value = self.take(name, |p, v| match v {
            Value::None => Some(None),
            v => p.unsigned(v).map(Some),
        })?;
        Ok(value.unwrap_or(default))
    }

    fn number(&mut self, name: &str, default: f64) -> Result<f64> {
        Ok(self.take(name, Pickle::number)?.unwrap_or(default))
    }

    fn optional_number(&mut self, name: &str) -> Result<Option<f64>> {
        let value = self.take(name, |p, v| match v {
            Value::None => Some(None),
            v => p.number(v).map(Some),
        })?;
        Ok(value.flatten())
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        let value = self.take(name, |_, v| match v {
            Value::Bool(b) => Some(b),
            _ => None,
        })?;
        Ok(value.unwrap_or(default))
    }

    fn word<T: serde::de::DeserializeOwned>(&mut self, name: &str, default: T) -> Result<T> {
        let value = self.take(name, |p, v| {
            serde_json::from_value(serde_json::Value::String(p.text(v)?.to_owned())).ok()
        })?;
        Ok(value.unwrap_or(default))
    }

    fn filter(&mut self) -> Result<Vec<f32>> {
        let taps = self.take("resample_filter", |p, v| {
            #[allow(clippy::cast_possible_truncation)]
            p.sequence(v)?
                .iter()
                .map(|&t| p.number(t).map(|t| t as f32))
                .collect()
        })?;
        Ok(taps.unwrap_or_else(|| vec![1.0, 3.0, 3.0, 1.0]))
    }

    fn nested(&mut self, name: &str) -> Self {
        let dict = self.values.remove(name).unwrap_or(Value::None);
        Self::of_dict(self.pickle, &format!("{} {name}", self.what), dict)
    }

    /// Merges the arguments of an inner dict: they go to the same constructor in the end.
    fn merge(&mut self, name: &str) {
        let inner = self.nested(name);
        self.values.extend(inner.values);
    }

    fn finish(mut self) -> Result<()> {
        // Settings of speed or memory layout, without influence on the result.
        for harmless in [
            "fp16_channels_last",
            "channels_last",
            "fused_modconv_default",
            "use_fp16",
        ] {
            self.values.remove(harmless);
        }
        if let Some((name, &value)) = self.values.iter().next() {
            return Err(self.bad(name, value));
        }
        Ok(())
    }
}

fn mapping(mut args: Arguments<'_, '_>) -> Result<MappingConfig> {
    let config = MappingConfig::new()
        .with_num_layers(args.size("num_layers", 8)?)
        .with_embed_features(args.optional_size("embed_features", None)?)
        .with_layer_features(args.optional_size("layer_features", None)?)
        .with_activation(args.word("activation", Activation::Lrelu)?)
        .with_lr_multiplier(args.number("lr_multiplier", 0.01)?)
        .with_w_avg_beta(args.number("w_avg_beta", 0.995)?);
    args.finish()?;
    Ok(config)
}

fn kernel_of_three(args: &mut Arguments<'_, '_>) -> Result<()> {
    match args.size("kernel_size", 3)? {
        3 => Ok(()),
        k => Err(unsupported(&args.what, format!("`kernel_size` = {k}"))),
    }
}

fn generator(pickle: &Pickle<'_>, name: &str, state: Value) -> Result<GeneratorConfig> {
    let positional = ["z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"];
    let mut args = Arguments::of_state(pickle, &format!("network `{name}`:"), state, &positional)?;
    args.merge("synthesis_kwargs");
    args.merge("block_kwargs");
    args.merge("layer_kwargs");
    kernel_of_three(&mut args)?;
    let mapping = mapping(args.nested("mapping_kwargs"))?;
    let config = GeneratorConfig::new(args.required("img_resolution")?)
        .with_z_dim(args.required("z_dim")?)
        .with_c_dim(args.required("c_dim")?)
        .with_w_dim(args.required("w_dim")?)
        .with_channels(args.required("img_channels")?)
        .with_mapping(mapping)
        .with_channel_base(args.size("channel_base", 32768)?)
        .with_channel_max(args.size("channel_max", 512)?)
        .with_architecture(args.word("architecture", Architecture::Skip)?)
        .with_conv_clamp(args.optional_number("conv_clamp")?)
        .with_resample_filter(args.filter()?)
        .with_use_noise(args.flag("use_noise", true)?)
        .with_activation(args.word("activation", Activation::Lrelu)?)
        .with_half_resolutions(args.size("num_fp16_res", 0)?);
    args.finish()?;
    config.validate()?;
    Ok(config)
}

fn discriminator(pickle: &Pickle<'_>, name: &str, state: Value) -> Result<DiscriminatorConfig> {
    let positional = ["c_dim", "img_resolution", "img_channels"];
    let mut args = Arguments::of_state(pickle, &format!("network `{name}`:"), state, &positional)?;
    args.merge("block_kwargs");
    kernel_of_three(&mut args)?;
    let mapping = mapping(args.nested("mapping_kwargs"))?;
    let mut epilogue = args.nested("epilogue_kwargs");
    let activation = args.word("activation", Activation::Lrelu)?;
    if epilogue.word("activation", Activation::Lrelu)? != activation {
        return Err(unsupported(&epilogue.what, "an activation of its own"));
    }
    let config = DiscriminatorConfig::new(args.required("img_resolution")?)
        .with_c_dim(args.required("c_dim")?)
        .with_channels(args.required("img_channels")?)
        .with_architecture(args.word("architecture", Architecture::Resnet)?)
        .with_channel_base(args.size("channel_base", 32768)?)
        .with_channel_max(args.size("channel_max", 512)?)
        .with_conv_clamp(args.optional_number("conv_clamp")?)
        .with_cmap_dim(args.optional_size("cmap_dim", None)?)
        .with_mapping(mapping)
        .with_mbstd_group(epilogue.optional_size("mbstd_group_size", Some(4))?)
        .with_mbstd_features(epilogue.size("mbstd_num_channels", 1)?)
        .with_resample_filter(args.filter()?)
        .with_activation(activation)
        .with_freeze_layers(args.size("freeze_layers", 0)?)
        .with_half_resolutions(args.size("num_fp16_res", 0)?);
    epilogue.finish()?;
    args.finish()?;
    config.validate()?;
    Ok(config)
}
