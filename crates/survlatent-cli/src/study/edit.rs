//! `survlatent edit`: a face along a health direction, in stated doses.

use std::path::{Path, PathBuf};

use clap::Args;
use survlatent::latent_attribute::HealthDirection;
use survlatent::proof::{
    DEFAULT_RATIOS, FaceNetwork, Portraits, film, film_with_survival, hazard_ratio_of_survival,
    strip, strip_with_survival,
};
use survlatent::study::FaceModel;
use survlatent::{LatentsReader, OutputFile};

use crate::failure::Failure;
use crate::report;
use crate::value;

/// Show a face healthier and more ill along a health direction, by hazard ratio or survival
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Edit {
    /// The direction: health_direction.safetensors of a run
    #[arg(long, value_name = "FILE")]
    direction: PathBuf,
    /// The strip: a PNG, or a GIF that moves from the first dose to the last and back
    #[arg(long, value_name = "FILE.png|FILE.gif")]
    out: PathBuf,
    /// Generator the latents belong to, as the face model names it; default: the shipped network, faces of
    /// 64 px
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Latents of photos; without them a face that the generator draws
    #[arg(long, value_name = "FILE", requires = "id")]
    latents: Option<PathBuf>,
    /// Whose
    #[arg(long, value_name = "ID", requires = "latents")]
    id: Option<String>,
    /// Seed of the face that is drawn
    #[arg(
        long,
        value_name = "K",
        default_value_t = 0,
        conflicts_with = "latents"
    )]
    seed: u64,
    /// Hazard ratios, relative to the face itself (default: 0.25,0.5,1,2,4)
    #[arg(long, value_name = "R,..", value_delimiter = ',', value_parser = value::positive)]
    ratios: Vec<f64>,
    /// Survival probability at some horizon now, and those to be shown in its place
    #[arg(long, value_name = "NOW,THEN,..", value_delimiter = ',', value_parser = value::inside,
        conflicts_with = "ratios")]
    survival: Vec<f64>,
    /// A horizon of the run's face model, in the study's unit of time: the strip or film says how probable
    /// survival to it is at every dose
    #[arg(long, value_name = "TIME", value_parser = value::positive, conflicts_with = "survival")]
    horizon: Option<f64>,
    /// Survival probabilities at the horizon to be shown, the face's own being that of the face model
    #[arg(long, value_name = "P,..", value_delimiter = ',', value_parser = value::inside,
        requires = "horizon", conflicts_with_all = ["ratios", "survival"])]
    to_survival: Vec<f64>,
    /// The face model (default: face_model.json beside the direction)
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Frames of a film from one end to the other
    #[arg(long, value_name = "N", default_value_t = 13, value_parser = value::count::<2>)]
    frames: usize,
}

/// What the face model says of the face that is edited.
struct Told {
    model: FaceModel,
    horizon: f64,
    survival: f64,
}

const NOTES: &str = "\
Every face is labelled as synthetic, in the picture and in the file's metadata. An edit shows what
the model reads from faces: it is no forecast of how anybody will look.

Examples:
  survlatent edit --direction run/health_direction.safetensors --seed 7 --out strip.png
  survlatent edit --direction run/health_direction.safetensors --out p7.png \\
      --latents latents.safetensors --id P7 --survival 0.6,0.4,0.5,0.6,0.7,0.8
  survlatent edit --direction run/health_direction.safetensors --out p7.png \\
      --latents latents.safetensors --id P7 --horizon 5 --to-survival 0.3,0.5,0.7";

