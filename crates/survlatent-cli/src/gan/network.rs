//! Opening a generator, and the latents and labels a verb asks for.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use clap::{Args, ValueEnum};
use stylegan2_burn::image::{Pixels, Rounding, to_pixels};
use stylegan2_burn::{
    Checkpoint, Error, Generator, GeneratorConfig, Noise, Precision, SynthesisOptions, Truncation,
    seed,
};

use super::arrays::{self, Array, wrong_shape};
use crate::failure::Failure;
use crate::value;

/// Which generator, and how it runs.
#[derive(Args)]
pub(crate) struct NetworkArgs {
    /// Network file: .pkl (NVIDIA or TensorFlow), .pt (rosinality) or .safetensors (`convert`);
    /// default: the shipped network, faces of 64 px
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Which generator of the file (default: G_ema if there is one)
    #[arg(long, value_name = "NAME")]
    which: Option<String>,
    /// Truncation psi: 1 is none, 0 the mean picture
    #[arg(long, value_name = "PSI", default_value_t = 1.0, value_parser = value::finite,
        allow_negative_numbers = true)]
    trunc: f64,
    /// Truncate only the first so many layers
    #[arg(long, value_name = "LAYERS")]
    trunc_cutoff: Option<usize>,
    /// Noise inputs: the stored ones, fresh ones (the same for the same seed), or none
    #[arg(long, value_enum, default_value_t = NoiseArg::Const)]
    noise: NoiseArg,
    /// Precision of the highest resolutions, for networks that allow half precision there
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    precision: PrecisionArg,
    /// Class, from 0, of a conditional network
    #[arg(long, value_name = "K", conflicts_with = "c")]
    class: Option<usize>,
    /// Labels of a conditional network, [1, c] or one row per picture
    #[arg(long, value_name = "FILE.npy")]
    c: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum NoiseArg {
    Const,
    Random,
    None,
}

/// Number types of the layers that may run in half precision.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionArg {
    F32,
    F16,
    Bf16,
}

impl From<PrecisionArg> for Precision {
    fn from(precision: PrecisionArg) -> Self {
        match precision {
            PrecisionArg::F32 => Self::Full,
            PrecisionArg::F16 => Self::F16,
            PrecisionArg::Bf16 => Self::Bf16,
        }
    }
}

/// The network that comes with the program.
pub(crate) fn shipped() -> Result<Checkpoint, Error> {
    Checkpoint::from_bytes(survlatent::assets::FACES_64.to_vec())
}

/// The networks of a file, or those that ship, with the name to call them by.
pub(crate) fn open_or_shipped(path: Option<&Path>) -> Result<(&Path, Checkpoint), Failure> {
    let (path, file) = match path {
        Some(path) => (path, Checkpoint::open(path)),
        None => (Path::new("shipped network"), shipped()),
    };
    Ok((path, file.map_err(|error| in_file(path, error))?))
}

/// An opened generator.
pub(crate) struct Opened {
    pub(crate) generator: Generator,
    pub(crate) config: GeneratorConfig,
    pub(crate) device: Device,
    truncation: Truncation,
    options: SynthesisOptions,
    labels: Labels,
}

/// What the command line says about labels.
enum Labels {
    None,
    Rows(Array),
}

impl NetworkArgs {
    /// The default generator of a file, as it is.
    pub(crate) fn of(network: &Path) -> Self {
        Self {
            network: Some(network.to_owned()),
            which: None,
            trunc: 1.0,
            trunc_cutoff: None,
            noise: NoiseArg::Const,
            precision: PrecisionArg::F32,
            class: None,
            c: None,
        }
    }

    pub(crate) fn open(&self) -> Result<Opened, Failure> {
        let device = Device::default();
        let (path, file) = open_or_shipped(self.network.as_deref())?;
        let name = match &self.which {
            Some(name) => name.as_str(),
            None => file
                .default_generator()
                .ok_or_else(|| Failure::run(format!("{}: holds no generator", path.display())))?,
        };
        let config = file.generator_config(name).map_err(choice)?.clone();
        let labels = self.labels(&config)?;
        let generator = file
            .generator(name, &device)
            .map_err(|error| in_file(path, error))?;
        let options = SynthesisOptions {
            noise: match self.noise {
                NoiseArg::Const => Noise::Const,
                NoiseArg::Random => Noise::Random,
                NoiseArg::None => Noise::None,
            },
            precision: self.precision.into(),
            ..Default::default()
        };
        let truncation = Truncation {
            psi: self.trunc,
            cutoff: self.trunc_cutoff,
        };
        Ok(Opened {
            generator,
            config,
            device,
            truncation,
            options,
            labels,
        })
    }

    /// Whether the command line says anything about labels.
    pub(crate) fn labelled(&self) -> bool {
        self.class.is_some() || self.c.is_some()
    }

    fn labels(&self, config: &GeneratorConfig) -> Result<Labels, Failure> {
        let width = config.c_dim;
        if self.labelled() && width == 0 {
            return Err(Failure::usage("the network takes no labels"));
        }
        match (&self.c, self.class) {
            (Some(path), _) => labels_of_file(path, width).map(Labels::Rows),
            (None, Some(class)) if class >= width => Err(Failure::usage(format!(
                "--class {class}, but the network has classes 0 to {}",
                width - 1
            ))),
            (None, Some(class)) => {
                let mut values = vec![0.0; width];
                values[class] = 1.0;
                let shape = vec![1, width];
                Ok(Labels::Rows(Array { shape, values }))
            }
            (None, None) => Ok(Labels::None),
        }
    }
}

