//! Networks written on the way.

use std::path::PathBuf;

use super::TrainRun;
use crate::checkpoint::FloatFormat;
use crate::error::{Error, Result};

impl TrainRun {
    /// What names the files of this moment.
    pub(super) fn stamp(&self) -> String {
        stamp(self.before, self.trainer.progress().images)
    }

    pub(super) fn write_networks(&self) -> Result<()> {
        let name = format!("network-{}.safetensors", self.stamp());
        self.trainer
            .save_networks(self.folder.join(name), FloatFormat::F32)
    }

    pub(super) fn drop_old_snapshots(&self) -> Result<()> {
        if self.settings.keep == 0 {
            return Ok(());
        }
        let entries = std::fs::read_dir(&self.folder).map_err(Error::io(&self.folder))?;
        let mut snapshots: Vec<((u64, u64), PathBuf)> = entries
            .filter_map(std::result::Result::ok)
            .filter_map(|e| Some((moment(e.file_name().to_str()?)?, e.path())))
            .collect();
        snapshots.sort_unstable();
        let old = snapshots.len().saturating_sub(self.settings.keep);
        for (_, path) in &snapshots[..old] {
            std::fs::remove_file(path).map_err(Error::io(path))?;
        }
        Ok(())
    }
}

/// Thousands of images, with the rest where another iteration was the first of this thousand: no two
/// moments have one name.
fn stamp(before: u64, after: u64) -> String {
    let kimg = after / 1000;
    if before == after || crossed(before, after, 1.0) {
        format!("{kimg:06}")
    } else {
        format!("{kimg:06}.{:03}", after % 1000)
    }
}

/// The moment in the name of a snapshot.
fn moment(name: &str) -> Option<(u64, u64)> {
    let stamp = name
        .strip_prefix("network-")?
        .strip_suffix(".safetensors")?;
    match stamp.split_once('.') {
        None => Some((stamp.parse().ok()?, 0)),
        Some((kimg, rest)) => Some((kimg.parse().ok()?, rest.parse().ok()?)),
    }
}

/// Whether a multiple of `kimg` thousand lies in `(before, after]`.
pub(super) fn crossed(before: u64, after: u64, kimg: f64) -> bool {
    let passed = |images: u64| (images as f64 / (kimg * 1000.0)).floor();
    passed(after) > passed(before)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn multiples_are_crossed_once() {
        let crossings = (0..40)
            .filter(|k| crossed(k * 32, (k + 1) * 32, 0.1))
            .count();
        assert_eq!(crossings, 12, "of 1280 images every 100th");
        assert!(crossed(90, 100, 0.1) && !crossed(100, 110, 0.1));
    }

    #[test]
    fn every_moment_has_a_name_of_its_own_and_names_sort_by_time() {
        assert_eq!(stamp(0, 0), "000000");
        assert_eq!(stamp(49_984, 50_016), "000050");
        assert_eq!(stamp(480, 512), "000000.512");
        for batch in [32, 7, 600, 1500] {
            let names: Vec<String> = (1..200)
                .map(|k| stamp((k - 1) * batch, k * batch))
                .collect();
            let set: BTreeSet<&String> = names.iter().collect();
            assert_eq!(set.len(), names.len(), "{batch}");
            let file = |n: &String| moment(&format!("network-{n}.safetensors")).unwrap();
            assert!(names.iter().map(file).is_sorted(), "{batch}");
        }
        assert_eq!(moment("network-x.safetensors"), None);
    }
}
