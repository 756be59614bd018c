//! One of the two networks, with the moments of its optimiser.

use std::collections::HashSet;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::checkpoint::Names;
use crate::train::optimizer::AdamState;
use crate::train::parameters::{self, trained};

/// One network under training.
#[derive(Clone, Debug)]
pub(crate) struct Side<M> {
    pub module: M,
    /// The trained parameters by name, in the order of the moments.
    pub slots: Vec<parameters::Slot>,
    trained: HashSet<String>,
    pub moments: AdamState,
}

impl<M: Module> Side<M> {
    pub(super) fn new(module: M, names: Names, adam: &crate::train::Adam) -> Self {
        // Whether a parameter is trained shows on a device that records gradients.
        let slots = parameters::slots(&module.clone().train(), names.clone(), &trained);
        let trained: HashSet<String> = slots.iter().map(|s| s.name.clone()).collect();
        let by_name = |name: &str, _: bool| trained.contains(name);
        let moments = adam.init(&parameters::values(&module, names, &by_name));
        Self {
            module,
            slots,
            trained,
            moments,
        }
    }

    pub(super) fn update(&mut self, names: Names, adam: &crate::train::Adam, gradients: Tensor<1>) {
        let by_name = |name: &str, _: bool| self.trained.contains(name);
        let values = parameters::values(&self.module, names.clone(), &by_name);
        let values = adam.step(&mut self.moments, values, without_infinities(gradients));
        self.module = parameters::with_values(self.module.clone(), names, &by_name, values);
    }
}

/// What is not a number becomes 0, infinities become ±1e5.
fn without_infinities(gradients: Tensor<1>) -> Tensor<1> {
    let lost = gradients.clone().is_nan();
    let high = gradients.clone().equal_elem(f32::INFINITY);
    let low = gradients.clone().equal_elem(f32::NEG_INFINITY);
    gradients
        .mask_fill(lost, 0.0)
        .mask_fill(high, 1e5)
        .mask_fill(low, -1e5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn gradients_are_made_finite() {
        let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e9, -1.0];
        let x = Tensor::<1>::from_floats(x, &Device::default());
        let got: Vec<f32> = without_infinities(x).into_data().try_to_vec().unwrap();
        assert_eq!(got, [0.0, 1e5, -1e5, 3e9, -1.0]);
    }
}
