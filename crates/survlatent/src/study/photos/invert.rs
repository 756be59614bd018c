//! Latents of the faces of a study.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use latent_inversion::cohort::{Cohort, CohortProgress, CohortResult, Manifest};
use latent_inversion::lpips::Lpips;
use latent_inversion::{
    Decoder, Encoder, Inverter, Method, Quality, StyleGan2, Tools, WDistribution,
};
use serde::{Deserialize, Serialize};

use super::super::interval::quantile;
use super::super::results::{InversionFigures, Quantiles};
use super::super::stages::Run;
use super::network::{EncoderFile, Network};
use super::{PhotoMethod, PhotoSettings};
use crate::error::{Error, Result};

/// What became of all faces.
#[derive(Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) photos: Vec<FoundPhoto>,
    /// Median and 99th percentile of the Mahalanobis distance of the network's own latents.
    typical: [f64; 2],
    /// Whether the encoder was trained for this network; true without one.
    pub(super) fits: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FoundPhoto {
    pub(super) id: String,
    /// Without the seconds, which are another each time.
    pub(super) quality: Option<Quality>,
    pub(super) reason: Option<String>,
}

/// The method with its settings.
pub(super) fn inverter(settings: &PhotoSettings, encoder: bool, seed: u64) -> Result<Inverter> {
    let method = match settings.method {
        None if encoder => Method::Default,
        None | Some(PhotoMethod::Hybrid) => Method::Hybrid,
        Some(PhotoMethod::Default) => Method::Default,
        Some(PhotoMethod::Encoder) => Method::Encoder,
        Some(PhotoMethod::Projector) => Method::Projector,
    };
    if method.needs_encoder() && !encoder {
        return Err(Error::Study {
            reason:
                "photos.method needs an encoder: name photos.encoder, or have one trained with \
                     photos.train_encoder = 20 (thousands of samples)"
                    .into(),
        });
    }
    let inverter = Inverter::new(method).with_seed(seed);
    Ok(match settings.steps {
        Some(steps) => inverter.with_steps(steps),
        None => inverter,
    })
}

/// What latents are found with, loaded.
struct Loaded {
    decoder: StyleGan2,
    lpips: Lpips,
    distribution: WDistribution,
    encoder: Option<Encoder>,
}

impl Loaded {
    fn new(network: &Network, encoder: Option<&EncoderFile>) -> Result<Self> {
        let device = Device::default();
        let decoder = network.decoder()?;
        let lpips = Lpips::alexnet(&device)?;
        let (side, least) = (network.side, lpips.trunk().smallest_side());
        if side < least {
            return Err(Error::Study {
                reason: format!(
                    "{}: pictures of {side} pixels; LPIPS needs {least}",
                    network.name
                ),
            });
        }
        let encoder = encoder.map(EncoderFile::encoder).transpose()?;
        let distribution = WDistribution::estimate(&decoder, WDistribution::SAMPLES, 0)?;
        Ok(Self {
            decoder,
            lpips,
            distribution,
            encoder,
        })
    }

