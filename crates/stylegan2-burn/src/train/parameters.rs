//! The parameters of a network as one vector.
//!
//! Optimiser and moving average work on one long vector instead of a hundred small tensors: the
//! same numbers in fewer operations, and a state that is simple to save.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use crate::checkpoint::Names;

/// Which parameters to take, by published name and whether they are trained.
pub(crate) type Filter<'a> = &'a dyn Fn(&str, bool) -> bool;

/// Parameters that are trained.
pub(crate) fn trained(_: &str, trained: bool) -> bool {
    trained
}

/// Values that belong to the network but are not learnt by gradients.
pub(crate) fn buffer(name: &str, _: bool) -> bool {
    name.ends_with("noise_const") || name.ends_with("w_avg")
}

/// A tensor's place in the vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub name: String,
    pub shape: Vec<usize>,
}

struct Gather<'a> {
    names: Names,
    filter: Filter<'a>,
    gradients: Option<&'a Gradients>,
    slots: Vec<Slot>,
    parts: Vec<Tensor<1>>,
}

impl ModuleVisitor for Gather<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.names.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.names.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let name = self.names.current();
        if !(self.filter)(&name, value.is_require_grad()) {
            return;
        }
        let shape = value.dims().to_vec();
        let count = shape.iter().product::<usize>();
        let part = match self.gradients {
            None => value.detach().inner(),
            // What a loss does not depend on has a gradient of zero.
            Some(gradients) => value
                .grad(gradients)
                .unwrap_or_else(|| value.detach().inner().zeros_like()),
        };
        self.parts.push(part.reshape([count]));
        self.slots.push(Slot { name, shape });
    }
}

fn gather<M: Module>(
    module: &M,
    names: Names,
    filter: Filter<'_>,
    gradients: Option<&Gradients>,
) -> (Vec<Slot>, Tensor<1>) {
    let mut gather = Gather {
        names,
        filter,
        gradients,
        slots: Vec::new(),
        parts: Vec::new(),
    };
    module.visit(&mut gather);
    let vector = if gather.parts.is_empty() {
        let device = module.devices().first().cloned().unwrap_or_default();
        Tensor::zeros([0], &device.inner())
    } else {
        Tensor::cat(gather.parts, 0)
    };
    (gather.slots, vector)
}

/// The names of what can be trained, as the network's settings have it. Initialises nothing.
pub(crate) fn trainable<M: Module>(module: &M, names: Names) -> Vec<String> {
    struct List(Names, Vec<String>);
    impl ModuleVisitor for List {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            let name = self.0.current();
            if !buffer(&name, false) {
                self.1.push(name);
            }
        }
    }
    let mut list = List(names, Vec::new());
    module.visit(&mut list);
    list.1
}

/// Names and shapes, in the order of the vectors.
pub(crate) fn slots<M: Module>(module: &M, names: Names, filter: Filter<'_>) -> Vec<Slot> {
    gather(module, names, filter, None).0
}

/// The values, `[P]`, outside any graph.
pub(crate) fn values<M: Module>(module: &M, names: Names, filter: Filter<'_>) -> Tensor<1> {
    gather(module, names, filter, None).1
}

/// Names and shapes with the values, outside any graph.
pub(crate) fn named<M: Module>(
    module: &M,
    names: Names,
    filter: Filter<'_>,
) -> (Vec<Slot>, Tensor<1>) {
    gather(module, names, filter, None)
}

/// The gradients of the trained parameters, `[P]`.
pub(crate) fn gradients<M: Module>(module: &M, names: Names, gradients: &Gradients) -> Tensor<1> {
    gather(module, names, &trained, Some(gradients)).1
}

/// The module with other values.
///
/// # Panics
///
/// Panics if the vector is shorter than the parameters taken by `filter`.
pub(crate) fn with_values<M: Module>(
    module: M,
    names: Names,
    filter: Filter<'_>,
    values: Tensor<1>,
) -> M {
    struct Scatter<'a> {
        names: Names,
        filter: Filter<'a>,
        values: Tensor<1>,
        at: usize,
    }
    impl ModuleMapper for Scatter<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.names.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.names.leave();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let old = param.val();
            let tracked = old.is_require_grad();
            if !(self.filter)(&self.names.current(), tracked) {
                return param;
            }
            let dims = old.dims();
            let count = dims.iter().product::<usize>();
            let new = self
                .values
                .clone()
                .slice_dim(0, self.at..self.at + count)
                .reshape(dims);
            self.at += count;
            param.map(|old| {
                if old.is_autodiff() {
                    new.autodiff().set_require_grad(tracked)
                } else {
                    new
                }
            })
        }
    }
    module.map(&mut Scatter {
        names,
        filter,
        values,
        at: 0,
    })
}

/// The trained parameters of any module one after the other, outside any graph.
///
/// # Shapes
///
/// - output: `[P]`, in the order in which [`trained_gradients`] and [`with_trained_values`] have them
pub fn trained_values<M: Module>(module: &M) -> Tensor<1> {
    values(module, unnamed(), &trained)
}

/// The gradients of the trained parameters; zero for those that the loss does not depend on.
///
/// # Shapes
///
/// - output: `[P]`
pub fn trained_gradients<M: Module>(module: &M, of_loss: &Gradients) -> Tensor<1> {
    gradients(module, unnamed(), of_loss)
}

/// The module with other values of its trained parameters.
///
/// # Shapes
///
/// - values: `[P]`
///
/// # Panics
///
/// Panics if there are fewer values than trained parameters.
pub fn with_trained_values<M: Module>(module: M, values: Tensor<1>) -> M {
    with_values(module, unnamed(), &trained, values)
}

/// For a choice of parameters that does not look at their names.
fn unnamed() -> Names {
    Names::generator(4)
}

/// The module with the parameters whose name `frozen` accepts no longer trained.
pub(crate) fn freeze<M: Module>(module: M, names: Names, frozen: &dyn Fn(&str) -> bool) -> M {
    struct Freeze<'a>(Names, &'a dyn Fn(&str) -> bool);
    impl ModuleMapper for Freeze<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.1(&self.0.current()) {
                param.set_require_grad(false)
            } else {
                param
            }
        }
    }
    module.map(&mut Freeze(names, frozen))
}
