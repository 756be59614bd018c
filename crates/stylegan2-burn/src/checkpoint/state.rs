//! Parameters by the names the checkpoints give them.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};

use super::source::Source;
use super::tensor::RawTensor;
use crate::error::{Error, Result};
use crate::seed::RandomState;

/// Turns the path of a field into the published name.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    path: Vec<String>,
    resolution: usize,
    generator: bool,
}

impl Names {
    pub(crate) fn generator(resolution: usize) -> Self {
        Self {
            path: Vec::new(),
            resolution,
            generator: true,
        }
    }

    pub(crate) fn discriminator(resolution: usize) -> Self {
        Self {
            path: Vec::new(),
            resolution,
            generator: false,
        }
    }

    pub(crate) fn enter(&mut self, name: &str) {
        let name = match (self.path.last().map(String::as_str), name.parse::<usize>()) {
            // Entries of lists: `blocks.2` is `b16`, `layers.2` is `fc2`.
            (Some("blocks"), Ok(k)) if self.generator => format!("b{}", 4_usize << k),
            (Some("blocks"), Ok(k)) => format!("b{}", self.resolution >> k),
            (Some("layers"), Ok(k)) => format!("fc{k}"),
            _ if name == "constant" => "const".to_owned(),
            _ => name.to_owned(),
        };
        self.path.push(name);
    }

    pub(crate) fn leave(&mut self) {
        self.path.pop();
    }

