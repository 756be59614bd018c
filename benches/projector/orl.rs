//! The portraits of ORL, from files to latents.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use cpu_time::ProcessTime;
use latent_inversion::align::{AlignSettings, Aligner};
use latent_inversion::cohort::{Cohort, Manifest};
use latent_inversion::{Decoder, Method, Photo, PhotoLimits};

use crate::{Fallible, Shipped};

/// Aligns and inverts the first so many portraits.
pub(crate) fn orl(shipped: &Shipped, photos: usize) -> Fallible<()> {
    let portraits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/orl");
    let manifest = Manifest::of_folder(portraits)?;
    let folder = tempfile::tempdir()?;
    let faces = folder.path().join("faces");
    std::fs::create_dir(&faces)?;
    let clock = || (Instant::now(), ProcessTime::now());
    let since = |(wall, cpu): (Instant, ProcessTime)| {
        (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64())
    };

    let began = clock();
    let settings = AlignSettings::default().with_size(shipped.decoder.shape()[1]);
    let aligner = Aligner::new(settings, &shipped.decoder.device())?;
    let mut aligned = 0;
    for entry in manifest.entries().iter().take(photos) {
        let photo = Photo::open(&entry.path, &PhotoLimits::default())?;
        if let Ok(face) = aligner.align(&photo)? {
            face.picture
                .save_png(faces.join(format!("{}.png", entry.id)))?;
            aligned += 1;
        }
    }
    let (align_wall, align_cpu) = since(began);

    let began = clock();
    let cohort = Cohort {
        inverter: shipped.inverter(Method::Default),
        ..Cohort::default()
    };
    let manifest = Manifest::of_folder(&faces)?;
    let out = folder.path().join("out");
    let on = &mut |_: &_| ControlFlow::Continue(());
    let found = cohort.run(&shipped.tools(), &manifest, out, on)?;
    let found = found.ok_or("broken off")?;
    let (wall, cpu) = since(began);
    let qualities = found.status.iter().filter_map(|s| s.quality);
    let lpips: f64 = qualities.map(|q| q.lpips_w).sum();
    println!(
        "{{\"photos\":{aligned},\"align_wall\":{align_wall:.1},\"align_cpu\":{align_cpu:.1},\
         \"inverted\":{},\"trusted\":{},\"lpips_w\":{:.4},\"wall\":{wall:.1},\"cpu\":{cpu:.1}}}",
        found.inverted(),
        found.trusted(),
        lpips / found.inverted().max(1) as f64
    );
    Ok(())
}
