//! A photograph in memory, read from a file without trusting it.

use std::io::Cursor;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{
    AnimationDecoder as _, ColorType, DynamicImage, ExtendedColorType, ImageDecoder as _,
    ImageEncoder as _, ImageError, ImageFormat, ImageReader, Limits,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a picture may cost before it is refused; checked on its header, before memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhotoLimits {
    side: u32,
    pixels: u64,
    file_bytes: u64,
}

impl Default for PhotoLimits {
    fn default() -> Self {
        Self {
            side: 20_000,
            pixels: 1 << 27,
            file_bytes: 1 << 29,
        }
    }
}

impl PhotoLimits {
    /// The longest side, in pixels; 20,000 unless told.
    pub fn with_max_side(mut self, max_side: u32) -> Self {
        self.side = max_side;
        self
    }

    /// The largest number of pixels; 134 million unless told.
    pub fn with_max_pixels(mut self, max_pixels: u64) -> Self {
        self.pixels = max_pixels;
        self
    }

    /// The largest file; 512 MiB unless told.
    pub fn with_max_file_bytes(mut self, max_file_bytes: u64) -> Self {
        self.file_bytes = max_file_bytes;
        self
    }

    /// The bytes of a file that is not beyond the limit.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let io = |source| Error::Io {
            path: path.to_path_buf(),
            source,
        };
        let bytes = std::fs::metadata(path).map_err(io)?.len();
        let limit = self.file_bytes;
        if bytes > limit {
            return Err(Error::Photo {
                path: path.to_path_buf(),
                fault: PhotoFault::FileSize { bytes, limit },
            });
        }
        std::fs::read(path).map_err(io)
    }

    fn check(&self, width: u32, height: u32) -> Result<(), PhotoFault> {
        let pixels = u64::from(width) * u64::from(height);
        if width == 0 || height == 0 {
            return Err(PhotoFault::Corrupt {
                reason: "no pixels".to_owned(),
            });
        }
        if width.max(height) > self.side || pixels > self.pixels {
            return Err(PhotoFault::TooLarge {
                width,
                height,
                max_side: self.side,
                max_pixels: self.pixels,
            });
        }
        Ok(())
    }
}

/// Why bytes are no photograph that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoFault {
    /// The first bytes are those of no format that is read.
    #[error("not a picture in a format that is read ({FORMATS})")]
    Format,
    /// HEIC or AVIF, as telephones write them.
    #[error("a HEIC or AVIF picture, which is not read; save it as JPEG or PNG")]
    Heif,
    /// The file has more bytes than the limit.
    #[error("{bytes} bytes; the limit is {limit}")]
    FileSize {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The header announces more pixels than the limit.
    #[error("{width} x {height} pixels; the limit is {max_side} per side and {max_pixels} in all")]
    TooLarge {
        /// Announced width.
        width: u32,
        /// Announced height.
        height: u32,
        /// The limit of a side.
        max_side: u32,
        /// The limit of the area.
        max_pixels: u64,
    },
    /// More than one picture.
    #[error("an animated picture; a photograph is one picture")]
    Animated,
    /// The file ends before the picture does.
    #[error("the file is cut short")]
    CutShort,
    /// Pixels are floating-point numbers, whose range no standard fixes.
    #[error("floating-point pixels; save it with 8 or 16 bits")]
    Float,
    /// The decoder found a fault.
    #[error("corrupt or unsupported: {reason}")]
    Corrupt {
        /// What the decoder says.
        reason: String,
    },
}

const FORMATS: &str = "PNG, JPEG, GIF, WebP, TIFF, BMP, PGM, PPM";

/// A colour photograph: 8 bits per channel, row by row, upright.
///
/// ```
/// use latent_inversion::Photo;
///
/// let photo = Photo::from_rgb(2, 1, vec![0, 0, 0, 255, 255, 255])?;
/// let tensor = photo.to_tensor(&burn::tensor::Device::default()); // [1, 3, 1, 2], in [-1, 1]
/// assert_eq!(Photo::from_tensor(tensor)?, photo);
/// # Ok::<(), latent_inversion::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Photo {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl std::fmt::Debug for Photo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Photo({} x {})", self.width, self.height)
    }
}

impl Photo {
    /// Name endings of the files that are read, in lower case.
    pub const EXTENSIONS: [&str; 11] = [
        "png", "jpg", "jpeg", "gif", "webp", "tif", "tiff", "bmp", "pgm", "ppm", "pnm",
    ];

