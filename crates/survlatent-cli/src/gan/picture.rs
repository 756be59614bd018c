//! PNG files.

use std::path::Path;

use stylegan2_burn::image::Pixels;
use survlatent::{OutputFile, png};

use crate::failure::Failure;

/// Writes a PNG: gray, gray with alpha, RGB or RGBA for 1 to 4 channels.
pub(crate) fn write_png(path: &Path, picture: &Pixels) -> Result<(), Failure> {
    let size = [picture.width, picture.height];
    let bytes = png::encode(&picture.data, size, picture.channels, None)
        .map_err(|error| Failure::run(format!("{}: {error}", path.display())))?;
    Ok(OutputFile::create(path)?.write(&bytes)?)
}

pub(crate) fn size(picture: &Pixels) -> Result<(u32, u32), Failure> {
    let side = |n: usize| {
        u32::try_from(n).map_err(|_| Failure::run(format!("a picture of {n} pixels a side")))
    };
    Ok((side(picture.width)?, side(picture.height)?))
}

/// A black picture like `picture`; opaque where there is an alpha channel.
pub(crate) fn blank(picture: &Pixels) -> Pixels {
    let mut data = vec![0; picture.data.len()];
    if let c @ (2 | 4) = picture.channels {
        data.iter_mut()
            .skip(c - 1)
            .step_by(c)
            .for_each(|a| *a = 255);
    }
    Pixels {
        data,
        ..picture.clone()
    }
}