    pub(crate) fn current(&self) -> String {
        let parts = self
            .path
            .iter()
            .filter(|p| *p != "blocks" && *p != "layers");
        parts.map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

/// Noise strengths are numbers in the files and one-element vectors here.
fn stored_shape(name: &str, shape: &[usize]) -> Vec<usize> {
    if name.ends_with("noise_strength") {
        Vec::new()
    } else {
        shape.to_vec()
    }
}

/// Fills a module with the tensors of a file.
pub(crate) fn load<M: Module>(
    module: M,
    names: Names,
    source: &Source,
    tensors: &BTreeMap<String, RawTensor>,
    optional: &[String],
    taps: &[f32],
) -> Result<M> {
    check_filters(source, tensors, taps)?;
    let mut plan = Plan {
        names,
        expected: BTreeMap::new(),
    };
    module.visit(&mut plan);
    let Plan { names, expected } = plan;

    let shape_of = |name: &str| tensors.get(name).map(RawTensor::shape);
    let missing: Vec<String> = expected
        .keys()
        .filter(|n| shape_of(n).is_none() && !optional.contains(n))
        .cloned()
        .collect();
    let unexpected: Vec<String> = tensors
        .keys()
        .filter(|n| !expected.contains_key(*n) && !n.ends_with("resample_filter"))
        .cloned()
        .collect();
    let mismatched: Vec<String> = expected
        .iter()
        .filter_map(|(name, shape)| {
            let found = shape_of(name)?;
            (found != shape).then(|| format!("{name}: {found:?} instead of {shape:?}"))
        })
        .collect();
    if !(missing.is_empty() && unexpected.is_empty() && mismatched.is_empty()) {
        return Err(Error::Mismatch {
            missing,
            unexpected,
            mismatched,
        });
    }
    // A file whose tensors share one storage must not grow on reading.
    let elements: u64 = tensors.values().map(|t| t.count() as u64).sum();
    let room = source.len().saturating_mul(2).max(1 << 20);
    if elements > room {
        let detail = format!("{elements} elements in a file of {} bytes", source.len());
        return Err(Error::Unsupported {
            what: "tensors that share their storage".into(),
            detail,
        });
    }
    let mut loader = Loader {
        names,
        source,
        tensors,
        error: None,
    };
    let module = module.map(&mut loader);
    match loader.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}

/// The stored filters are constants of the configuration: they must agree with it.
fn check_filters(
    source: &Source,
    tensors: &BTreeMap<String, RawTensor>,
    taps: &[f32],
) -> Result<()> {
    let total: f32 = taps.iter().sum();
    let kernel: Vec<f32> = taps
        .iter()
        .flat_map(|a| taps.iter().map(move |b| a * b / (total * total)))
        .collect();
    for (name, tensor) in tensors
        .iter()
        .filter(|(n, _)| n.ends_with("resample_filter"))
    {
        let stored = if tensor.count() == kernel.len() {
            tensor.read(source)?
        } else {
            Vec::new()
        };
        // Some files store the filter with the gain of upsampling.
        let agrees = |gain: f32| {
            stored.len() == kernel.len()
                && stored
                    .iter()
                    .zip(&kernel)
                    .all(|(s, k)| (s - k * gain).abs() < 1e-5)
        };
        if !agrees(1.0) && !agrees(4.0) {
            let reason = format!("the stored filter is not that of the taps {taps:?}");
            return Err(Error::Tensor {
                tensor: name.clone(),
                reason,
            });
        }
    }
    Ok(())
}

struct Plan {
    names: Names,
    expected: BTreeMap<String, Vec<usize>>,
}

impl ModuleVisitor for Plan {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.names.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.names.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.names.current();
        let shape = stored_shape(&name, param.lazy_shape().as_slice());
        self.expected.insert(name, shape);
    }
}

struct Loader<'a> {
    names: Names,
    source: &'a Source,
    tensors: &'a BTreeMap<String, RawTensor>,
    error: Option<Error>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.names.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.names.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let name = self.names.current();
        let shape = param.lazy_shape();
        let values = match self.tensors.get(&name) {
            Some(tensor) => match tensor.read(self.source) {
                Ok(values) => values,
                Err(error) => {
                    self.error = Some(error);
                    return param;
                }
            },
            // Noise that the file leaves out: fixed, so that pictures are reproducible.
            None if name.ends_with("noise_const") => {
                #[allow(clippy::cast_possible_truncation)]
                let draw = |v: f64| v as f32;
                let count = shape.num_elements();
                RandomState::new(0)
                    .randn(count)
                    .into_iter()
                    .map(draw)
                    .collect()
            }
            None => vec![0.0; shape.num_elements()],
        };
        let device = param.lazy_device();
        let tensor = Tensor::from_data(TensorData::new(values, shape), (&device, DType::F32));
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

/// Hands the values of all parameters to `visit`, in the order of [`shapes`].
pub(crate) fn visit<M: Module>(
    module: &M,
    names: Names,
    visit: impl FnMut(Vec<f32>) -> Result<()>,
) -> Result<()> {
    let mut saver = Saver {
        names,
        visit,
        error: None,
    };
    module.visit(&mut saver);
    saver.error.map_or(Ok(()), Err)
}

struct Saver<F> {
    names: Names,
    visit: F,
    error: Option<Error>,
}

impl<F: FnMut(Vec<f32>) -> Result<()>> ModuleVisitor for Saver<F> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.names.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.names.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.error.is_some() {
            return;
        }
        let name = self.names.current();
        let values = param.val().into_data_dtype(DType::F32).try_to_vec::<f32>();
        let result = match values {
            Ok(values) => (self.visit)(values),
            Err(e) => Err(Error::Tensor {
                tensor: name,
                reason: format!("{e:?}"),
            }),
        };
        self.error = result.err();
    }
}

/// Names and stored shapes of all parameters, in the order [`visit`] hands them out.
pub(crate) fn shapes<M: Module>(module: &M, names: Names) -> Vec<(String, Vec<usize>)> {
    struct Shapes(Names, Vec<(String, Vec<usize>)>);
    impl ModuleVisitor for Shapes {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let name = self.0.current();
            let shape = stored_shape(&name, param.lazy_shape().as_slice());
            self.1.push((name, shape));
        }
    }
    let mut shapes = Shapes(names, Vec::new());
    module.visit(&mut shapes);
    shapes.1
}

/// Converts all parameters to another floating-point type.
pub fn to_dtype<M: Module>(module: M, dtype: DType) -> M {
    struct Cast(DType);
    impl ModuleMapper for Cast {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let dtype = self.0;
            param.map(|t| {
                let tracked = t.is_require_grad();
                t.detach().cast(dtype).set_require_grad(tracked)
            })
        }
    }
    module.map(&mut Cast(dtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_published_ones() {
        let mut names = Names::discriminator(64);
        for part in ["blocks", "1", "conv0", "weight"] {
            names.enter(part);
        }
        assert_eq!(names.current(), "b32.conv0.weight");
        let mut names = Names::generator(64);
        for part in ["synthesis", "blocks", "0", "constant"] {
            names.enter(part);
        }
        assert_eq!(names.current(), "synthesis.b4.const");
    }
}