    /// Inverts the photos of the manifest into `folder`, or goes on with what an earlier run did;
    /// `progress` hears how many are done.
    fn invert(
        &self,
        inverter: &Inverter,
        batch: usize,
        manifest: &Manifest,
        folder: &Path,
        progress: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<CohortResult> {
        let tools = Tools {
            decoder: &self.decoder as &dyn Decoder,
            lpips: &self.lpips,
            distribution: &self.distribution,
            encoder: self.encoder.as_ref(),
        };
        let cohort = Cohort {
            inverter: *inverter,
            batch,
            ..Cohort::default()
        };
        let mut stopped = None;
        let result = cohort.run(
            &tools,
            manifest,
            folder,
            &mut |p: &CohortProgress| match progress(p.done) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    stopped = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        result.ok_or_else(|| {
            stopped.unwrap_or_else(|| Error::Study {
                reason: "the inversion was stopped".into(),
            })
        })
    }
}

/// Inverts the photos of the manifest into `folder`, or goes on with what an earlier run did.
pub(super) fn invert(
    run: &Run<'_>,
    how: &Reinversion,
    manifest: &Manifest,
    folder: &Path,
) -> Result<Found> {
    const STAGE: &str = "0-latents";
    let total = manifest.entries().len();
    run.stage(STAGE, total, |_| {
        let loaded = Loaded::new(&how.network, how.encoder.as_ref())?;
        let mut progress = |done| run.progress(STAGE, done, total);
        let (inverter, batch) = (&how.inverter, how.batch);
        let result = loaded.invert(inverter, batch, manifest, folder, &mut progress)?;
        run.progress(STAGE, total, total)?;
        let photo = |s: latent_inversion::cohort::Status| FoundPhoto {
            id: s.id,
            quality: s.quality.map(|q| Quality { seconds: 0.0, ..q }),
            reason: s.reason,
        };
        let encoder = loaded.encoder.as_ref();
        Ok(Found {
            photos: result.status.into_iter().map(photo).collect(),
            typical: loaded.distribution.typical(),
            fits: encoder.is_none_or(|e| e.belongs_to(&loaded.decoder)),
        })
    })
}

/// How the study's photos were inverted, so that others can be in the same way.
pub(in super::super) struct Reinversion {
    pub(super) inverter: Inverter,
    pub(super) batch: usize,
    pub(super) network: Network,
    pub(super) encoder: Option<EncoderFile>,
}

impl Reinversion {
    /// Inverts several sets of photos, each into a folder of its own, and gives the files of their
    /// latents; `progress` hears how many photos are done in all. A photo's random numbers come from
    /// its id: the photo of an id of the study gives the study's latent.
    pub(in super::super) fn again(
        &self,
        sets: &[(Manifest, PathBuf)],
        progress: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Vec<PathBuf>> {
        let loaded = Loaded::new(&self.network, self.encoder.as_ref())?;
        let mut before = 0;
        let one = |(manifest, folder): &(Manifest, PathBuf)| {
            let mut progress = |done| progress(before + done);
            let (inverter, batch) = (&self.inverter, self.batch);
            let result = loaded.invert(inverter, batch, manifest, folder, &mut progress)?;
            before += manifest.entries().len();
            Ok(result.latents)
        };
        sets.iter().map(one).collect()
    }
}

/// How good the inversions are.
pub(super) fn figures(
    found: &Found,
    inverter: &Inverter,
    network: &Network,
    drop_untrusted: bool,
) -> InversionFigures {
    let good: Vec<&Quality> = found
        .photos
        .iter()
        .filter_map(|p| p.quality.as_ref())
        .collect();
    let over = |of: fn(&Quality) -> f64| {
        let mut values: Vec<f64> = good.iter().map(|q| of(q)).collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |p| (!values.is_empty()).then(|| quantile(&values, p));
        Quantiles {
            p5: at(0.05),
            p25: at(0.25),
            median: at(0.5),
            p75: at(0.75),
            p95: at(0.95),
        }
    };
    InversionFigures {
        network: network.name.clone(),
        method: match inverter.method {
            Method::Default => "default",
            Method::Encoder => "encoder",
            Method::Hybrid => "hybrid",
            Method::Projector => "projector",
        }
        .to_owned(),
        steps: inverter.in_w.steps + inverter.in_w_plus.steps,
        photos: found.photos.len(),
        inverted: good.len(),
        trusted: good.iter().filter(|q| q.trusted).count(),
        untrusted_left_out: drop_untrusted,
        lpips: over(|q| q.lpips),
        lpips_w: over(|q| q.lpips_w),
        psnr: over(|q| q.psnr),
        psnr_w: over(|q| q.psnr_w),
        mahalanobis: over(|q| q.mahalanobis),
        mahalanobis_of_network: found.typical,
        correlation_with_truth: None,
    }
}
