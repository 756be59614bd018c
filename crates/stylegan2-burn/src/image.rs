//! From networks' floats to 8-bit pictures and back.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Interleaved 8-bit pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Values per pixel.
    pub channels: usize,
    /// `height * width * channels` values, row by row.
    pub data: Vec<u8>,
}

/// How floats become bytes; the published programs differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// `127.5 x + 128`, cut off below the point: pictures from seeds.
    #[default]
    Generate,
    /// `127.5 (x + 1)`, cut off below the point: pictures from the projector.
    Project,
    /// `127.5 (x + 1)`, rounded half to even: training snapshots.
    Nearest,
}

/// Converts images in [-1, 1] to bytes; values outside are clamped.
///
/// # Shapes
///
/// - images: `[N, C, H, W]`
/// - output: `N` pictures
pub fn to_pixels(images: Tensor<4>, rounding: Rounding) -> Vec<Pixels> {
    let [n, c, h, w] = images.dims();
    let data = images.permute([0, 2, 3, 1]).into_data_dtype(DType::F32);
    let values: Vec<f32> = data.try_to_vec().unwrap_or_default();
    let byte = |x: f32| {
        let y = match rounding {
            Rounding::Generate => x * 127.5 + 128.0,
            Rounding::Project => (x + 1.0) * 127.5,
            Rounding::Nearest => ((x + 1.0) * 127.5).round_ties_even(),
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let byte = y.clamp(0.0, 255.0) as u8;
        byte
    };
    let size = h * w * c;
    (0..n)
        .map(|i| Pixels {
            width: w,
            height: h,
            channels: c,
            data: values[i * size..(i + 1) * size]
                .iter()
                .map(|&x| byte(x))
                .collect(),
        })
        .collect()
}

/// Converts bytes to the networks' range: `x / 127.5 - 1`.
///
/// # Shapes
///
/// - output: `[N, C, H, W]`
///
/// # Panics
///
/// Panics if the pictures differ in shape or there are none.
pub fn from_pixels(pictures: &[Pixels], device: &Device) -> Tensor<4> {
    let first = pictures.first().expect("at least one picture");
    let (w, h, c) = (first.width, first.height, first.channels);
    let mut values = Vec::with_capacity(pictures.len() * w * h * c);
    for p in pictures {
        assert_eq!(
            (p.width, p.height, p.channels),
            (w, h, c),
            "pictures of one shape"
        );
        values.extend(p.data.iter().map(|&v| f32::from(v) / 127.5 - 1.0));
    }
    Tensor::<4>::from_data(TensorData::new(values, [pictures.len(), h, w, c]), device)
        .permute([0, 3, 1, 2])
}

/// Joins equal pictures into one, `columns` per row; missing ones are black.
///
/// # Panics
///
/// Panics if the pictures differ in shape, there are none, or `columns` is 0.
pub fn grid(pictures: &[Pixels], columns: usize) -> Pixels {
    let first = pictures.first().expect("at least one picture");
    let (w, h, c) = (first.width, first.height, first.channels);
    let rows = pictures.len().div_ceil(columns);
    let mut data = vec![0; rows * columns * w * h * c];
    let stride = columns * w * c;
    for (k, p) in pictures.iter().enumerate() {
        assert_eq!(
            (p.width, p.height, p.channels),
            (w, h, c),
            "pictures of one shape"
        );
        let (row, column) = (k / columns, k % columns);
        for (y, line) in p.data.chunks_exact(w * c).enumerate() {
            let start = (row * h + y) * stride + column * w * c;
            data[start..start + w * c].copy_from_slice(line);
        }
    }
    Pixels {
        width: columns * w,
        height: rows * h,
        channels: c,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_roundings() {
        let device = Device::default();
        let x = Tensor::<1>::from_floats([-1.0, -0.999, 0.0, 0.004, 1.0, 3.0], &device);
        let bytes = |r| {
            to_pixels(x.clone().reshape([1, 1, 1, 6]), r)[0]
                .data
                .clone()
        };
        assert_eq!(bytes(Rounding::Generate), [0, 0, 128, 128, 255, 255]);
        assert_eq!(bytes(Rounding::Project), [0, 0, 127, 128, 255, 255]);
        assert_eq!(bytes(Rounding::Nearest), [0, 0, 128, 128, 255, 255]);
    }

    #[test]
    fn bytes_survive_the_round_trip() {
        let picture = Pixels {
            width: 16,
            height: 16,
            channels: 1,
            data: (0..=255).collect(),
        };
        let x = from_pixels(std::slice::from_ref(&picture), &Device::default());
        assert_eq!(to_pixels(x, Rounding::Nearest), [picture]);
    }

    #[test]
    fn grids_place_pictures_row_by_row() {
        let p = |v| Pixels {
            width: 1,
            height: 2,
            channels: 1,
            data: vec![v, v + 10],
        };
        let g = grid(&[p(1), p(2), p(3)], 2);
        assert_eq!((g.width, g.height), (2, 4));
        assert_eq!(g.data, [1, 2, 11, 12, 3, 0, 13, 0]);
    }
}