/// Reads labels `[N, width]`.
pub(crate) fn labels_of_file(path: &Path, width: usize) -> Result<Array, Failure> {
    let array = arrays::read(path, "c")?;
    match *array.shape {
        [n, w] if n > 0 && w == width => Ok(array),
        _ => Err(wrong_shape(path, &array, &format!("[N, {width}]"))),
    }
}

/// A network that the file does not hold was asked for on the command line.
pub(crate) fn choice(error: Error) -> Failure {
    match error {
        Error::NoSuchNetwork { .. } => Failure::usage(error.to_string()),
        error => error.into(),
    }
}

/// An error with the file it is about.
pub(crate) fn in_file(path: &Path, error: Error) -> Failure {
    match error {
        error @ Error::Io { .. } => error.into(),
        error => Failure::run(format!("{}: {error}", path.display())),
    }
}

impl Opened {
    /// The label of each of `count` pictures.
    pub(crate) fn labels(&self, count: usize) -> Result<Vec<Option<Tensor<2>>>, Failure> {
        let width = self.config.c_dim;
        let Labels::Rows(array) = &self.labels else {
            return if width == 0 {
                Ok(vec![None; count])
            } else {
                Err(Failure::usage(format!(
                    "the network has {width} classes: give --class or --c"
                )))
            };
        };
        let rows = array.shape[0];
        if rows != 1 && rows != count {
            return Err(Failure::usage(format!(
                "--c holds {rows} labels for {count} pictures; give one, or one for each"
            )));
        }
        let label = |k: usize| {
            let row = if rows == 1 { 0 } else { k };
            let values = array.values[row * width..(row + 1) * width].to_vec();
            Tensor::from_data(TensorData::new(values, [1, width]), &self.device)
        };
        Ok((0..count).map(|k| Some(label(k))).collect())
    }

    /// W+ of latents z with a label, truncated, `[1, num_ws, w]`.
    pub(crate) fn map(&self, z: Tensor<2>, label: Option<Tensor<2>>) -> Tensor<3> {
        self.generator.mapping.forward(z, label, self.truncation)
    }

    /// W+ of seeds, `[1, num_ws, w]` each.
    pub(crate) fn ws_of_seeds(&self, seeds: &[u32]) -> Result<Vec<Tensor<3>>, Failure> {
        let labels = self.labels(seeds.len())?;
        let latent = |seed| seed::latents(&[seed], self.config.z_dim, &self.device);
        let pairs = seeds.iter().zip(labels);
        Ok(pairs
            .map(|(&seed, label)| self.map(latent(seed), label))
            .collect())
    }

    /// W+ of a file of z, `[N, z]`.
    pub(crate) fn ws_of_z(&self, path: &Path) -> Result<Vec<Tensor<3>>, Failure> {
        let array = arrays::read(path, "z")?;
        let width = self.config.z_dim;
        let count = match *array.shape {
            [n, w] if n > 0 && w == width => n,
            _ => return Err(wrong_shape(path, &array, &format!("[N, {width}]"))),
        };
        let rows = array.values.chunks_exact(width).zip(self.labels(count)?);
        Ok(rows
            .map(|(z, label)| {
                let data = TensorData::new(z.to_vec(), [1, width]);
                self.map(Tensor::from_data(data, &self.device), label)
            })
            .collect())
    }

    /// W+ of a file of w, `[N, w]` or `[N, num_ws, w]`, truncated.
    pub(crate) fn ws_of_w(&self, path: &Path) -> Result<Vec<Tensor<3>>, Failure> {
        let array = arrays::read(path, "w")?;
        let (rows, width) = (self.config.num_ws(), self.config.w_dim);
        let stored = match *array.shape {
            [n, w] if n > 0 && w == width => 1,
            [n, r, w] if n > 0 && w == width && r == rows => rows,
            _ => {
                let expected = format!("[N, {width}] or [N, {rows}, {width}]");
                return Err(wrong_shape(path, &array, &expected));
            }
        };
        let w = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [1, stored, width]);
            let ws = Tensor::<3>::from_data(data, &self.device).expand([1, rows, width]);
            let mapping = &self.generator.mapping;
            mapping.truncate(ws.into(), self.truncation).value
        };
        Ok(array.values.chunks_exact(stored * width).map(w).collect())
    }

    /// The image of W+, `[1, C, R, R]`; `draw` chooses the noise where it is fresh.
    pub(crate) fn image(&self, ws: Tensor<3>, draw: u64) -> Tensor<4> {
        self.device.seed(draw);
        self.generator.synthesis.forward(ws, &self.options)
    }

    /// The picture of W+.
    pub(crate) fn picture(&self, ws: Tensor<3>, draw: u64) -> Pixels {
        to_pixels(self.image(ws, draw), Rounding::Generate).remove(0)
    }
}

/// The values of a tensor.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Failure> {
    let data = tensor.into_data_dtype(DType::F32);
    data.try_into_vec()
        .map_err(|error| Failure::run(format!("the device's answer: {error:?}")))
}
