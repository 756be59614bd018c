//! Running sums of rows.

use crate::compensated::Sum;

/// Running sums `S1 = sum r x` over the columns; with left truncation they keep their rounding
/// errors, like [`Sum`].
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    high: Vec<f64>,
    /// Empty when nothing is ever taken out.
    low: Vec<f64>,
}

impl Sums {
    pub(crate) fn new(p: usize, entry: bool) -> Self {
        Self {
            high: vec![0.0; p],
            low: vec![0.0; if entry { p } else { 0 }],
        }
    }

    pub(crate) fn clear(&mut self) {
        self.high.fill(0.0);
        self.low.fill(0.0);
    }

    /// `S1 += factor x`.
    #[inline(always)]
    pub(crate) fn add(&mut self, factor: f64, row: &[f64]) {
        if self.low.is_empty() {
            for (s, x) in self.high.iter_mut().zip(row) {
                *s += factor * x;
            }
        } else {
            for ((high, low), x) in self.high.iter_mut().zip(&mut self.low).zip(row) {
                let mut sum = Sum::new(*high, *low);
                sum.add(factor * x);
                (*high, *low) = sum.parts();
            }
        }
    }

    /// Adds the sums of another stretch of rows.
    pub(crate) fn append(&mut self, other: &Self) {
        self.add(1.0, &other.high);
        for (low, more) in self.low.iter_mut().zip(&other.low) {
            *low += more;
        }
    }

    /// Rounds to plain numbers, which [`Sums::values`] then holds.
    pub(crate) fn settle(&mut self) {
        for (high, low) in self.high.iter_mut().zip(&mut self.low) {
            let sum = *high + *low;
            *low -= sum - *high;
            *high = sum;
        }
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.high
    }
}
