//! `survlatent interpolate`: a film from seed to seed.

use burn::tensor::Tensor;
use clap::{Args, ValueEnum};
use stylegan2_burn::{lerp, seed, slerp};

use super::film::{Film, film};
use super::list::Numbers;
use super::network::{NetworkArgs, Opened};
use super::progress;
use crate::failure::Failure;

/// Make a film that moves from seed to seed
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Interpolate {
    #[command(flatten)]
    network: NetworkArgs,
    /// Seeds to visit, in order; two or more
    #[arg(long, value_name = "LIST")]
    seeds: Numbers,
    /// Straight lines in W, or great circles in Z
    #[arg(long, value_enum, default_value_t = Space::W)]
    space: Space,
    /// Frames from one seed to the next
    #[arg(long, value_name = "N", default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=10000))]
    frames: u32,
    /// Frames per second; a GIF counts in hundredths of a second
    #[arg(long, value_name = "N", default_value_t = 25,
        value_parser = clap::value_parser!(u32).range(1..=120))]
    fps: u32,
    /// Return to the first seed at the end
    #[arg(long = "loop")]
    closed: bool,
    /// The film, .gif, or .mp4 with ffmpeg on PATH
    #[arg(long, value_name = "FILE", value_parser = film)]
    out: Film,
}

const NOTES: &str = "\
Labels: one for all frames with --class, or with --c one row per seed where the space is w.

Examples:
  survlatent interpolate --network ffhq.pkl --seeds 85,100,265 --loop --trunc 0.7 --out faces.mp4
  survlatent interpolate --network afhq.safetensors --seeds 1-4 --space z --frames 20 --out a.gif";

#[derive(Clone, Copy, ValueEnum)]
enum Space {
    W,
    Z,
}

impl Interpolate {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let seeds = &self.seeds.0;
        if seeds.len() < 2 {
            return Err(Failure::usage("--seeds: two or more are needed"));
        }
        self.out.ready()?;
        let net = self.network.open()?;
        let path = match self.space {
            Space::W => {
                let corners = net.ws_of_seeds(seeds)?;
                self.along(&corners, lerp)
            }
            Space::Z => self.through_z(&net, seeds)?,
        };
        let bar = progress(path.len(), "frames");
        // The same fresh noise in all frames: it would flicker.
        let frames = path.into_iter().map(|ws| {
            bar.inc(1);
            net.picture(ws, 0)
        });
        self.out.write(self.fps, frames)?;
        bar.finish_and_clear();
        Ok(())
    }

    fn through_z(&self, net: &Opened, seeds: &[u32]) -> Result<Vec<Tensor<3>>, Failure> {
        let label = net.labels(1)?.remove(0);
        let corners: Vec<Tensor<2>> = seeds
            .iter()
            .map(|&seed| seed::latents(&[seed], net.config.z_dim, &net.device))
            .collect();
        Ok(self
            .along(&corners, slerp)
            .into_iter()
            .map(|z| net.map(z, label.clone()))
            .collect())
    }

    /// The points of every frame. A loop ends one step before its first frame.
    fn along<const D: usize>(
        &self,
        corners: &[Tensor<D>],
        between: impl Fn(Tensor<D>, Tensor<D>, f64) -> Tensor<D>,
    ) -> Vec<Tensor<D>> {
        let legs = corners.len() - usize::from(!self.closed);
        let mut path = Vec::new();
        for leg in 0..legs {
            let (from, to) = (&corners[leg], &corners[(leg + 1) % corners.len()]);
            for k in 0..self.frames {
                let t = f64::from(k) / f64::from(self.frames);
                path.push(between(from.clone(), to.clone(), t));
            }
        }
        if !self.closed {
            path.extend(corners.last().cloned());
        }
        path
    }
}
