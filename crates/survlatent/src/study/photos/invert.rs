//! Latents of the faces of a study.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Device;
use latent_inversion::cohort::{Cohort, CohortProgress, Manifest};
use latent_inversion::lpips::Lpips;
use latent_inversion::{Decoder, Encoder, Inverter, Method, Quality, Tools, WDistribution};
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

/// Inverts the photos of the manifest into `folder`, or goes on with what an earlier run did.
pub(super) fn invert(
    run: &Run<'_>,
    inverter: Inverter,
    batch: usize,
    network: &Network,
    encoder: Option<&EncoderFile>,
    manifest: &Manifest,
    folder: &Path,
) -> Result<Found> {
    const STAGE: &str = "0-latents";
    let total = manifest.entries().len();
    run.stage(STAGE, total, |_| {
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
        let encoder: Option<Encoder> = encoder.map(EncoderFile::encoder).transpose()?;
        let distribution = WDistribution::estimate(&decoder, WDistribution::SAMPLES, 0)?;
        let tools = Tools {
            decoder: &decoder as &dyn Decoder,
            lpips: &lpips,
            distribution: &distribution,
            encoder: encoder.as_ref(),
        };
        let cohort = Cohort {
            inverter,
            batch,
            ..Cohort::default()
        };
        let mut stopped = None;
        let result = cohort.run(
            &tools,
            manifest,
            folder,
            &mut |p: &CohortProgress| match run.progress(STAGE, p.done, total) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    stopped = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        let Some(result) = result else {
            return Err(stopped.unwrap_or_else(|| Error::Study {
                reason: "the inversion was stopped".into(),
            }));
        };
        run.progress(STAGE, total, total)?;
        let photo = |s: latent_inversion::cohort::Status| FoundPhoto {
            id: s.id,
            quality: s.quality.map(|q| Quality { seconds: 0.0, ..q }),
            reason: s.reason,
        };
        Ok(Found {
            photos: result.status.into_iter().map(photo).collect(),
            typical: distribution.typical(),
            fits: encoder.is_none_or(|e| e.belongs_to(&decoder)),
        })
    })
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
