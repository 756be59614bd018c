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
    /// PNG and JPEG files are taken, in the order of their names; other files are ignored. The
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
            list(path, "", &mut files)?;
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use image::{ExtendedColorType, ImageEncoder, RgbImage, codecs};

    use super::*;

    fn png(w: u32, h: u32, seed: u32) -> Vec<u8> {
        let picture = RgbImage::from_fn(w, h, |x, y| {
            image::Rgb([(x * 8 + seed) as u8, (y * 8) as u8, (seed * 20) as u8])
        });
        encode(picture.as_raw(), w, h, ExtendedColorType::Rgb8)
    }

    fn encode(data: &[u8], w: u32, h: u32, kind: ExtendedColorType) -> Vec<u8> {
        let mut out = Vec::new();
        codecs::png::PngEncoder::new(&mut out)
            .write_image(data, w, h, kind)
            .unwrap();
        out
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    }

    fn faults(result: Result<Images>) -> Vec<String> {
        match result.unwrap_err() {
            Error::Images { faults, .. } => faults,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_folder_and_a_zip_of_it_hold_the_same() {
        let json = br#"{"labels": [["00000/b.png", 1], ["00000/a.png", 0], ["c.PNG", 1]]}"#;
        let files = [
            ("00000/b.png", png(8, 8, 2)),
            ("00000/a.png", png(8, 8, 1)),
            ("c.PNG", png(8, 8, 3)),
            ("dataset.json", json.to_vec()),
            ("notes.txt", b"nothing".to_vec()),
        ];
        let folder = folder(&files);
        let archive = folder.path().join("all.zip");
        let mut zip = zip::ZipWriter::new(File::create(&archive).unwrap());
        for (name, bytes) in &files {
            let options = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Stored);
            zip.start_file(*name, options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();

        let settings = ImageFolder::default().with_labels(true);
        let uncached = ImageFolder {
            cache_bytes: 0,
            ..settings.clone()
        };
        for images in [
            settings.open(folder.path()).unwrap(),
            settings.open(&archive).unwrap(),
            uncached.open(folder.path()).unwrap(),
            uncached.open(&archive).unwrap(),
        ] {
            assert_eq!(images.names(), ["00000/a.png", "00000/b.png", "c.PNG"]);
            assert_eq!(images.shape(), [3, 8, 8]);
            assert_eq!(images.label(1), Some(vec![0.0, 1.0]));
            let a = images.image(0).unwrap();
            // Channel by channel: red grows along x, green along y.
            assert_eq!(a[..9], [1, 9, 17, 25, 33, 41, 49, 57, 1]);
            assert_eq!(a[64..74], [0, 0, 0, 0, 0, 0, 0, 0, 8, 8]);
            assert!(images.image(3).is_err());
        }
        assert!(settings.open(folder.path()).unwrap().is_cached());
        assert!(!uncached.open(folder.path()).unwrap().is_cached());
    }

    #[test]
    fn all_faulty_images_are_named_in_one_error() {
        let mut cut = png(8, 8, 4);
        cut.truncate(cut.len() / 2);
        let folder = folder(&[
            ("a.png", png(8, 8, 1)),
            ("b.png", png(8, 8, 2)),
            ("cut.png", cut),
            ("gray.png", encode(&[0; 64], 8, 8, ExtendedColorType::L8)),
            ("large.png", png(16, 16, 1)),
            ("text.jpg", b"not a picture".to_vec()),
        ]);
        let found = faults(ImageFolder::default().open(folder.path()));
        assert_eq!(found.len(), 4, "{found:?}");
        for name in [
            "cut.png: ",
            "gray.png: 8 x 8 gray",
            "large.png: 16 x 16",
            "text.jpg: ",
        ] {
            assert!(
                found.iter().any(|f| f.starts_with(name)),
                "{name} in {found:?}"
            );
        }
        let images = ImageFolder::default()
            .with_set_aside(true)
            .open(folder.path())
            .unwrap();
        assert_eq!(
            (images.names(), images.set_aside()),
            (&["a.png".to_owned(), "b.png".to_owned()][..], &found[..])
        );
    }

    #[test]
    fn images_of_another_kind_are_taken_and_named() {
        let mut files = vec![("a.png", png(8, 8, 1)), ("b.png", png(8, 8, 2))];
        files.push(("gray.png", encode(&[9; 64], 8, 8, ExtendedColorType::L8)));
        let clear = encode(&[9; 256], 8, 8, ExtendedColorType::Rgba8);
        files.push(("clear.png", clear));
        let folder = folder(&files);
        let found = |channels| {
            let images = ImageFolder::default().with_channels(channels);
            let images = images.open(folder.path()).unwrap();
            let all = images.converted();
            all.map(|(what, names)| (what, names.to_vec()))
                .collect::<Vec<_>>()
        };
        let names = |n: &[&str]| n.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found(3),
            [
                ("gray, taken as colour", names(&["gray.png"])),
                ("transparent, which is dropped", names(&["clear.png"])),
            ]
        );
        let gray = found(1);
        let colour = names(&["a.png", "b.png", "clear.png"]);
        assert_eq!(gray[0], ("in colour, taken as gray", colour));
    }

    #[test]
    fn a_list_names_files_from_its_own_folder() {
        let folder = folder(&[
            ("in/a.png", png(8, 8, 1)),
            ("in/b.png", png(8, 8, 2)),
            ("c.png", png(8, 8, 3)),
            ("list.txt", b"in/b.png\n\n c.png\r\n".to_vec()),
            ("wrong.txt", b"in/b.png\nin/missing.png\n".to_vec()),
            ("other.txt", b"list.txt\n".to_vec()),
        ]);
        let open = |name: &str| ImageFolder::default().open(folder.path().join(name));
        let images = open("list.txt").unwrap();
        assert_eq!(images.names(), ["c.png", "in/b.png"]);
        assert!(images.image(1).unwrap() != images.image(0).unwrap());
        assert!(faults(open("wrong.txt"))[0].starts_with("in/missing.png: "));
        assert!(faults(open("other.txt"))[0].starts_with("list.txt: neither PNG"));
        let labelled = ImageFolder::default().with_labels(true);
        let fault = labelled.open(folder.path().join("list.txt")).unwrap_err();
        assert!(matches!(fault, Error::Labels { .. }), "{fault}");
    }

    #[test]
    fn sizes_and_numbers_that_cannot_be_trained_on() {
        let empty = folder(&[("a.txt", Vec::new())]);
        assert_eq!(
            faults(ImageFolder::default().open(empty.path())),
            ["no PNG or JPEG images"]
        );
        let single = folder(&[("a.png", png(8, 8, 1))]);
        let found = faults(ImageFolder::default().open(single.path()));
        assert!(found[0].contains("at least two"), "{found:?}");
        let odd = folder(&[("a.png", png(12, 12, 1)), ("b.png", png(12, 12, 1))]);
        let found = faults(ImageFolder::default().open(odd.path()));
        assert!(found[0].contains("12 x 12 pixels"), "{found:?}");
        let found = faults(ImageFolder::default().with_resolution(16).open(odd.path()));
        assert!(
            found.len() == 2 && found[1].contains("smaller than the 16"),
            "{found:?}"
        );
        assert!(
            ImageFolder::default()
                .with_resolution(12)
                .open(odd.path())
                .is_err()
        );
        assert!(
            ImageFolder::default()
                .with_channels(2)
                .open(odd.path())
                .is_err()
        );
        let text = odd.path().join("a.txt");
        std::fs::write(&text, "not a zip archive").unwrap();
        assert!(faults(ImageFolder::default().open(&text))[0].contains("zip"));
        assert!(matches!(
            ImageFolder::default().open(odd.path().join("none")),
            Err(Error::Io { .. })
        ));
        assert!(matches!(
            ImageFolder::default()
                .with_labels(true)
                .with_resolution(8)
                .open(odd.path()),
            Err(Error::Labels { .. })
        ));
    }

    #[test]
    fn images_are_cropped_to_the_centre_and_shrunk() {
        // Green in the middle square, red to the left and right of it.
        let wide = RgbImage::from_fn(32, 16, |x, _| {
            let middle = (8..24).contains(&x);
            image::Rgb(if middle { [0, 200, 0] } else { [255, 0, 0] })
        });
        let bytes = encode(wide.as_raw(), 32, 16, ExtendedColorType::Rgb8);
        let folder = folder(&[("a.png", bytes.clone()), ("b.png", bytes)]);
        let settings = ImageFolder::default().with_resolution(8);
        let images = settings.open(folder.path()).unwrap();
        assert_eq!(images.shape(), [3, 8, 8]);
        let a = images.image(0).unwrap();
        assert!(a[..64].iter().all(|&v| v == 0) && a[64..128].iter().all(|&v| v == 200));
        let gray = settings.with_channels(1).open(folder.path()).unwrap();
        assert_eq!(gray.image(1).unwrap().len(), 64);
    }

    #[test]
    fn jpegs_are_turned_as_their_metadata_say() {
        let picture =
            RgbImage::from_fn(16, 16, |x, _| image::Rgb([if x < 8 { 255 } else { 0 }; 3]));
        let mut plain = Vec::new();
        codecs::jpeg::JpegEncoder::new_with_quality(&mut plain, 95)
            .write_image(picture.as_raw(), 16, 16, ExtendedColorType::Rgb8)
            .unwrap();
        // An Exif segment with a single entry: orientation 6, a quarter turn clockwise.
        let mut tiff = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01".to_vec();
        tiff.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]);
        let mut turned = plain[..2].to_vec();
        turned.extend([0xff, 0xe1]);
        turned.extend(((tiff.len() + 2) as u16).to_be_bytes());
        turned.extend(&tiff);
        turned.extend(&plain[2..]);
        let folder = folder(&[("plain.jpg", plain), ("turned.jpeg", turned)]);
        let images = ImageFolder::default().open(folder.path()).unwrap();
        let (plain, turned) = (images.image(0).unwrap(), images.image(1).unwrap());
        // Bright on the left, and after the turn bright on top.
        assert!(plain[15 * 16] > 200 && plain[15] < 50);
        assert!(turned[15 * 16] < 50 && turned[15] > 200);
    }
}