impl Edit {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let file = OutputFile::create(&self.out)?;
        let kind = self
            .out
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        let moving = match kind.to_ascii_lowercase().as_str() {
            "png" => false,
            "gif" => true,
            _ => return Err(Failure::usage("--out: the name ends in .png or .gif")),
        };
        let direction = HealthDirection::load(&self.direction)
            .map_err(|error| Failure::run(format!("{}: {error}", self.direction.display())))?;
        let net = match &self.network {
            Some(path) => FaceNetwork::open(path)?,
            None => FaceNetwork::shipped()?,
        };
        let model = self.model()?;
        let named = match &model {
            None => false,
            Some(model) => model.check_network(self.network.as_deref())?,
        };
        if !named {
            report::note(
                &"no face model says which generator the direction belongs to: it was not compared \
                  with the network",
            );
        }
        let latent = self.latent(&net)?;
        let told = self.told(model, &latent)?;
        let ratios = self.doses(&latent, told.as_ref().map(|t| &t.model))?;
        if let Some(told) = &told {
            report::note(&format!(
                "survival to {} {} at the face itself: {:.3}",
                told.horizon, told.model.time_unit, told.survival
            ));
        }
        let own = told.map(|told| told.survival);
        let (first, last) = (ratios[0], ratios[ratios.len() - 1]);
        let bytes = match (moving, own) {
            (false, None) => strip(&net, &direction, &latent, &ratios)?.png()?,
            (false, Some(own)) => {
                strip_with_survival(&net, &direction, &latent, &ratios, own)?.png()?
            }
            (true, None) => film(&net, &direction, &latent, (first, last), self.frames)?,
            (true, Some(own)) => {
                let course = (first, last, self.frames);
                film_with_survival(&net, &direction, &latent, course, own)?
            }
        };
        Ok(file.write(&bytes)?)
    }

    fn latent(&self, net: &FaceNetwork) -> Result<Vec<f64>, Failure> {
        let (Some(path), Some(id)) = (&self.latents, &self.id) else {
            let drawn = net.draws(self.seed, 0, 1)?;
            return Ok(drawn.into_iter().map(f64::from).collect());
        };
        let latents = LatentsReader::new().read(path)?;
        let row = latents
            .ids()
            .and_then(|ids| ids.iter().position(|i| i == id));
        let row = row.ok_or_else(|| Failure::run(format!("{}: no id `{id}`", path.display())))?;
        Ok((0..latents.p()).map(|j| latents.get(row, j)).collect())
    }

    /// The face model: the one that is named, or the one beside the direction where it is there or needed.
    fn model(&self) -> Result<Option<FaceModel>, Failure> {
        let beside = || {
            let folder = self.direction.parent().unwrap_or(Path::new("."));
            folder.join("face_model.json")
        };
        let path = self.model.clone().unwrap_or_else(beside);
        if self.model.is_none() && self.horizon.is_none() && !path.is_file() {
            return Ok(None);
        }
        Ok(Some(FaceModel::read(&path)?))
    }

    /// The face's own survival at the horizon, where one is given.
    fn told(&self, model: Option<FaceModel>, latent: &[f64]) -> Result<Option<Told>, Failure> {
        let (Some(horizon), Some(model)) = (self.horizon, model) else {
            return Ok(None);
        };
        let survival = model.survival(latent, horizon)?;
        Ok(Some(Told {
            model,
            horizon,
            survival,
        }))
    }

    fn doses(&self, latent: &[f64], model: Option<&FaceModel>) -> Result<Vec<f64>, Failure> {
        if let (Some(model), Some(horizon), [_, ..]) = (model, self.horizon, &self.to_survival[..])
        {
            let ratio = |to: &f64| model.hazard_ratio_to_survival(latent, horizon, *to);
            return Ok(self
                .to_survival
                .iter()
                .map(ratio)
                .collect::<Result<_, _>>()?);
        }
        match (&self.ratios[..], &self.survival[..]) {
            ([], []) => Ok(DEFAULT_RATIOS.to_vec()),
            ([], [now, then @ ..]) if !then.is_empty() => {
                let ratio = |s: &f64| hazard_ratio_of_survival(*now, *s);
                Ok(then.iter().map(ratio).collect::<Result<_, _>>()?)
            }
            ([], _) => Err(Failure::usage(
                "--survival: one probability now, and at least one then",
            )),
            (ratios, _) => Ok(ratios.to_vec()),
        }
    }
}
