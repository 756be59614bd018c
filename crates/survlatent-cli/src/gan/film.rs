//! GIF and MP4 films, written frame by frame.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame};
use stylegan2_burn::image::Pixels;
use survlatent::OutputFile;

use super::picture::size;
use crate::failure::Failure;

/// What the name of a film says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Film {
    Gif(PathBuf),
    Mp4(PathBuf),
}

/// A name that ends in `.gif` or `.mp4`.
pub(crate) fn film(name: &str) -> Result<Film, String> {
    let path = PathBuf::from(name);
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    match extension.to_ascii_lowercase().as_str() {
        "gif" => Ok(Film::Gif(path)),
        "mp4" => Ok(Film::Mp4(path)),
        _ => Err("the name of a film ends in .gif or .mp4".to_owned()),
    }
}

impl Film {
    /// Fails where the film could not be written, before any frame is made.
    pub(crate) fn ready(&self) -> Result<(), Failure> {
        let (Self::Gif(path) | Self::Mp4(path)) = self;
        drop(OutputFile::create(path)?);
        if let Self::Mp4(_) = self {
            let found = Command::new("ffmpeg")
                .arg("-version")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if !found.is_ok_and(|status| status.success()) {
                let text = "MP4 needs ffmpeg on PATH; .gif needs nothing";
                return Err(Failure::run(text));
            }
        }
        Ok(())
    }

    /// Writes the frames.
    pub(crate) fn write(
        &self,
        fps: u32,
        frames: impl Iterator<Item = Pixels>,
    ) -> Result<(), Failure> {
        match self {
            Self::Gif(path) => gif(path, fps, frames),
            Self::Mp4(path) => mp4(path, fps, frames),
        }
    }
}

fn gif(path: &Path, fps: u32, frames: impl Iterator<Item = Pixels>) -> Result<(), Failure> {
    let fail = |error: image::ImageError| Failure::run(format!("{}: {error}", path.display()));
    let mut file = OutputFile::create(path)?;
    let mut encoder = GifEncoder::new_with_speed(&mut file, 10);
    encoder.set_repeat(Repeat::Infinite).map_err(fail)?;
    // GIF counts hundredths of a second, and viewers slow down below two of them.
    let hundredths = ((100 + fps / 2) / fps).max(2);
    let delay = Delay::from_numer_denom_ms(hundredths * 10, 1);
    for frame in frames {
        let image = dynamic(frame)?.into_rgba8();
        let frame = Frame::from_parts(image, 0, 0, delay);
        encoder.encode_frame(frame).map_err(fail)?;
    }
    drop(encoder);
    Ok(file.finish()?)
}

fn mp4(path: &Path, fps: u32, frames: impl Iterator<Item = Pixels>) -> Result<(), Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::run(format!("{}: {error}", path.display()));
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".survlatent-").suffix(".mp4");
    // As in `OutputFile`: the mode any new file gets.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(|error| fail(&error))?
        .into_temp_path();
    let mut running: Option<Child> = None;
    for frame in frames {
        let (width, height) = size(&frame)?;
        let child = match &mut running {
            Some(child) => child,
            None => running
                .insert(ffmpeg(width, height, fps, &temporary).map_err(|error| fail(&error))?),
        };
        let pixels = dynamic(frame)?.into_rgb8().into_raw();
        let pipe = child
            .stdin
            .as_mut()
            .ok_or_else(|| fail(&"no pipe to ffmpeg"))?;
        pipe.write_all(&pixels).map_err(|error| fail(&error))?;
    }
    let mut child = running.ok_or_else(|| fail(&"a film without frames"))?;
    drop(child.stdin.take());
    if !child.wait().map_err(|error| fail(&error))?.success() {
        return Err(fail(&"ffmpeg failed"));
    }
    temporary.persist(path).map_err(|error| fail(&error))
}

fn ffmpeg(width: u32, height: u32, fps: u32, to: &Path) -> std::io::Result<Child> {
    let (size, rate) = (format!("{width}x{height}"), fps.to_string());
    Command::new("ffmpeg")
        .args([
            "-y",
            "-loglevel",
            "error",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
        ])
        .args(["-s", &size, "-r", &rate, "-i", "-"])
        .args(["-pix_fmt", "yuv420p", "-c:v", "libx264", "-crf", "17"])
        .arg(to)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
}

fn dynamic(picture: Pixels) -> Result<DynamicImage, Failure> {
    let (w, h) = size(&picture)?;
    let data = picture.data;
    let image = match picture.channels {
        1 => image::GrayImage::from_raw(w, h, data).map(DynamicImage::from),
        2 => image::GrayAlphaImage::from_raw(w, h, data).map(DynamicImage::from),
        3 => image::RgbImage::from_raw(w, h, data).map(DynamicImage::from),
        _ => image::RgbaImage::from_raw(w, h, data).map(DynamicImage::from),
    };
    image.ok_or_else(|| Failure::run("a picture of the wrong size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_film_it_is() {
        assert_eq!(film("a/b.GIF"), Ok(Film::Gif("a/b.GIF".into())));
        assert_eq!(film("b.mp4"), Ok(Film::Mp4("b.mp4".into())));
        assert!(film("b.avi").is_err() && film("gif").is_err());
    }
}
