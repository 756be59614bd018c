//! Sums and products whose rounding errors are carried along: a million terms lose no digits.

/// A sum that carries its rounding errors along (the branch-free two-sum of Knuth 1969), so that
/// what was added can also be taken out again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    pub(crate) fn new(high: f64, low: f64) -> Self {
        Self { high, low }
    }

    pub(crate) fn parts(self) -> (f64, f64) {
        (self.high, self.low)
    }

    #[inline]
    pub(crate) fn add(&mut self, term: f64) {
        let total = self.high + term;
        let back = total - self.high;
        self.low += (self.high - (total - back)) + (term - back);
        self.high = total;
    }

    /// The sum less another, without rounding first.
    #[inline]
    pub(crate) fn minus(self, other: Self) -> f64 {
        (self.high - other.high) + (self.low - other.low)
    }

    #[inline]
    pub(crate) fn value(self) -> f64 {
        // After an overflow the errors are no numbers.
        if self.high.is_finite() {
            self.high + self.low
        } else {
            self.high
        }
    }
}

/// Product of ratios in twice the working precision (Dekker 1971): a plain running product of a
/// million ratios is off by 1e-11.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    value: f64,
    lost: f64,
}

impl Product {
    pub(crate) fn one() -> Self {
        Self {
            value: 1.0,
            lost: 0.0,
        }
    }

    /// Multiplies by `a / b`.
    #[inline]
    pub(crate) fn multiply(&mut self, a: f64, b: f64) {
        let ratio = a / b;
        let (back, rounding) = exact_product(ratio, b);
        let ratio_lost = ((a - back) - rounding) / b;
        let (value, rounding) = exact_product(self.value, ratio);
        self.lost = self.lost * ratio + (rounding + self.value * ratio_lost);
        self.value = value;
    }

    #[inline]
    pub(crate) fn value(self) -> f64 {
        self.value + self.lost
    }
}

/// `x y` as a rounded product and its rounding error, without a fused multiply-add (which is slow
/// where the processor has none). `|x|, |y| < 1e290`.
#[inline]
fn exact_product(x: f64, y: f64) -> (f64, f64) {
    let split = |v: f64| {
        let t = 134_217_729.0 * v;
        let high = t - (t - v);
        (high, v - high)
    };
    let product = x * y;
    let ((xh, xl), (yh, yl)) = (split(x), split(y));
    (product, ((xh * yh - product) + xh * yl + xl * yh) + xl * yl)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sum_keeps_what_cancels() {
        let mut sum = Sum::default();
        for term in [1.0, 1e100, 1.0, -1e100] {
            sum.add(term);
        }
        assert!((sum.value() - 2.0).abs() < 1e-15);
        sum.add(f64::INFINITY);
        assert!(sum.value().is_infinite());
    }

    proptest! {
        #[test]
        fn the_error_of_a_product_is_that_of_a_fused_multiply_add(x in -1e9..1e9f64, y in 0.0..1.0f64) {
            let (product, error) = exact_product(x, y);
            let exact = x.mul_add(y, -product);
            prop_assert!((error - exact).abs() <= 1e-16 * exact.abs());
        }
    }
}
