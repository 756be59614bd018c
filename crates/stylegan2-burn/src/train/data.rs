//! Training images from a folder, a zip archive or a list of files.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use zip::ZipArchive;

use super::labels::Labels;
use super::picture::{Decoded, describe};
use super::source::ImageSource;
use super::store::{Store, is_image, list};
use crate::error::{Error, Result};

/// How a set of images is read.
///
/// Without `resolution` the images must already be square, of one size, and that a power of two.
/// With it, each is cropped to its central square and shrunk by a Lanczos filter (three lobes,
/// widened to the size of the new pixels); smaller ones are faults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageFolder {
    /// Crop and shrink to this many pixels; a power of two, 4 or more.
    pub resolution: Option<usize>,
    /// 1 (gray) or 3 (colour), whatever the files have; transparency is dropped. Without it all
    /// files must be of one kind.
    pub channels: Option<usize>,
    /// Read labels from `dataset.json`.
    pub labels: bool,
    /// Leave out faulty images and list them in [`Images::set_aside`], instead of failing.
    pub set_aside: bool,
    /// Keep the decoded images in memory if they need at most this many bytes.
    pub cache_bytes: usize,
}

impl Default for ImageFolder {
    /// Images as they are, no labels, faults are errors, up to 1 GiB kept in memory.
    fn default() -> Self {
        Self {
            resolution: None,
            channels: None,
            labels: false,
            set_aside: false,
            cache_bytes: 1 << 30,
        }
    }
}

/// A set of images that has been checked: all can be read and have one shape.
#[derive(Debug)]
pub struct Images {
    store: Store,
    settings: ImageFolder,
    /// Names in the order of the indices.
    names: Vec<String>,
    shape: [usize; 3],
    labels: Option<Labels>,
    cache: Option<Vec<Vec<u8>>>,
    set_aside: Vec<String>,
    converted: BTreeMap<&'static str, Vec<String>>,
}

impl ImageFolder {
    /// Sets the resolution to crop and shrink to.
    pub fn with_resolution(mut self, resolution: usize) -> Self {
        self.resolution = Some(resolution);
        self
    }

    /// Sets the number of channels.
    pub fn with_channels(mut self, channels: usize) -> Self {
        self.channels = Some(channels);
        self
    }

    /// Whether to read labels.
    pub fn with_labels(mut self, labels: bool) -> Self {
        self.labels = labels;
        self
    }

    /// Whether to leave out faulty images instead of failing.
    pub fn with_set_aside(mut self, set_aside: bool) -> Self {
        self.set_aside = set_aside;
        self
    }

