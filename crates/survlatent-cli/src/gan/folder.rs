//! A folder of pictures as training data.

use std::fmt;
use std::path::{Path, PathBuf};

use stylegan2_burn::train::ImageSource;
use stylegan2_burn::{Error, Result};

use crate::failure::Failure;

/// Pictures of one size, decoded once.
pub(crate) struct Folder {
    pictures: Vec<Vec<u8>>,
    side: usize,
}

impl Folder {
    pub(crate) fn open(folder: &Path, side: Option<usize>) -> std::result::Result<Self, Failure> {
        let mut files = Vec::new();
        list(folder, &mut files).map_err(|e| Failure::run(format!("{}: {e}", folder.display())))?;
        files.sort();
        let mut pictures = Vec::new();
        let mut size = side;
        for path in &files {
            let fault = |e: &dyn fmt::Display| Failure::run(format!("{}: {e}", path.display()));
            let picture = image::open(path).map_err(|e| fault(&e))?.into_rgb8();
            let (w, h) = picture.dimensions();
            let target = *size.get_or_insert(w.min(h) as usize);
            let crop = w.min(h);
            let (x, y) = ((w - crop) / 2, (h - crop) / 2);
            let picture = image::imageops::crop_imm(&picture, x, y, crop, crop).to_image();
            let t = target as u32;
            let picture = if crop == t {
                picture
            } else {
                image::imageops::resize(&picture, t, t, image::imageops::FilterType::Lanczos3)
            };
            let bytes = picture.into_raw();
            let planes = (0..3).flat_map(|c| bytes.iter().skip(c).step_by(3).copied());
            pictures.push(planes.collect());
        }
        let Some(side) = size.filter(|_| !pictures.is_empty()) else {
            return Err(Failure::run(format!("{}: no pictures", folder.display())));
        };
        Ok(Self { pictures, side })
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|e| {
            ["png", "jpg", "jpeg"]
                .iter()
                .any(|k| e.eq_ignore_ascii_case(k))
        }) {
            files.push(path);
        }
    }
    Ok(())
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pictures of {} px", self.pictures.len(), self.side)
    }
}

impl ImageSource for Folder {
    fn len(&self) -> usize {
        self.pictures.len()
    }
    fn shape(&self) -> [usize; 3] {
        [3, self.side, self.side]
    }
    fn label_dim(&self) -> usize {
        0
    }
    fn image(&self, index: usize) -> Result<Vec<u8>> {
        self.pictures
            .get(index)
            .cloned()
            .ok_or_else(|| Error::Argument {
                name: "index",
                reason: format!("{index} of {} pictures", self.pictures.len()),
            })
    }
    fn label(&self, _: usize) -> Option<Vec<f32>> {
        None
    }
}
