//! Values that carry a forward tangent.
//!
//! Burn differentiates once in reverse mode. StyleGAN2 needs gradients of gradients (the R1 and
//! path-length penalties), and users want the exact derivative of an image along a direction.
//! Both follow from forward mode: every operation of the networks maps a [`Dual`] to a `Dual`,
//! and an ordinary reverse pass through the tangent gives second derivatives.
//!
//! For $y = f(x)$ the tangent is the Jacobian-vector product $\dot y = J_f(x)\,\dot x$.

use burn::tensor::Tensor;

/// A tensor and, when something upstream varies, its derivative along the chosen direction.
///
/// `tangent: None` means that the value does not depend on the varied input: no work is done for
/// the tangent until something that varies is mixed in.
#[derive(Clone, Debug)]
pub struct Dual<const D: usize> {
    /// The value.
    pub value: Tensor<D>,
    /// The derivative of `value`, of the same shape.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> Dual<D> {
    /// A value that does not vary.
    pub fn constant(value: Tensor<D>) -> Self {
        Self {
            value,
            tangent: None,
        }
    }

    /// A value that varies along `tangent`.
    ///
    /// # Panics
    ///
    /// Panics if the shapes differ.
    pub fn new(value: Tensor<D>, tangent: Tensor<D>) -> Self {
        assert_eq!(
            value.dims(),
            tangent.dims(),
            "a tangent has the shape of its value"
        );
        Self {
            value,
            tangent: Some(tangent),
        }
    }

    /// The shape of value and tangent.
    pub fn dims(&self) -> [usize; D] {
        self.value.dims()
    }

    /// Applies a map that is linear in its argument: the tangent goes through the same map.
    pub fn linear<const E: usize>(self, f: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        let tangent = self.tangent.map(&f);
        Dual {
            value: f(self.value),
            tangent,
        }
    }

    /// Applies `f` to the value and multiplies the tangent by `derivative(value)`, elementwise.
    pub fn elementwise(
        self,
        f: impl Fn(Tensor<D>) -> Tensor<D>,
        derivative: impl Fn(Tensor<D>) -> Tensor<D>,
    ) -> Self {
        let tangent = self.tangent.map(|t| t * derivative(self.value.clone()));
        Self {
            value: f(self.value),
            tangent,
        }
    }

    /// Sum; shapes broadcast.
    pub fn plus(self, other: Self) -> Self {
        let value = self.value + other.value;
        let shape = value.shape();
        let spread = |t: Tensor<D>| {
            if t.shape() == shape {
                t
            } else {
                t.expand(shape.clone())
            }
        };
        let tangent = match (self.tangent, other.tangent) {
            (Some(a), Some(b)) => Some(a + b),
            (Some(t), None) | (None, Some(t)) => Some(spread(t)),
            (None, None) => None,
        };
        Self { value, tangent }
    }

    /// Adds a tensor that does not vary; shapes broadcast.
    pub fn add_constant(self, other: Tensor<D>) -> Self {
        self.plus(Dual::constant(other))
    }

    /// Product by the product rule; shapes broadcast.
    pub fn times(self, other: Self) -> Self {
        let tangent = match (self.tangent, other.tangent) {
            (Some(a), Some(b)) => Some(a * other.value.clone() + self.value.clone() * b),
            (Some(a), None) => Some(a * other.value.clone()),
            (None, Some(b)) => Some(self.value.clone() * b),
            (None, None) => None,
        };
        Self {
            value: self.value * other.value,
            tangent,
        }
    }

    /// A map that is linear in each of two arguments (a convolution in image and kernel, say).
    pub fn bilinear<const E: usize, const F: usize>(
        self,
        other: Dual<E>,
        f: impl Fn(Tensor<D>, Tensor<E>) -> Tensor<F>,
    ) -> Dual<F> {
        let left = self.tangent.map(|t| f(t, other.value.clone()));
        let right = other.tangent.map(|t| f(self.value.clone(), t));
        let tangent = match (left, right) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Dual {
            value: f(self.value, other.value),
            tangent,
        }
    }

    /// Multiplies by a number.
    pub fn scale(self, factor: f64) -> Self {
        if (factor - 1.0).abs() < f64::EPSILON {
            return self;
        }
        self.linear(|t| t * factor)
    }

    /// $(x + \epsilon)^{-1/2}$.
    pub fn rsqrt(self, epsilon: f64) -> Self {
        let root = (self.value + epsilon).sqrt().recip();
        let tangent = self
            .tangent
            .map(|t| t * root.clone() * root.clone() * root.clone() * -0.5);
        Self {
            value: root,
            tangent,
        }
    }

    /// $(x + \epsilon)^{1/2}$.
    pub fn sqrt(self, epsilon: f64) -> Self {
        let root = (self.value + epsilon).sqrt();
        let tangent = self.tangent.map(|t| t * root.clone().recip() * 0.5);
        Self {
            value: root,
            tangent,
        }
    }

    /// Concatenation along `dim`; a part that does not vary has a zero tangent.
    pub fn cat(parts: Vec<Self>, dim: usize) -> Self {
        let varies = parts.iter().any(|p| p.tangent.is_some());
        let tangent = varies.then(|| {
            let tangents = parts
                .iter()
                .map(|p| p.tangent.clone().unwrap_or_else(|| p.value.zeros_like()))
                .collect();
            Tensor::cat(tangents, dim)
        });
        let value = Tensor::cat(parts.into_iter().map(|p| p.value).collect(), dim);
        Self { value, tangent }
    }

    /// The tangent, zero where nothing varies.
    pub fn tangent_or_zero(self) -> Tensor<D> {
        let value = self.value;
        self.tangent.unwrap_or_else(|| value.zeros_like())
    }
}

impl<const D: usize> From<Tensor<D>> for Dual<D> {
    fn from(value: Tensor<D>) -> Self {
        Self::constant(value)
    }
}
