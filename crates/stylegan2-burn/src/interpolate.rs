//! Ways from one latent to another.

use burn::tensor::Tensor;

/// $a + t(b - a)$: a straight line, for W.
///
/// # Shapes
///
/// - a, b: the same shape
/// - output: as `a`
pub fn lerp<const D: usize>(a: Tensor<D>, b: Tensor<D>, t: f64) -> Tensor<D> {
    a.clone() + (b - a) * t
}

/// The great circle from `a` to `b`, for Z, at unit length (the mapping network ignores lengths).
///
/// With unit vectors and $\cos\omega = a \cdot b$: $a \cos(t\omega) + c \sin(t\omega)$, where $c$
/// is the unit vector along $b - (a \cdot b)\,a$.
///
/// # Shapes
///
/// - a, b: `[N, z]`
/// - output: `[N, z]`
pub fn slerp(a: Tensor<2>, b: Tensor<2>, t: f64) -> Tensor<2> {
    let unit = |x: Tensor<2>| {
        // Equal or opposite ends leave no direction: keep the zero vector.
        let length = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        x / length
    };
    let (a, b) = (unit(a), unit(b));
    let cosine = (a.clone() * b.clone()).sum_dim(1).clamp(-1.0, 1.0);
    let angle = cosine.clone().acos() * t;
    let across = unit(b - a.clone() * cosine);
    unit(a * angle.clone().cos() + across * angle.sin())
}
