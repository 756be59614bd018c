//! A face from a seed: `cargo run --release --example generate -- NETWORK SEED OUT.png`.
//!
//! Without arguments a tiny network with random weights stands in.

use std::error::Error;

use burn::tensor::Device;
use stylegan2_burn::image::{Rounding, to_pixels};
use stylegan2_burn::{
    Checkpoint, GeneratorConfig, MappingConfig, SynthesisOptions, Truncation, seed,
};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let device = Device::default();
    let (config, generator) = if let Some(path) = args.first() {
        let file = Checkpoint::open(path)?;
        let name = file.default_generator().ok_or("no generator in the file")?;
        (
            file.generator_config(name)?.clone(),
            file.generator(name, &device)?,
        )
    } else {
        let config = GeneratorConfig::new(32)
            .with_channel_base(512)
            .with_mapping(MappingConfig::new().with_num_layers(2));
        let generator = config.init(&device)?;
        (config, generator)
    };
    let number = args.get(1).map_or(Ok(85), |s| s.parse())?;
    let z = seed::latents(&[number], config.z_dim, &device); // [1, z]
    // A network with labels shows its first class.
    let c = (config.c_dim > 0).then(|| {
        let class = burn::tensor::Tensor::<1, burn::tensor::Int>::zeros([1], &device);
        class.one_hot::<2>(config.c_dim).float() // [1, c]
    });
    let ws = generator.mapping.forward(z, c, Truncation::psi(0.7)); // [1, layers, w]
    let image = generator
        .synthesis
        .forward(ws, &SynthesisOptions::default()); // [1, C, R, R]
    let picture = to_pixels(image, Rounding::Generate).remove(0);
    let color = match picture.channels {
        1 => image::ExtendedColorType::L8,
        3 => image::ExtendedColorType::Rgb8,
        _ => return Err("only gray and colour pictures are written here".into()),
    };
    let (width, height) = (picture.width as u32, picture.height as u32);
    let out = args.get(2).map_or("seed.png", String::as_str);
    image::save_buffer(out, &picture.data, width, height, color)?;
    Ok(())
}
