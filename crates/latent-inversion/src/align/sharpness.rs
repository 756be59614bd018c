//! How much fine detail a face shows.

use super::canvas::Canvas;
use super::draw::draw;
use super::quad::Quad;
use crate::photo::Photo;

/// The side at which sharpness is measured, whatever the size of the result.
const SIDE: usize = 128;
/// Rows and columns of the aligned face from above the brows to below the mouth.
const ROWS: std::ops::Range<usize> = 44..104;
const COLUMNS: std::ops::Range<usize> = 32..96;

/// The variance of the Laplacian of the brightness over the variance of the brightness, on the
/// inner face drawn with 128 pixels; 0 for a face of one brightness.
///
/// Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy", divided by the
/// contrast so that dark and pale photos compare.
pub(super) fn sharpness(photo: &Photo, quad: &Quad) -> f64 {
    // The inner face needs nothing from beyond the photo's border.
    let (canvas, ..) = Canvas::inside(photo, quad, SIDE);
    let face = draw(&canvas, quad, SIDE);
    let (pixels, _) = face.rgb().as_chunks::<3>();
    let gray = |x: usize, y: usize| {
        let [r, g, b] = pixels[y * SIDE + x].map(f64::from);
        0.299 * r + 0.587 * g + 0.114 * b
    };
    let mut brightness = Moments::default();
    let mut laplacian = Moments::default();
    for y in ROWS {
        for x in COLUMNS {
            let middle = gray(x, y);
            brightness.add(middle);
            let around = gray(x - 1, y) + gray(x + 1, y) + gray(x, y - 1) + gray(x, y + 1);
            laplacian.add(around - 4.0 * middle);
        }
    }
    let contrast = brightness.variance();
    // Below one step of 8 bits there is nothing to see.
    if contrast < 1.0 {
        return 0.0;
    }
    laplacian.variance() / contrast
}

#[derive(Default)]
struct Moments {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.n += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    fn variance(&self) -> f64 {
        let mean = self.sum / self.n;
        (self.squares / self.n - mean * mean).max(0.0)
    }
}
