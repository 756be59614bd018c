//! `exp` over a vector, and logarithms of long products.
//!
//! The exponential is the classic reduction `x = k ln 2 + r`, `|r| <= ln 2 / 2`, with `ln 2` in two
//! parts and the Taylor polynomial of degree 13: within 2 units in the last place, and free of branches,
//! so that it is compiled to vector instructions. Arguments beyond its range go to the standard library.

/// `1.5 * 2^52`: adding it rounds to an integer, whose two's complement the low bits then hold.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// The leading bits of `ln 2`: its product with a small integer is exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Where the scale `2^k` is a normal number.
const RANGE: f64 = 708.0;

/// `out = exp(x - shift)`.
pub(crate) fn exp_shifted(x: &[f64], shift: f64, out: &mut [f64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut inside = true;
            for (out, x) in out.iter_mut().zip(x) {
                let x = x - shift;
                inside &= x.abs() <= RANGE;
                *out = polynomial(x);
            }
            if !inside {
                for (out, x) in out.iter_mut().zip(x) {
                    let x = x - shift;
                    if x.is_nan() || x.abs() > RANGE {
                        *out = x.exp();
                    }
                }
            }
        },
    );
}

/// `exp(x)` for `|x| <= RANGE`; anything otherwise.
#[inline(always)]
fn polynomial(x: f64) -> f64 {
    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    // 1/2 + r/6 + r^2/24 + .. + r^11/13!, in pairs: the additions do not wait for each other.
    let r2 = r * r;
    let r4 = r2 * r2;
    let a = (0.5 + r * (1.0 / 6.0)) + r2 * (1.0 / 24.0 + r * (1.0 / 120.0));
    let b = (1.0 / 720.0 + r * (1.0 / 5_040.0)) + r2 * (1.0 / 40_320.0 + r * (1.0 / 362_880.0));
    let c = (1.0 / 3_628_800.0 + r * (1.0 / 39_916_800.0))
        + r2 * (1.0 / 479_001_600.0 + r * (1.0 / 6_227_020_800.0));
    let power = 1.0 + (r + r2 * (a + r4 * (b + r4 * c)));
    let scale = f64::from_bits(rounded.to_bits().wrapping_add(1023) << 52);
    power * scale
}

/// `sum log x` with one logarithm for [`LOGS`] terms: mantissas are multiplied, exponents counted.
#[derive(Debug, Clone)]
pub(crate) struct LogSum {
    product: f64,
    terms: u32,
    exponents: i64,
    /// What was taken out of the product.
    settled: super::likelihood::Sum,
}

const LOGS: u32 = 64;
const EXPONENT: u64 = 0x7ff << 52;

impl LogSum {
    pub(crate) fn new() -> Self {
        Self {
            product: 1.0,
            terms: 0,
            exponents: 0,
            settled: super::likelihood::Sum::default(),
        }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, x: f64) {
        let bits = x.to_bits();
        let exponent = (bits & EXPONENT) >> 52;
        // Zero and its neighbours, infinities, what is no number, and what is negative.
        if exponent.wrapping_sub(1) >= 0x7fe || bits >> 63 == 1 {
            self.settled.add(x.ln());
            return;
        }
        self.exponents += exponent.cast_signed() - 1023;
        self.product *= f64::from_bits((bits & !EXPONENT) | (1023 << 52));
        self.terms += 1;
        if self.terms == LOGS {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.settled.add(self.product.ln());
        self.product = 1.0;
        self.terms = 0;
    }

    pub(crate) fn value(mut self) -> f64 {
        self.settle();
        // Both parts of `ln 2`: the count of exponents may be large.
        self.settled.add(self.exponents as f64 * LN2_HIGH);
        self.settled.add(self.exponents as f64 * LN2_LOW);
        self.settled.value()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exponentials_are_those_of_the_standard_library(
            x in prop::collection::vec(prop_oneof![-30.0..3.0f64, -760.0..720.0f64, Just(0.0),
                Just(f64::NEG_INFINITY), Just(f64::NAN), Just(-0.5 * std::f64::consts::LN_2)], 1..70),
            shift in -3.0..3.0f64,
        ) {
            let mut got = vec![0.0; x.len()];
            exp_shifted(&x, shift, &mut got);
            for (got, x) in got.iter().zip(&x) {
                let want = (x - shift).exp();
                prop_assert!((got - want).abs() <= 4.5e-16 * want || got.to_bits() == want.to_bits()
                    || (got.is_nan() && want.is_nan()), "exp({}) = {want}, got {got}", x - shift);
            }
        }

        #[test]
        fn logarithms_of_products_are_sums_of_logarithms(
            x in prop::collection::vec(prop_oneof![1e-3..1e6f64, 1e-300..1e-290f64, Just(5e-324), Just(1e308)], 1..300)
        ) {
            let mut sum = LogSum::new();
            for x in &x {
                sum.add(*x);
            }
            let mut want = crate::compensated::Sum::default();
            for x in &x {
                want.add(x.ln());
            }
            let want = want.value();
            let size: f64 = x.iter().map(|x| x.ln().abs()).sum();
            let products = 1.2e-16 * x.len() as f64;
            prop_assert!((sum.value() - want).abs() <= 1e-15 * (1.0 + size) + products);
        }
    }

    #[test]
    fn a_log_sum_has_the_infinities_of_its_terms() {
        for (x, want) in [(0.0, f64::NEG_INFINITY), (f64::INFINITY, f64::INFINITY)] {
            let mut sum = LogSum::new();
            sum.add(2.0);
            sum.add(x);
            assert_eq!(sum.value().to_bits(), want.to_bits());
        }
        let mut sum = LogSum::new();
        sum.add(-1.0);
        assert!(sum.value().is_nan());
    }
}