    /// From pixels.
    ///
    /// # Shapes
    ///
    /// - rgb: `height * width * 3` values, row by row
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if there are no pixels or not as many values.
    pub fn from_rgb(width: usize, height: usize, rgb: Vec<u8>) -> Result<Self> {
        let size = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if size == Some(rgb.len()) && !rgb.is_empty() {
            return Ok(Self { width, height, rgb });
        }
        Err(Error::Argument {
            name: "rgb",
            reason: format!("{} values for {width} x {height} pixels", rgb.len()),
        })
    }

    /// Reads PNG, JPEG, GIF, WebP, TIFF (its first page), BMP, PGM or PPM; the content counts, not
    /// the name.
    ///
    /// The EXIF orientation is applied. Gray becomes three equal channels, transparent pixels are
    /// laid over white, 16 bits are scaled to 8, CMYK is converted without a colour profile (as no
    /// profile is used for other pictures).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be read, [`Error::Photo`] if it is no such picture, is
    /// beyond the limits, animated, cut short or corrupt.
    pub fn open(path: impl AsRef<Path>, limits: &PhotoLimits) -> Result<Self> {
        let path = path.as_ref();
        let bytes = limits.read(path)?;
        Self::decode(&bytes, limits).map_err(|fault| Error::Photo {
            path: path.to_path_buf(),
            fault,
        })
    }

    /// Reads a picture from the bytes of its file; as [`Photo::open`].
    ///
    /// # Errors
    ///
    /// [`PhotoFault`].
    pub fn decode(bytes: &[u8], limits: &PhotoLimits) -> Result<Self, PhotoFault> {
        let reader = ImageReader::new(Cursor::new(bytes));
        let mut reader = reader.with_guessed_format().map_err(corrupt)?;
        match reader.format() {
            Some(ImageFormat::Avif) => return Err(PhotoFault::Heif),
            None if bytes.get(4..8) == Some(b"ftyp") => return Err(PhotoFault::Heif),
            Some(ImageFormat::Gif) => still_gif(bytes, limits)?,
            Some(ImageFormat::Png) => {
                let png = PngDecoder::new(Cursor::new(bytes)).map_err(corrupt)?;
                if png.is_apng().map_err(corrupt)? {
                    return Err(PhotoFault::Animated);
                }
            }
            Some(ImageFormat::WebP) => {
                let webp = WebPDecoder::new(Cursor::new(bytes)).map_err(corrupt)?;
                if webp.has_animation() {
                    return Err(PhotoFault::Animated);
                }
            }
            // The decoder fills what is missing with gray.
            Some(ImageFormat::Jpeg) if !crate::jpeg::is_whole(bytes) => {
                return Err(PhotoFault::CutShort);
            }
            Some(ImageFormat::Jpeg | ImageFormat::Tiff | ImageFormat::Bmp | ImageFormat::Pnm) => {}
            _ => return Err(PhotoFault::Format),
        }
        reader.limits(decoder_limits(limits));
        let mut decoder = reader.into_decoder().map_err(corrupt)?;
        let (width, height) = decoder.dimensions();
        limits.check(width, height)?;
        if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
            return Err(PhotoFault::Float);
        }
        let orientation = decoder.orientation().map_err(corrupt)?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(corrupt)?;
        picture.apply_orientation(orientation);
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let rgb = if picture.color().has_alpha() {
            over_white(picture.into_rgba8().into_raw())
        } else {
            picture.into_rgb8().into_raw()
        };
        Ok(Self { width, height, rgb })
    }

    /// From an image of a generator, clamped and rounded.
    ///
    /// # Shapes
    ///
    /// - image: `[1, 1 or 3, H, W]` in [-1, 1]
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for another shape.
    pub fn from_tensor(image: Tensor<4>) -> Result<Self> {
        let [n, c, height, width] = image.dims();
        if n != 1 || (c != 1 && c != 3) || height * width == 0 {
            return Err(Error::Argument {
                name: "image",
                reason: format!("shape {:?}; [1, 1 or 3, H, W] is taken", image.dims()),
            });
        }
        let image = image.repeat_dim(1, 3 / c).permute([0, 2, 3, 1]);
        let data = image.into_data_dtype(DType::F32);
        let values: Vec<f32> = data.try_to_vec().unwrap_or_default();
        let rgb = values.into_iter().map(|x| byte((x + 1.0) * 127.5));
        Self::from_rgb(width, height, rgb.collect())
    }

    /// As generators and perceptual distances take it: `x / 127.5 - 1`.
    ///
    /// # Shapes
    ///
    /// - output: `[1, 3, H, W]`
    pub fn to_tensor(&self, device: &Device) -> Tensor<4> {
        let values: Vec<f32> = (0..3)
            .flat_map(|c| self.rgb[c..].iter().step_by(3))
            .map(|&v| f32::from(v) / 127.5 - 1.0)
            .collect();
        let shape = [1, 3, self.height, self.width];
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// Writes it as PNG; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn save_png(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        crate::file::write_whole(path, |out| {
            let encoder = image::codecs::png::PngEncoder::new(&mut *out);
            encoder
                .write_image(
                    &self.rgb,
                    self.width as u32,
                    self.height as u32,
                    ExtendedColorType::Rgb8,
                )
                .map_err(|error| match error {
                    ImageError::IoError(source) => source,
                    other => std::io::Error::other(other),
                })
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels: `height * width * 3` values, row by row.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

/// To the nearest byte.
pub(crate) fn byte(value: f32) -> u8 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let byte = value.round_ties_even().clamp(0.0, 255.0) as u8;
    byte
}

