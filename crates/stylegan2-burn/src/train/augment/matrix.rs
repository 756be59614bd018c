//! Small affine matrices in double precision.

/// An affine map of the plane: the upper two rows of a 3x3 matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine2(pub(super) [[f64; 3]; 2]);

impl Affine2 {
    pub(super) const IDENTITY: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);

    pub(super) fn translation(x: f64, y: f64) -> Self {
        Self([[1.0, 0.0, x], [0.0, 1.0, y]])
    }

    pub(super) fn scaling(x: f64, y: f64) -> Self {
        Self([[x, 0.0, 0.0], [0.0, y, 0.0]])
    }

    /// By `angle` from the x axis to the y axis.
    pub(super) fn rotation(angle: f64) -> Self {
        let (s, c) = angle.sin_cos();
        Self([[c, -s, 0.0], [s, c, 0.0]])
    }

    /// First `first`, then this map.
    pub(super) fn after(&self, first: &Self) -> Self {
        let (a, b) = (&self.0, &first.0);
        let entry = |i: usize, j: usize| {
            let carried = if j == 2 { a[i][2] } else { 0.0 };
            a[i][0] * b[0][j] + a[i][1] * b[1][j] + carried
        };
        Self([0, 1].map(|i| [0, 1, 2].map(|j| entry(i, j))))
    }

    pub(super) fn map(&self, x: f64, y: f64) -> [f64; 2] {
        self.0.map(|row| row[0] * x + row[1] * y + row[2])
    }
}

/// An affine map of colours: the upper three rows of a 4x4 matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine3(pub(super) [[f64; 4]; 3]);

impl Affine3 {
    pub(super) const IDENTITY: Self = Self([
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
    ]);

    pub(super) fn shift(by: f64) -> Self {
        let mut m = Self::IDENTITY;
        for row in &mut m.0 {
            row[3] = by;
        }
        m
    }

    /// Along the gray axis by `along`, across it by `across`: $s\,I + (a - s)\,v v^\top$ with
    /// $v = (1, 1, 1)/\sqrt 3$.
    pub(super) fn gray_axis(along: f64, across: f64) -> Self {
        let off = (along - across) / 3.0;
        Self([0, 1, 2].map(|i| {
            [0, 1, 2, 3].map(|j| match j {
                3 => 0.0,
                j if i == j => across + off,
                _ => off,
            })
        }))
    }

    /// A rotation by `angle` about the gray axis (Rodrigues' formula).
    pub(super) fn hue(angle: f64) -> Self {
        let (sin, cos) = angle.sin_cos();
        let s = sin / 3.0_f64.sqrt();
        let off = (1.0 - cos) / 3.0;
        let diagonal = cos + off;
        Self([
            [diagonal, off - s, off + s, 0.0],
            [off + s, diagonal, off - s, 0.0],
            [off - s, off + s, diagonal, 0.0],
        ])
    }

    /// First `first`, then this map.
    pub(super) fn after(&self, first: &Self) -> Self {
        let (a, b) = (&self.0, &first.0);
        Self([0, 1, 2].map(|i| {
            [0, 1, 2, 3].map(|j| {
                let carried = if j == 3 { a[i][3] } else { 0.0 };
                (0..3).map(|k| a[i][k] * b[k][j]).sum::<f64>() + carried
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_apply_the_right_factor_first() {
        let turn = Affine2::rotation(std::f64::consts::FRAC_PI_2);
        let both = Affine2::translation(10.0, 0.0).after(&turn);
        let [x, y] = both.map(1.0, 0.0);
        assert!((x - 10.0).abs() < 1e-12 && (y - 1.0).abs() < 1e-12);
        let m = Affine3::gray_axis(2.0, 1.0).after(&Affine3::shift(0.5));
        // Gray stays gray: 2 (g + 0.5).
        let gray: f64 = m.0[1][..3].iter().sum::<f64>() * 0.25 + m.0[1][3];
        assert!((gray - 1.5).abs() < 1e-12);
    }

    #[test]
    fn a_third_of_a_turn_of_the_hue_moves_the_channels_on() {
        let m = Affine3::hue(2.0 * std::f64::consts::FRAC_PI_3).0;
        let expected = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        for (row, expected) in m.iter().zip(expected) {
            for (a, b) in row.iter().zip(expected) {
                assert!((a - b).abs() < 1e-12);
            }
        }
    }
}
