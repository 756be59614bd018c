//! The pictures of a run, and what of the command line it keeps to go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stylegan2_burn::GeneratorConfig;
use stylegan2_burn::train::{ImageFolder, ImageSource, Images, RunSettings};

use super::Train;
use crate::failure::Failure;
use crate::report;

impl Train {
    /// How the command line says that pictures are read.
    pub(super) fn spec(&self) -> ImageFolder {
        let mut folder = ImageFolder::default()
            .with_channels(self.channels)
            .with_labels(self.labels)
            .with_set_aside(self.set_aside);
        folder.resolution = self.resolution;
        folder
    }

    pub(super) fn images(&self, folder: &ImageFolder) -> Result<Images, Failure> {
        let images = folder.open(&self.data)?;
        for fault in images.set_aside() {
            report::note(&format!("set aside: {fault}"));
        }
        for (what, names) in images.converted() {
            if let Some(first) = names.first() {
                report::note(&format!("{} {what}, first {first}", names.len()));
            }
        }
        let [_, _, side] = images.shape();
        report::note(&format!(
            "{}: {} pictures of {side} px",
            self.data.display(),
            images.len()
        ));
        Ok(images)
    }
}

/// What a run keeps in its `config.toml` beside the settings of the training.
pub(super) struct Notes {
    resolution: Option<usize>,
    set_aside: bool,
    pictures: Option<usize>,
    pub(super) metrics: Option<PathBuf>,
    pub(super) inception: Option<PathBuf>,
    pub(super) images: usize,
    pub(super) pairs: Option<usize>,
    /// Started from trained networks.
    pub(super) fine_tuned: bool,
}

/// Pictures generated to be measured, unless the command line says.
const MEASURED: usize = 1000;

impl Notes {
    /// What this start of a run is to keep; the command line goes before what was kept.
    pub(super) fn new(
        args: &Train,
        images: &Images,
        before: Option<&Self>,
    ) -> Result<Self, Failure> {
        // A run may go on from elsewhere.
        let absolute = |path: &Option<PathBuf>| {
            let path = path.as_deref().map(std::path::absolute).transpose();
            path.map_err(|e| Failure::run(e.to_string()))
        };
        let kept = |get: &dyn Fn(&Self) -> Option<PathBuf>| before.and_then(get);
        let notes = Self {
            resolution: args.resolution.or(before.and_then(|b| b.resolution)),
            set_aside: args.set_aside || before.is_some_and(|b| b.set_aside),
            pictures: Some(images.len()),
            metrics: absolute(&args.metrics)?.or(kept(&|b| b.metrics.clone())),
            inception: absolute(&args.metrics_inception)?.or(kept(&|b| b.inception.clone())),
            images: args
                .metrics_images
                .unwrap_or_else(|| before.map_or(MEASURED, |b| b.images)),
            pairs: args.metrics_path_length.or(before.and_then(|b| b.pairs)),
            fine_tuned: args.from.is_some() || before.is_some_and(|b| b.fine_tuned),
        };
        let asked = args.metrics_inception.is_some()
            || args.metrics_images.is_some()
            || args.metrics_path_length.is_some();
        if asked && notes.metrics.is_none() {
            return Err(Failure::usage(
                "--metrics-inception, --metrics-images and --metrics-path-length go with --metrics",
            ));
        }
        Ok(notes)
    }

    /// What a run has kept. One of an earlier version has kept nothing: its pictures are brought to the
    /// size of its networks.
    pub(super) fn of(run: &RunSettings, generator: &GeneratorConfig) -> Self {
        let notes = run.notes.as_ref();
        let get = |key: &str| notes.and_then(|n| n.get(key));
        let count = |key: &str| get(key).and_then(|v| v.parse().ok());
        let path = |key: &str| get(key).map(PathBuf::from);
        Self {
            resolution: match notes {
                None => Some(generator.resolution),
                Some(_) => count("resolution"),
            },
            set_aside: get("set_aside").is_some(),
            pictures: count("pictures"),
            metrics: path("metrics"),
            inception: path("metrics_inception"),
            images: count("metrics_images").unwrap_or(MEASURED),
            pairs: count("metrics_path_length"),
            fine_tuned: get("fine_tuned").is_some(),
        }
    }

    pub(super) fn to_map(&self) -> BTreeMap<String, String> {
        let number = |n: &Option<usize>| n.map(|n| n.to_string());
        let path = |p: &Option<PathBuf>| p.as_deref().map(|p| p.display().to_string());
        let metrics = self.metrics.is_some();
        let all = [
            ("resolution", number(&self.resolution)),
            ("set_aside", self.set_aside.then(|| "true".to_owned())),
            ("pictures", number(&self.pictures)),
            ("metrics", path(&self.metrics)),
            ("metrics_inception", path(&self.inception)),
            ("metrics_images", metrics.then(|| self.images.to_string())),
            ("metrics_path_length", number(&self.pairs)),
            ("fine_tuned", self.fine_tuned.then(|| "true".to_owned())),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect()
    }

    /// How the pictures of the run are read.
    pub(super) fn spec(&self, generator: &GeneratorConfig, set_aside: bool) -> ImageFolder {
        let mut folder = ImageFolder::default()
            .with_channels(generator.channels)
            .with_labels(generator.c_dim > 0)
            .with_set_aside(self.set_aside || set_aside);
        folder.resolution = self.resolution;
        folder
    }

    /// Says where other pictures mean that other bits follow.
    pub(super) fn compare(&self, found: usize) {
        if let Some(before) = self.pictures
            && before != found
        {
            report::note(&format!(
                "the run had {before} pictures, and now {found}: they come in another order"
            ));
        }
    }

    /// How the pictures of `--metrics` are read.
    pub(super) fn measured(
        &self,
        generator: &GeneratorConfig,
        path: &Path,
    ) -> Result<Images, Failure> {
        Ok(ImageFolder::default()
            .with_resolution(generator.resolution)
            .with_channels(generator.channels)
            .with_set_aside(self.set_aside)
            .open(path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_keeps_is_found_again() {
        let generator = GeneratorConfig::new(16).with_channels(1).with_c_dim(2);
        let notes = Notes {
            resolution: None,
            set_aside: true,
            pictures: Some(9),
            metrics: Some(PathBuf::from("/held out")),
            inception: None,
            images: 77,
            pairs: Some(5),
            fine_tuned: true,
        };
        let run = RunSettings::new().with_notes(Some(notes.to_map()));
        let again = Notes::of(&run, &generator);
        assert_eq!(again.to_map(), notes.to_map());
        let spec = again.spec(&generator, false);
        assert_eq!((spec.resolution, spec.channels), (None, Some(1)));
        assert!(spec.labels && spec.set_aside);
        let old = Notes::of(&RunSettings::new(), &generator).spec(&generator, false);
        assert_eq!((old.resolution, old.set_aside), (Some(16), false));
    }
}
