//! `survlatent simulate`: a cohort whose truth is known.

use std::path::PathBuf;

use clap::Args;
use latent_inversion::StyleGan2;
use survlatent::OutputFile;
use survlatent::simulate::{PortraitSurv, Portraits, Shortcut, ShortcutKind, Truth};

use crate::failure::Failure;
use crate::gan::network::NetworkArgs;
use crate::gan::{make_folder, progress};
use crate::report;
use crate::value;

/// Make a cohort whose risk is known: table, latents, truth and, with a network, portraits
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Simulate {
    /// Folder for the cohort; made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Generator of the latents and portraits (default: normal latents, no portraits)
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Patients
    #[arg(long, default_value_t = 2000, value_parser = value::count::<2>)]
    n: usize,
    /// Photos of each patient
    #[arg(long, default_value_t = 1, value_parser = value::count::<1>)]
    photos: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Concordance of the face's log hazard where nothing else acts
    #[arg(long, value_name = "C", default_value_t = 0.680, value_parser = value::inside)]
    true_c: f64,
    /// Shape of the Weibull times
    #[arg(long, default_value_t = 1.2, value_parser = value::positive)]
    shape: f64,
    /// Scale of the Weibull times
    #[arg(long, default_value_t = 5.0, value_parser = value::positive)]
    scale: f64,
    /// Share of patients to be censored
    #[arg(long, value_name = "SHARE", default_value_t = 0.3, value_parser = value::unit)]
    censored: f64,
    /// Log hazard ratio of ten years of age
    #[arg(long, value_name = "LOGHR", default_value_t = 0.0, value_parser = value::finite,
        allow_negative_numbers = true)]
    age: f64,
    /// Correlation of age with a direction of its own in latent space
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = value::unit)]
    age_in_face: f64,
    /// Log hazard ratio of men against women
    #[arg(long, value_name = "LOGHR", default_value_t = 0.0, value_parser = value::finite,
        allow_negative_numbers = true)]
    sex: f64,
    /// Paint a cap, or a mask over mouth and chin, on some, who have another hazard: share, log hazard
    /// ratio and kind, such as 0.25,1,mask
    #[arg(long, value_name = "SHARE,LOGHR[,cap|mask]", value_parser = shortcut)]
    shortcut: Option<Shortcut>,
    /// Width of the latents without a network
    #[arg(long, default_value_t = 512, value_parser = value::count::<2>, conflicts_with = "network")]
    dim: usize,
}

const NOTES: &str = "\
Files:
  table.csv            id, patient, time, status, age, sex; one row per photo
  latents.safetensors  w, [photos, w], with the ids
  truth.json           settings, direction, every patient's log hazard, what perfect scores reach
  photos/ID.png        with --network; the metadata say that they are synthetic
  study.toml           a study of them, for survlatent run; one that is there already is left alone
  Those of an earlier simulation are replaced. Files of these names beside no truth.json of ours are
  somebody's own, and the folder is refused.

Examples:
  survlatent simulate --out cohort --n 2000 --age 0.3 --sex 0.4
  survlatent run cohort/study.toml
  survlatent simulate --out cohort --network faces.safetensors --shortcut 0.25,1";

/// A study of the known latents.
const STUDY: &str = "\
[data]
table = \"table.csv\"
latents = \"latents.safetensors\"
truth = \"truth.json\"
[columns]
patient = \"patient\"
clinical = [\"age\", \"sex\"]
age = \"age\"
sex = \"sex\"
subgroups = [\"sex\"]
";

fn shortcut(text: &str) -> Result<Shortcut, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let kind = match parts.get(2) {
        None => Some(ShortcutKind::default()),
        Some(name) => ShortcutKind::ALL.into_iter().find(|k| k.name() == *name),
    };
    match (&parts[..], kind) {
        ([share, log_hr] | [share, log_hr, _], Some(kind)) => Ok(Shortcut {
            share: value::unit(share)?,
            log_hr: value::finite(log_hr)?,
            kind,
        }),
        _ => Err(
            "a share from 0 to 1, a log hazard ratio and cap or mask, such as 0.25,1,mask"
                .to_owned(),
        ),
    }
}

impl Simulate {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        self.check_folder()?;
        let settings = PortraitSurv {
            n: self.n,
            photos: self.photos,
            seed: self.seed,
            true_c: self.true_c,
            shape: self.shape,
            scale: self.scale,
            censored: self.censored,
            age_log_hr: self.age,
            age_in_face: self.age_in_face,
            sex_log_hr: self.sex,
            shortcut: self.shortcut,
            dim: self.dim,
            ..PortraitSurv::default()
        };
        let Some(network) = &self.network else {
            let cohort = settings.simulate()?;
            make_folder(&self.out)?;
            cohort.write(&self.out)?;
            return self.study();
        };
        let generator = StyleGan2::new(&NetworkArgs::of(network).open()?.generator)?;
        let portraits = Portraits::new(&generator, self.seed);
        let cohort = settings.simulate_from(&portraits)?;
        make_folder(&self.out)?;
        cohort.write(&self.out)?;
        let photos = self.out.join("photos");
        make_folder(&photos)?;
        let bar = progress(cohort.patient.len(), "portraits");
        let step = || {
            bar.inc(1);
            Ok(())
        };
        portraits.write(&cohort, &photos, &step)?;
        bar.finish_and_clear();
        self.study()
    }

    /// Refuses to write over files that no simulation made.
    fn check_folder(&self) -> Result<(), Failure> {
        let truth = std::fs::read(self.out.join("truth.json"));
        if truth.is_ok_and(|bytes| serde_json::from_slice::<Truth>(&bytes).is_ok()) {
            return Ok(());
        }
        let photos = self.network.is_some().then_some("photos");
        let names = ["table.csv", "latents.safetensors", "truth.json"];
        let mut paths = names.into_iter().chain(photos).map(|n| self.out.join(n));
        match paths.find(|path| path.exists()) {
            None => Ok(()),
            Some(path) => Err(Failure::run(format!(
                "{}: it is there already and not of an earlier simulation; choose another folder",
                path.display()
            ))),
        }
    }

    /// Writes a study of the cohort beside it.
    fn study(&self) -> Result<(), Failure> {
        let path = self.out.join("study.toml");
        if path.exists() {
            report::note(&format!(
                "{} is there already and is left alone",
                path.display()
            ));
            return Ok(());
        }
        let mut text = format!("title = \"Simulated portraits\"\nseed = {}\n", self.seed);
        text.push_str(STUDY);
        OutputFile::create(&path)?.write(text.as_bytes())?;
        report::note(&format!("survlatent run {} studies them", path.display()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortcuts_are_a_share_and_an_effect() {
        let of = |text| shortcut(text).map(|s| (s.share, s.log_hr, s.kind));
        assert_eq!(of("0.25, 1"), Ok((0.25, 1.0, ShortcutKind::Cap)));
        assert_eq!(of("0.25,1,mask"), Ok((0.25, 1.0, ShortcutKind::Mask)));
        for text in ["2,1", "0.5", "0.5,1,hat", "0.5,1,cap,mask"] {
            assert!(shortcut(text).is_err(), "{text}");
        }
    }
}