    /// Opens a folder, with its subfolders, a zip archive or a list of files (`.txt`, a path a line, from
    /// the folder of the list), and reads every image once.
    ///
    /// PNG and JPEG files are taken, in the order of their names; other files are ignored. Links to folders
    /// are followed; what lies in a folder that several names lead to is taken once. The
    /// orientation in a photograph's metadata is respected.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Images`] (naming every faulty image, or that there are none),
    /// [`Error::Labels`] if labels do not fit, [`Error::Config`] for settings out of range.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Images> {
        let path = path.as_ref();
        let meta = std::fs::metadata(path).map_err(Error::io(path))?;
        if meta.is_dir() {
            let mut files = HashMap::new();
            list(path, &mut files)?;
            return self.check(Store::Files(files), path);
        }
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("txt"))
        {
            return self.open_list(path);
        }
        let file = File::open(path).map_err(Error::io(path))?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|e| Error::Images {
            path: path.to_path_buf(),
            faults: vec![format!(
                "neither a folder nor a list (.txt) nor a readable zip archive: {e}"
            )],
        })?;
        let store = Store::Zip {
            path: path.to_path_buf(),
            archive: Mutex::new(archive),
        };
        self.check(store, path)
    }

    fn open_list(&self, path: &Path) -> Result<Images> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        if self.labels {
            return Err(Error::Labels {
                path: path.to_path_buf(),
                reason: "a list of files has no `dataset.json`".to_owned(),
            });
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        let files: HashMap<String, PathBuf> =
            lines.map(|l| (l.to_owned(), folder.join(l))).collect();
        let mut others: Vec<String> = files
            .keys()
            .filter(|name| !is_image(name))
            .map(|name| format!("{name}: neither PNG nor JPEG by its name"))
            .collect();
        others.sort_unstable();
        if others.is_empty() {
            return self.check(Store::Files(files), path);
        }
        Err(Error::Images {
            path: path.to_path_buf(),
            faults: others,
        })
    }

    /// Opens the images of a list, in the order of their names as given.
    ///
    /// # Errors
    ///
    /// As [`ImageFolder::open`]; labels are not looked for.
    pub fn open_files(&self, files: &[PathBuf]) -> Result<Images> {
        let named = files.iter().map(|p| (p.display().to_string(), p.clone()));
        let settings = self.clone().with_labels(false);
        settings.check(Store::Files(named.collect()), Path::new("list of images"))
    }

    fn check(&self, store: Store, path: &Path) -> Result<Images> {
        self.validate()?;
        let faulty = |faults| Error::Images {
            path: path.to_path_buf(),
            faults,
        };
        let mut names = store.names();
        if names.is_empty() {
            return Err(faulty(vec!["no PNG or JPEG images".to_owned()]));
        }
        let mut found: Vec<(String, Result<Decoded, String>)> = Vec::with_capacity(names.len());
        let mut kept_bytes = 0;
        for name in names.drain(..) {
            let mut image = store.read(&name).and_then(|bytes| self.decode(&bytes));
            if let Ok(image) = &mut image {
                kept_bytes += image.data.len();
                if kept_bytes > self.cache_bytes {
                    image.data = Vec::new();
                }
            }
            found.push((name, image));
        }
        // What most images have is what all should have.
        let mut votes: BTreeMap<[usize; 3], usize> = BTreeMap::new();
        for image in found.iter().filter_map(|(_, i)| i.as_ref().ok()) {
            *votes.entry(image.shape).or_default() += 1;
        }
        let most = votes.values().copied().max().unwrap_or(0);
        let usual = votes.iter().find(|(_, n)| **n == most).map(|(s, _)| *s);
        let mut faults = Vec::new();
        let mut good = Vec::new();
        let mut converted: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (name, image) in found {
            match (image, usual) {
                (Ok(image), Some(usual)) if image.shape == usual => {
                    for &what in &image.conversions {
                        converted.entry(what).or_default().push(name.clone());
                    }
                    good.push((name, image.data));
                }
                (Ok(image), Some(usual)) => faults.push(format!(
                    "{name}: {}, but most are {}",
                    describe(image.shape),
                    describe(usual)
                )),
                (Ok(_), None) => {}
                (Err(reason), _) => faults.push(format!("{name}: {reason}")),
            }
        }
        if !faults.is_empty() && (!self.set_aside || good.is_empty()) {
            return Err(faulty(faults));
        }
        let shape = usual.unwrap_or_default();
        let [_, h, w] = shape;
        if h != w || !h.is_power_of_two() || h < 4 {
            return Err(faulty(vec![format!(
                "images of {w} x {h} pixels; networks take squares whose side is a power of two: \
                 set a resolution to have them cropped and shrunk"
            )]));
        }
        if good.len() < 2 {
            return Err(faulty(vec![
                "a single image; training needs at least two".to_owned(),
            ]));
        }
        let (names, data): (Vec<String>, Vec<Vec<u8>>) = good.into_iter().unzip();
        let labels = if self.labels {
            Some(Labels::read(store.labels(path)?, path, &names)?)
        } else {
            None
        };
        let cache = (kept_bytes <= self.cache_bytes).then_some(data);
        Ok(Images {
            store,
            settings: self.clone(),
            names,
            shape,
            labels,
            cache,
            set_aside: faults,
            converted,
        })
    }

    fn validate(&self) -> Result<()> {
        if let Some(r) = self.resolution
            && (!r.is_power_of_two() || r < 4)
        {
            return Err(Error::Config {
                field: "data.resolution",
                value: r.to_string(),
                expected: "a power of two, 4 or more",
            });
        }
        if let Some(c) = self.channels
            && c != 1
            && c != 3
        {
            return Err(Error::Config {
                field: "data.channels",
                value: c.to_string(),
                expected: "1 or 3",
            });
        }
        Ok(())
    }
}

impl Images {
    /// The images' names, by index.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The faulty images that were left out, each with its reason.
    pub fn set_aside(&self) -> &[String] {
        &self.set_aside
    }

    /// What was done to images of another kind than the one asked for, with the names of those
    /// images: gray taken as colour, colour as gray, transparency dropped.
    pub fn converted(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.converted
            .iter()
            .map(|(what, names)| (*what, &names[..]))
    }

    /// Whether all images are kept in memory.
    pub fn is_cached(&self) -> bool {
        self.cache.is_some()
    }
}

impl ImageSource for Images {
    fn len(&self) -> usize {
        self.names.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn label_dim(&self) -> usize {
        self.labels.as_ref().map_or(0, Labels::dim)
    }

    /// # Errors
    ///
    /// [`Error::Images`] if the file has changed since it was checked, or there is no such index.
    fn image(&self, index: usize) -> Result<Vec<u8>> {
        if let Some(image) = self.cache.as_ref().and_then(|c| c.get(index)) {
            return Ok(image.clone());
        }
        let name = self.names.get(index).ok_or_else(|| Error::Argument {
            name: "index",
            reason: format!("{index}, but there are {} images", self.names.len()),
        })?;
        let decoded = self
            .store
            .read(name)
            .and_then(|bytes| self.settings.decode(&bytes))
            .and_then(|image| {
                if image.shape == self.shape {
                    Ok(image.data)
                } else {
                    Err("another shape than when it was checked".to_owned())
                }
            });
        decoded.map_err(|reason| Error::Images {
            path: match &self.store {
                Store::Files(files) => files.get(name).cloned().unwrap_or_default(),
                Store::Zip { path, .. } => path.clone(),
            },
            faults: vec![format!("{name}: {reason}")],
        })
    }

    fn label(&self, index: usize) -> Option<Vec<f32>> {
        self.labels.as_ref().and_then(|l| l.get(index))
    }
}