#[allow(clippy::needless_pass_by_value)]
fn corrupt(error: impl std::fmt::Display) -> PhotoFault {
    PhotoFault::Corrupt {
        reason: error.to_string(),
    }
}

/// Limits of memory; sides are checked by ours, whose message names them.
fn decoder_limits(limits: &PhotoLimits) -> Limits {
    let mut decoder = Limits::no_limits();
    // 8 bytes of a pixel of RGBA with 16 bits, and as much for the decoder's own.
    decoder.max_alloc = Some(limits.pixels.saturating_mul(16).max(1 << 24));
    decoder
}

fn still_gif(bytes: &[u8], limits: &PhotoLimits) -> Result<(), PhotoFault> {
    let mut gif = GifDecoder::new(Cursor::new(bytes)).map_err(corrupt)?;
    let (width, height) = gif.dimensions();
    limits.check(width, height)?;
    gif.set_limits(decoder_limits(limits)).map_err(corrupt)?;
    match gif.into_frames().nth(1) {
        None => Ok(()),
        Some(Ok(_)) => Err(PhotoFault::Animated),
        Some(Err(error)) => Err(corrupt(error)),
    }
}

fn over_white(rgba: Vec<u8>) -> Vec<u8> {
    let (pixels, _) = rgba.as_chunks::<4>();
    pixels
        .iter()
        .flat_map(|&[r, g, b, a]| {
            let a = u32::from(a);
            [r, g, b].map(|v| ((u32::from(v) * a + 255 * (255 - a) + 127) / 255) as u8)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/photos/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    fn decode(bytes: &[u8]) -> Result<Photo, PhotoFault> {
        Photo::decode(bytes, &PhotoLimits::default())
    }

    /// Lossy formats may differ by the rounding of their transforms.
    #[test]
    fn every_kind_of_picture_is_what_pillow_reads() {
        let expected: serde_json::Value = serde_json::from_slice(&golden("expected.json")).unwrap();
        let expected = expected.as_object().unwrap();
        assert_eq!(expected.len(), 17);
        for (name, want) in expected {
            let photo = decode(&golden(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            let size = [photo.width(), photo.height()];
            assert_eq!(serde_json::json!(size), want["size"], "{name}");
            let lossy = name.ends_with("jpg") || name.ends_with("webp");
            let places = want["pixels"].as_array().unwrap();
            assert!(places.len() >= 2, "{name}");
            for place in places {
                let v: Vec<usize> = serde_json::from_value(place.clone()).unwrap();
                let at = 3 * (v[1] * photo.width() + v[0]);
                for (c, &got) in photo.rgb()[at..at + 3].iter().enumerate() {
                    let off = usize::from(got).abs_diff(v[2 + c]);
                    assert!(off <= if lossy { 3 } else { 1 }, "{name} {v:?}: {got}");
                }
            }
        }
    }

    #[test]
    fn animated_and_floating_point_pictures_are_refused() {
        for name in ["animated.gif", "animated.webp", "animated.png"] {
            assert_eq!(decode(&golden(name)), Err(PhotoFault::Animated), "{name}");
        }
        let floats = image::Rgb32FImage::from_pixel(4, 4, image::Rgb([0.5, 0.1, 7.0]));
        let mut tiff = Cursor::new(Vec::new());
        floats.write_to(&mut tiff, ImageFormat::Tiff).unwrap();
        assert_eq!(decode(tiff.get_ref()), Err(PhotoFault::Float));
        let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
        assert_eq!(decode(heic), Err(PhotoFault::Heif));
        assert_eq!(decode(b"patient,days\n1,20\n"), Err(PhotoFault::Format));
        assert_eq!(decode(b""), Err(PhotoFault::Format));
    }

    /// Whatever a file's bytes are, the answer is a picture or an error.
    #[test]
    fn cut_and_damaged_files_never_panic() {
        for name in [
            "colour.jpg",
            "progressive.jpg",
            "cmyk.jpg",
            "exif6.jpg",
            "alpha.png",
            "gray16.png",
            "still.gif",
            "animated.gif",
            "lossy.webp",
            "animated.webp",
            "lzw.tif",
            "gray.bmp",
        ] {
            let whole = golden(name);
            for cut in (0..whole.len()).step_by(7) {
                let read = decode(&whole[..cut]);
                let lossless_end = name.ends_with("gif") || name.ends_with("webp");
                assert!(
                    read.is_err() || lossless_end || cut + 16 > whole.len(),
                    "{name} {cut}"
                );
            }
            for at in (0..whole.len()).step_by(3) {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x5A;
                let _ = decode(&damaged);
            }
        }
    }

    #[test]
    fn announced_sizes_are_refused_before_memory_is_taken() {
        let refused = |bytes: &[u8]| match decode(bytes) {
            Err(PhotoFault::TooLarge { width, height, .. }) => [width, height],
            other => panic!("{other:?}"),
        };
        let huge = b"P6\n50000 50000\n255\n";
        assert_eq!(refused(huge), [50_000, 50_000]);
        let mut gif = golden("still.gif");
        gif[6..10].copy_from_slice(&[0x50, 0xC3, 0x50, 0xC3]);
        assert_eq!(refused(&gif), [50_000, 50_000]);
        let mut bmp = golden("gray.bmp");
        bmp[18..22].copy_from_slice(&50_000u32.to_le_bytes());
        bmp[22..26].copy_from_slice(&50_000u32.to_le_bytes());
        assert_eq!(refused(&bmp), [50_000, 50_000]);
        let mut jpeg = golden("colour.jpg");
        let frame = jpeg.windows(2).position(|p| p == [0xFF, 0xC0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xC3, 0x50, 0xC3, 0x50]);
        assert_eq!(refused(&jpeg), [50_000, 50_000]);
        let small = PhotoLimits::default().with_max_pixels(100);
        let error = Photo::decode(&golden("alpha.png"), &small).unwrap_err();
        assert!(error.to_string().contains("24 x 16 pixels"), "{error}");
        let short = PhotoLimits::default().with_max_side(20);
        assert!(Photo::decode(&golden("alpha.png"), &short).is_err());
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("patient 7.jpg");
        let limits = PhotoLimits::default();
        let error = Photo::open(&path, &limits).unwrap_err().to_string();
        assert!(error.contains("patient 7.jpg"), "{error}");
        let jpeg = golden("colour.jpg");
        std::fs::write(&path, &jpeg[..jpeg.len() - 20]).unwrap();
        let error = Photo::open(&path, &limits).unwrap_err().to_string();
        assert!(
            error.contains("patient 7.jpg: the file is cut short"),
            "{error}"
        );
        let error = Photo::open(&path, &limits.with_max_file_bytes(10)).unwrap_err();
        assert!(error.to_string().contains("the limit is 10"), "{error}");
        assert!(Photo::open(folder.path(), &limits).is_err());
    }

    #[test]
    fn pixels_survive_tensors_and_files() {
        let rgb: Vec<u8> = (0..=255).chain(0..=223).collect();
        let photo = Photo::from_rgb(16, 10, rgb).unwrap();
        let tensor = photo.to_tensor(&Device::default());
        assert_eq!(tensor.dims(), [1, 3, 10, 16]);
        let values: Vec<f32> = tensor.clone().into_data().try_to_vec().unwrap();
        // Green of the pixel at (1, 0).
        assert!((values[160 + 1] - (4.0 / 127.5 - 1.0)).abs() < 1e-7);
        assert_eq!(Photo::from_tensor(tensor.clone()).unwrap(), photo);
        let outside = Photo::from_tensor(tensor * 5.0).unwrap();
        assert_eq!(outside.rgb().iter().max(), Some(&255));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        photo.save_png(&path).unwrap();
        assert_eq!(Photo::open(&path, &PhotoLimits::default()).unwrap(), photo);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(photo.save_png(folder.path().join("no/such/a.png")).is_err());
        assert!(Photo::from_rgb(16, 11, photo.rgb().to_vec()).is_err());
        assert!(Photo::from_rgb(0, 0, vec![]).is_err());
    }
}
