//! From the bytes of a file to the pixels that training sees.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader};

use super::data::ImageFolder;

/// Side of an image above which it is refused before it is decoded.
const LARGEST: u32 = 16_384;

impl ImageFolder {
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Decoded, String> {
        let text = |e: image::ImageError| e.to_string();
        let mut reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| e.to_string())?;
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(LARGEST);
        limits.max_image_height = Some(LARGEST);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(text)?;
        let orientation = decoder.orientation().map_err(text)?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(text)?;
        picture.apply_orientation(orientation);
        if let Some(resolution) = self.resolution {
            picture = fit(&picture, resolution as u32)?;
        }
        let kind = picture.color();
        let channels = match self.channels {
            Some(c) => c,
            None if kind.has_alpha() => {
                return Err("transparent; set the number of channels to drop that".to_owned());
            }
            None => usize::from(kind.channel_count()),
        };
        let gray = !kind.has_color();
        let conversions = [
            (gray && channels == 3).then_some("gray, taken as colour"),
            (!gray && channels == 1).then_some("in colour, taken as gray"),
            kind.has_alpha().then_some("transparent, which is dropped"),
        ];
        let (w, h) = (picture.width() as usize, picture.height() as usize);
        let interleaved = if channels == 1 {
            picture.into_luma8().into_raw()
        } else {
            picture.into_rgb8().into_raw()
        };
        let data = (0..channels)
            .flat_map(|c| interleaved.iter().skip(c).step_by(channels).copied())
            .collect();
        Ok(Decoded {
            shape: [channels, h, w],
            data,
            conversions: conversions.into_iter().flatten().collect(),
        })
    }
}

/// A decoded image, channel by channel.
pub(super) struct Decoded {
    pub(super) shape: [usize; 3],
    pub(super) data: Vec<u8>,
    /// What was done to make it of the kind asked for.
    pub(super) conversions: Vec<&'static str>,
}

/// Size and kind in words.
pub(super) fn describe([c, h, w]: [usize; 3]) -> String {
    let kind = if c == 1 { "gray" } else { "colour" };
    format!("{w} x {h} {kind}")
}

/// The central square, shrunk.
fn fit(picture: &DynamicImage, resolution: u32) -> Result<DynamicImage, String> {
    let (w, h) = (picture.width(), picture.height());
    let side = w.min(h);
    if side < resolution {
        return Err(format!(
            "{w} x {h} pixels, smaller than the {resolution} asked for"
        ));
    }
    let square = picture.crop_imm((w - side) / 2, (h - side) / 2, side, side);
    if side == resolution {
        return Ok(square);
    }
    Ok(square.resize_exact(resolution, resolution, FilterType::Lanczos3))
}
