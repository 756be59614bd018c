//! Pictures as PNG and GIF files that say what they show.

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, RgbaImage};

use super::picture::{DESCRIPTION, Picture};
use crate::error::{Error, Result};

impl Picture {
    /// A PNG file whose metadata ([`DESCRIPTION`], keyword `Description`) say that it is synthetic.
    ///
    /// # Errors
    /// [`Error::Format`] when the encoder fails.
    pub fn png(&self) -> Result<Vec<u8>> {
        self.png_about(DESCRIPTION)
    }

    /// A PNG file of a picture without faces, with another text in its metadata.
    ///
    /// # Errors
    /// As [`png`](Self::png).
    pub fn png_about(&self, text: &str) -> Result<Vec<u8>> {
        crate::png::encode(self.rgb(), [self.width(), self.height()], 3, Some(text))
    }

    /// An animated GIF of pictures of one size that repeats for ever, `hundredths` of a second each,
    /// with [`DESCRIPTION`] as its comment.
    ///
    /// # Errors
    /// [`Error::Study`] for no picture or pictures of several sizes; [`Error::Format`].
    pub fn gif(pictures: &[Self], hundredths: u32) -> Result<Vec<u8>> {
        let size = |p: &Self| (p.width(), p.height());
        if pictures.is_empty() || pictures.iter().any(|p| size(p) != size(&pictures[0])) {
            return Err(Error::Study {
                reason: "a film needs pictures, all of one size".into(),
            });
        }
        let mut bytes = Vec::new();
        {
            let mut encoder = GifEncoder::new_with_speed(&mut bytes, 10);
            encoder
                .set_repeat(Repeat::Infinite)
                .map_err(|e| fault(&e))?;
            for p in pictures {
                let rgba = p
                    .rgb()
                    .chunks_exact(3)
                    .flat_map(|c| [c[0], c[1], c[2], 255])
                    .collect();
                let (width, height) = (side(p.width())?, side(p.height())?);
                let image = RgbaImage::from_raw(width, height, rgba).ok_or(Error::Format {
                    format: "GIF",
                    reason: "a frame has the wrong size".into(),
                })?;
                let delay = Delay::from_numer_denom_ms(hundredths * 10, 1);
                let frame = Frame::from_parts(image, 0, 0, delay);
                encoder.encode_frame(frame).map_err(|e| fault(&e))?;
            }
        }
        Ok(commented(bytes))
    }
}

fn side(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::Study {
        reason: format!("a picture of {n} pixels a side"),
    })
}

fn fault(error: &dyn std::fmt::Display) -> Error {
    Error::Format {
        format: "GIF",
        reason: error.to_string(),
    }
}

/// A GIF with a comment (`GIF89a`, section 24) after its screen descriptor and colour table.
fn commented(mut gif: Vec<u8>) -> Vec<u8> {
    const DESCRIPTOR_END: usize = 13;
    let flags = gif.get(10).copied().unwrap_or(0);
    let table = if flags & 0x80 == 0 {
        0
    } else {
        3 * (2 << (flags & 7))
    };
    let rest = gif.split_off((DESCRIPTOR_END + table).min(gif.len()));
    gif.extend([0x21, 0xfe, DESCRIPTION.len() as u8]);
    gif.extend(DESCRIPTION.bytes());
    gif.push(0);
    gif.extend(rest);
    gif
}

#[cfg(test)]
mod tests {
    use image::AnimationDecoder;

    use super::super::picture::tests::ramp;
    use super::*;

    #[test]
    fn a_file_says_what_it_shows() {
        let labelled = ramp().labelled();
        let png = labelled.png().unwrap();
        let back = image::load_from_memory(&png).unwrap().into_rgb8();
        assert_eq!(back.as_raw(), labelled.rgb());
        let text = DESCRIPTION.as_bytes();
        assert!(png.windows(text.len()).any(|w| w == text));
    }

    #[test]
    fn a_commented_film_still_plays() {
        let frames = [ramp(), ramp().labelled(), Picture::filled(64, 64, [9; 3])];
        let gif = Picture::gif(&frames, 20).unwrap();
        let text = DESCRIPTION.as_bytes();
        assert!(gif.windows(text.len()).any(|w| w == text));
        let decoder = image::codecs::gif::GifDecoder::new(std::io::Cursor::new(&gif)).unwrap();
        let back = decoder.into_frames().collect_frames().unwrap();
        assert_eq!(back.len(), 3);
        assert_eq!(back[2].buffer().get_pixel(5, 5).0[..3], [9; 3]);
        assert!(Picture::gif(&[ramp(), ramp().enlarged(2)], 20).is_err());
        assert!(Picture::gif(&[], 20).is_err());
    }
}
