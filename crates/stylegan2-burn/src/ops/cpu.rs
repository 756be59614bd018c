//! What kernels for Burn's CPU back end have in common, for crates that add some of their own.

use burn::tensor::Tensor;

use super::kernels;

/// Whether a tensor is one of the CPU back end's, in single precision, with or without gradients.
pub fn here<const D: usize>(x: &Tensor<D>) -> bool {
    kernels::here(x)
}

/// Runs `f`, and everything inlined into it, compiled for the instruction set of this machine.
///
/// What `f` calls is compiled for it only where it is inlined: mark it, and the closure itself,
/// `#[inline(always)]`.
///
/// ```
/// let mut values = vec![1.0_f32; 100];
/// stylegan2_burn::ops::cpu::vectorized(
///     #[inline(always)]
///     || values.iter_mut().for_each(|v| *v *= 2.0),
/// );
/// assert_eq!(values, vec![2.0; 100]);
/// ```
pub fn vectorized(f: impl FnMut()) {
    kernels::vectorized(pulp::Arch::new(), f);
}
