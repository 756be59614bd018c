//! Cohorts: shards, restarts, gathering, and what is set aside.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor};
use latent_inversion::cohort::{
    Cohort, CohortProgress, CohortResult, Entry, Manifest, gather, read_latents,
};
use latent_inversion::lpips::Lpips;
use latent_inversion::{
    Decoder, Error, Inverter, Method, Photo, PhotoLimits, StyleGan2, Tools, WDistribution,
    broadcast,
};

use stylegan2_burn::Precision;

use crate::projector::generator;

struct Bench {
    decoder: StyleGan2,
    lpips: Lpips,
    distribution: WDistribution,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let device = Device::default();
        let decoder = generator(&device);
        Self {
            lpips: Lpips::alexnet(&device).unwrap(),
            distribution: WDistribution::estimate(&decoder, 300, 1).unwrap(),
            folder: tempfile::tempdir().unwrap(),
            decoder,
        }
    }

    fn tools(&self) -> Tools<'_> {
        Tools {
            decoder: &self.decoder,
            lpips: &self.lpips,
            distribution: &self.distribution,
            encoder: None,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Five pictures, `a` twice the size, and two that are none.
    fn photos(&self) -> Manifest {
        let photos = self.path("photos");
        std::fs::create_dir(&photos).unwrap();
        let z = stylegan2_burn::seed::latents(&[1, 2, 3, 4, 5], 32, &self.decoder.device());
        let ws = broadcast(self.decoder.map(z), self.decoder.num_ws());
        let images = self.decoder.decode(ws, None);
        for (k, name) in ["a", "b", "c", "e", "g"].iter().enumerate() {
            let photo = Photo::from_tensor(images.clone().slice_dim(0, k..k + 1)).unwrap();
            let photo = if k == 0 { doubled(&photo) } else { photo };
            photo.save_png(photos.join(format!("{name}.png"))).unwrap();
        }
        std::fs::write(photos.join("d.png"), b"\x89PNG\r\n\x1a\ncut").unwrap();
        let small = Photo::from_rgb(20, 32, vec![7; 20 * 32 * 3]).unwrap();
        small.save_png(photos.join("f.png")).unwrap();
        Manifest::of_folder(&photos).unwrap()
    }
}

fn doubled(photo: &Photo) -> Photo {
    let (w, h) = (photo.width(), photo.height());
    let pixel = |y: usize, x: usize| photo.rgb()[(y / 2 * w + x / 2) * 3..][..3].to_vec();
    let rgb = (0..4 * w * h).flat_map(|at| pixel(at / (2 * w), at % (2 * w)));
    Photo::from_rgb(2 * w, 2 * h, rgb.collect()).unwrap()
}

fn cohort(batch: usize, shard: &str) -> Cohort {
    Cohort {
        inverter: Inverter::new(Method::Hybrid).with_steps(3).with_seed(2),
        batch,
        shard: shard.parse().unwrap(),
        ..Cohort::default()
    }
}

fn on(_: &CohortProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn run(bench: &Bench, cohort: &Cohort, photos: &Manifest, out: &Path) -> CohortResult {
    let result = cohort.run(&bench.tools(), photos, out, &mut on);
    result.unwrap().unwrap()
}

/// The bits of a photo do not depend on batch, shard or interruption; gathered shards are the file
/// of one run.
#[test]
fn shards_and_restarts_give_the_same_bits() {
    let bench = Bench::new();
    let photos = bench.photos();
    let whole = run(&bench, &cohort(4, "0/1"), &photos, &bench.path("whole"));
    assert_eq!(
        (whole.status.len(), whole.inverted(), whole.earlier),
        (7, 5, 0)
    );
    let reasons: Vec<_> = whole
        .status
        .iter()
        .filter_map(|s| s.reason.as_ref())
        .collect();
    assert!(
        reasons.len() == 2 && reasons[1].contains("20 x 32"),
        "{reasons:?}"
    );
    let expected = std::fs::read(&whole.latents).unwrap();

    for shard in 0..3 {
        let cohort = cohort(1 + shard, &format!("{shard}/3"));
        run(
            &bench,
            &cohort,
            &photos,
            &bench.path(&format!("s{}", shard % 2)),
        );
    }
    let gathered = bench.path("gathered.safetensors");
    let folders = [bench.path("s0"), bench.path("s1")];
    let found = gather(&folders, &gathered).unwrap();
    assert_eq!((found.shards, found.status.len()), (3, 7));
    assert!(std::fs::read(&gathered).unwrap() == expected);
    let (ids, w, w_plus) = read_latents(&gathered, &Device::default()).unwrap();
    assert_eq!(ids, ["a", "b", "c", "e", "g"]);
    assert_eq!((w.dims(), w_plus.dims()), ([5, 32], [5, 8, 32]));

    // Broken off in the second batch; then one of the parts is lost and one cut short.
    let out = bench.path("stopped");
    let one = cohort(1, "0/1");
    let stopped = one.run(&bench.tools(), &photos, &out, &mut |p| {
        if p.done == 4 && p.within > 0.0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(stopped.unwrap().is_none());
    assert!(one.is_begun(&out) && !out.join("latents.safetensors").exists());
    let mut parts: Vec<_> = std::fs::read_dir(out.join("latents.parts"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    parts.sort();
    assert_eq!(parts.len(), 4);
    std::fs::remove_file(&parts[0]).unwrap();
    let bytes = std::fs::read(&parts[1]).unwrap();
    std::fs::write(&parts[1], &bytes[..bytes.len() - 9]).unwrap();
    let again = run(&bench, &one, &photos, &out);
    assert_eq!(again.earlier, 2);
    assert!(std::fs::read(&again.latents).unwrap() == expected);
    assert!(!out.join("latents.parts").exists());
    let table = std::fs::read_to_string(&again.table).unwrap();
    assert_eq!(table.lines().count(), 8);
    // All is done: nothing is done again.
    let third = run(&bench, &one, &photos, &out);
    assert_eq!((third.earlier, third.inverted()), (7, 5));

    // Other settings are no continuation.
    let mut other = one.clone();
    other.inverter.seed = 9;
    let error = other
        .run(&bench.tools(), &photos, &out, &mut on)
        .unwrap_err();
    assert!(error.to_string().contains("other settings"), "{error}");
}

/// A photo that is replaced under its name is done again, without harm to those of its batch; once the
/// shard is finished it is refused, and so it is when shards are gathered.
#[test]
fn a_replaced_photo_does_not_keep_the_old_latent() {
    let bench = Bench::new();
    let photos = bench.photos();
    let replace = || {
        let other = Photo::open(bench.path("photos/g.png"), &PhotoLimits::default()).unwrap();
        other.save_png(bench.path("photos/a.png")).unwrap();
    };
    let out = bench.path("out");
    let three = cohort(3, "0/1");
    let stopped = three.run(&bench.tools(), &photos, &out, &mut |p| {
        if p.done == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(stopped.unwrap().is_none());
    let original = std::fs::read(bench.path("photos/a.png")).unwrap();
    replace();
    let resumed = run(&bench, &three, &photos, &out);
    assert_eq!(resumed.earlier, 2);
    let whole = run(&bench, &three, &photos, &bench.path("whole"));
    assert!(std::fs::read(&resumed.latents).unwrap() == std::fs::read(&whole.latents).unwrap());

    let shard = cohort(3, "0/2");
    run(&bench, &shard, &photos, &out);
    std::fs::write(bench.path("photos/a.png"), original).unwrap();
    let error = shard.run(&bench.tools(), &photos, &out, &mut on);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("photo `a`"), "{error}");
    run(&bench, &cohort(3, "1/2"), &photos, &bench.path("rest"));
    std::fs::remove_file(out.join("latents.safetensors")).unwrap();
    let folders = [out, bench.path("rest")];
    let gathered = bench.path("gathered.safetensors");
    let error = gather(&folders, &gathered).unwrap_err().to_string();
    assert!(error.contains("photo `a`"), "{error}");
    // Where the photos are not at hand there is nothing to compare.
    std::fs::rename(bench.path("photos"), bench.path("elsewhere")).unwrap();
    assert_eq!(gather(&folders, &gathered).unwrap().status.len(), 7);
}

/// Latents found with another LPIPS, or in another precision, do not mix.
#[test]
fn what_latents_depend_on_is_part_of_the_settings() {
    let bench = Bench::new();
    let photos = bench.photos();
    let out = bench.path("out");
    let one = cohort(3, "0/1");
    run(&bench, &one, &photos, &out);
    let lpips = bench.lpips.clone().with_normalize(true);
    let half = bench.decoder.clone().with_precision(Precision::F16);
    let published = WDistribution::from_random_state(&bench.decoder, 300, 1).unwrap();
    for tools in [
        Tools {
            lpips: &lpips,
            ..bench.tools()
        },
        Tools {
            decoder: &half,
            ..bench.tools()
        },
        Tools {
            distribution: &WDistribution::estimate(&bench.decoder, 301, 1).unwrap(),
            ..bench.tools()
        },
    ] {
        let error = one.run(&tools, &photos, &out, &mut on).unwrap_err();
        assert!(error.to_string().contains("other settings"), "{error}");
    }
    let [median, most] = published.typical();
    assert!(median < most && most < 2.0 * median, "{median} {most}");
}

/// The generator on a device that has room for two pictures at once, and for none after some calls;
/// what it says then is what Burn's back ends say.
struct Cramped<'a> {
    inner: &'a StyleGan2,
    calls: AtomicUsize,
    fails_from: usize,
}

impl Decoder for Cramped<'_> {
    fn shape(&self) -> [usize; 3] {
        self.inner.shape()
    }

    fn num_ws(&self) -> usize {
        self.inner.num_ws()
    }

    fn w_dim(&self) -> usize {
        self.inner.w_dim()
    }

    fn z_dim(&self) -> usize {
        self.inner.z_dim()
    }

    fn device(&self) -> Device {
        self.inner.device()
    }

    fn map(&self, z: Tensor<2>) -> Tensor<2> {
        self.inner.map(z)
    }

    fn decode(&self, ws: Tensor<3>, noise: Option<&[Tensor<4>]>) -> Tensor<4> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        assert!(
            ws.dims()[0] <= 2 && call < self.fails_from,
            "Error while reading data: use `try_into_data` instead to catch the error at runtime: \
             WithContext {{ reason: \"An IO error happened\\nCaused by:\\n  out of device memory \
             allocating 536870912 bytes\" }}"
        );
        self.inner.decode(ws, noise)
    }

    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }
}

/// With half the batch the run goes on, says so, and gives the bits of that batch; when nothing helps
/// it ends with an error, and what it did is there for the next run.
#[test]
fn a_full_memory_halves_the_batch_and_loses_nothing() {
    let bench = Bench::new();
    let photos = bench.photos();
    let expected = run(&bench, &cohort(2, "0/1"), &photos, &bench.path("two"));
    let expected = std::fs::read(expected.latents).unwrap();
    let cramped = |fails_from| Cramped {
        inner: &bench.decoder,
        calls: AtomicUsize::new(0),
        fails_from,
    };

    let decoder = cramped(usize::MAX);
    let tools = Tools {
        decoder: &decoder,
        ..bench.tools()
    };
    let mut seen = Vec::new();
    let halved = cohort(4, "0/1").run(&tools, &photos, bench.path("halved"), &mut |p| {
        seen.push((p.at_once, p.done));
        ControlFlow::Continue(())
    });
    let halved = halved.unwrap().unwrap();
    seen.dedup_by_key(|(at_once, _)| *at_once);
    assert_eq!(seen, [(4, 0), (2, 0)]);
    assert!(std::fs::read(&halved.latents).unwrap() == expected);

    // Two batches of two are done, with five calls each, when the memory is gone for good.
    let decoder = cramped(15);
    let tools = Tools {
        decoder: &decoder,
        ..bench.tools()
    };
    let out = bench.path("full");
    let error = cohort(4, "0/1")
        .run(&tools, &photos, &out, &mut on)
        .unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert!(error.to_string().contains("536870912 bytes"), "{error}");
    let resumed = run(&bench, &cohort(2, "0/1"), &photos, &out);
    assert_eq!(resumed.earlier, 4);
    assert!(std::fs::read(&resumed.latents).unwrap() == expected);
}

#[test]
fn gathering_checks_what_there_is() {
    let bench = Bench::new();
    let photos = bench.photos();
    let entries = photos.entries()[1..4].to_vec();
    let with_patients = entries.into_iter().map(|e| Entry {
        patient: Some(format!("P{}", &e.id)),
        ..e
    });
    let photos = Manifest::new(with_patients.collect()).unwrap();
    let out = bench.path("out");
    let file = bench.path("all.safetensors");
    let says = |text: &str| {
        let error = gather(&[&out], &file).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }));
        assert!(error.to_string().contains(text), "{error}");
        assert!(!file.exists());
    };
    std::fs::create_dir(&out).unwrap();
    says("nothing to gather");
    run(&bench, &cohort(2, "0/2"), &photos, &out);
    says("shards are missing: 1/2");
    run(&bench, &cohort(2, "1/2"), &photos, &out);
    let first = out.join("latents-00000-of-00002.safetensors");
    let copy = out.join("latents-00000-of-00003.safetensors");
    std::fs::copy(&first, &copy).unwrap();
    says("shard 0/2 is in");
    std::fs::remove_file(&copy).unwrap();
    let mut other = cohort(2, "0/2");
    other.inverter.seed = 1;
    run(&bench, &other, &photos, &bench.path("other"));
    let theirs = bench
        .path("other")
        .join("latents-00000-of-00002.safetensors");
    let ours = std::fs::read(&first).unwrap();
    std::fs::copy(&theirs, &first).unwrap();
    says("other settings");
    std::fs::write(&first, ours).unwrap();
    let found = gather(&[&out], &file).unwrap();
    let patients: Vec<_> = found.status.iter().map(|s| s.patient.as_deref()).collect();
    assert_eq!(patients, [Some("Pb"), Some("Pc"), Some("Pd")]);
    let header = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
    assert!(
        header.contains(r#""patients":"[\"Pb\",\"Pc\"]""#),
        "{}",
        &header[..400]
    );
    let seconds = found
        .status
        .iter()
        .filter_map(|s| s.quality)
        .map(|q| q.seconds);
    assert!(seconds.clone().count() == 2 && seconds.fold(1.0, f64::min) > 0.0);
}

/// Own samples come out trusted, noise does not; the encoder's method asks for an encoder.
#[test]
fn quality_tells_samples_from_noise() {
    let bench = Bench::new();
    let z = stylegan2_burn::seed::latents(&[5], 32, &bench.decoder.device());
    let ws = broadcast(bench.decoder.map(z), bench.decoder.num_ws());
    let sample = bench.decoder.decode(ws, None).clamp(-1.0, 1.0);
    let noise = sample
        .clone()
        .random_like(burn::tensor::Distribution::Uniform(-1.0, 1.0));
    let images = Tensor::cat(vec![sample, noise], 0);
    let invert = |method| {
        let mut inverter = Inverter::new(method).with_steps(180);
        // This network's pictures are noise themselves.
        inverter.thresholds.lpips_w = 0.1;
        inverter.invert(&bench.tools(), images.clone(), &["a", "b"], &mut |_, _| {
            ControlFlow::Continue(())
        })
    };
    let found = invert(Method::Hybrid).unwrap().unwrap();
    let [own, noise] = [found[0].quality, found[1].quality];
    assert!(own.trusted && !noise.trusted, "{own}; {noise}");
    assert!(
        own.psnr > noise.psnr && own.lpips <= own.lpips_w + 1e-3,
        "{own}; {noise}"
    );
    assert_eq!(own.iterations, 180);
    assert_eq!((found[0].w.len(), found[0].w_plus.len()), (32, 8 * 32));
    let error = invert(Method::Default).unwrap_err().to_string();
    assert!(error.contains("encoder"), "{error}");
    // W+ of the projector is w in every row.
    let found = Inverter::new(Method::Projector).with_steps(2);
    let found = found.invert(&bench.tools(), images.clone(), &["a", "b"], &mut |_, _| {
        ControlFlow::Continue(())
    });
    let found = found.unwrap().unwrap();
    for row in found[1].w_plus.chunks_exact(32) {
        assert_eq!(row, found[1].w);
    }
    // What is reported is the quality of what is stored, not of the noise images found beside it.
    let w = Tensor::<1>::from_floats(found[0].w.as_slice(), &bench.decoder.device());
    let picture = broadcast(w.reshape([1, 32]), bench.decoder.num_ws());
    let picture = bench.decoder.decode(picture, None).clamp(-1.0, 1.0);
    let photo = images.slice_dim(0, 0..1);
    let features = |x: Tensor<4>| bench.lpips.features(x);
    let distance = bench.lpips.distance(&features(picture), &features(photo));
    let distance = f64::from(distance.into_scalar::<f32>());
    let reported = found[0].quality;
    assert!(
        (reported.lpips_w - distance).abs() < 1e-5,
        "{reported} {distance}"
    );
    assert!(
        (reported.lpips - distance).abs() < 1e-5,
        "{reported} {distance}"
    );
}

/// A photo that w's picture meets keeps w in every row of W+; the others are refined, with the bits they
/// have alone.
#[test]
fn what_w_has_met_is_not_refined() {
    let bench = Bench::new();
    let z = stylegan2_burn::seed::latents(&[5, 6, 7], 32, &bench.decoder.device());
    let ws = broadcast(bench.decoder.map(z), bench.decoder.num_ws());
    let images = bench.decoder.decode(ws, None).clamp(-1.0, 1.0);
    let mut inverter = Inverter::new(Method::Hybrid).with_steps(30);
    assert!(inverter.close < 1e-12);
    let mut invert = |close: f64, images: Tensor<4>, ids: &[&str]| {
        inverter.close = close;
        let found = inverter.invert(&bench.tools(), images, ids, &mut |_, _| {
            ControlFlow::Continue(())
        });
        found.unwrap().unwrap()
    };
    let all = invert(0.0, images.clone(), &["a", "b", "c"]);
    let mut distances: Vec<f64> = all.iter().map(|f| f.quality.lpips_w).collect();
    distances.sort_by(f64::total_cmp);
    for close in [distances[0], distances[1]] {
        let some = invert(close, images.clone(), &["a", "b", "c"]);
        for (k, (found, before)) in some.iter().zip(&all).enumerate() {
            assert_eq!(found.w, before.w);
            if found.quality.lpips_w <= close {
                assert!(found.w_plus.chunks_exact(32).all(|row| row == found.w));
                assert_eq!(found.quality.iterations, 20);
                assert!((found.quality.lpips - found.quality.lpips_w).abs() < 1e-12);
            } else {
                assert_eq!(found.w_plus, before.w_plus, "photo {k}");
                assert_eq!(found.quality.iterations, 30);
                let alone = images.clone().slice_dim(0, k..k + 1);
                let alone = invert(close, alone, &[["a", "b", "c"][k]]);
                assert_eq!(found.w_plus, alone[0].w_plus);
            }
        }
    }
}

/// A photo that was missing when the shard was finished is not set aside for good without a word.
#[test]
fn a_photo_that_has_come_since_is_noticed() {
    let bench = Bench::new();
    let photos = bench.photos();
    let away = bench.path("away.png");
    std::fs::rename(bench.path("photos/b.png"), &away).unwrap();
    let out = bench.path("out");
    let one = cohort(3, "0/1");
    let first = run(&bench, &one, &photos, &out);
    assert_eq!(first.inverted(), 4);
    assert_eq!(run(&bench, &one, &photos, &out).earlier, 7);
    std::fs::rename(&away, bench.path("photos/b.png")).unwrap();
    let error = one.run(&bench.tools(), &photos, &out, &mut on).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("photo `b`") && text.contains("could not be read"),
        "{text}"
    );
    let error = gather(&[out], bench.path("all.safetensors")).unwrap_err();
    assert!(error.to_string().contains("photo `b`"), "{error}");
}

/// The generator with pictures that are no numbers for one latent.
struct Broken<'a>(&'a StyleGan2);

impl Decoder for Broken<'_> {
    fn shape(&self) -> [usize; 3] {
        self.0.shape()
    }

    fn num_ws(&self) -> usize {
        self.0.num_ws()
    }

    fn w_dim(&self) -> usize {
        self.0.w_dim()
    }

    fn z_dim(&self) -> usize {
        self.0.z_dim()
    }

    fn device(&self) -> Device {
        self.0.device()
    }

    fn map(&self, z: Tensor<2>) -> Tensor<2> {
        self.0.map(z)
    }

    fn decode(&self, ws: Tensor<3>, noise: Option<&[Tensor<4>]>) -> Tensor<4> {
        let images = self.0.decode(ws, noise);
        let last = images.dims()[0] - 1;
        let first = images.clone().slice_dim(0, 0..last);
        let last = images.slice_dim(0, last..last + 1) * f64::NAN;
        Tensor::cat(vec![first, last], 0)
    }

    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}

/// Whichever step finds out, the photo is named; nothing that cannot be read again is written.
#[test]
fn a_picture_of_no_numbers_names_its_photo() {
    let bench = Bench::new();
    let photos = bench.photos();
    let decoder = Broken(&bench.decoder);
    let tools = Tools {
        decoder: &decoder,
        ..bench.tools()
    };
    for (out, steps) in [("adam", 2), ("none", 0)] {
        let mut cohort = cohort(2, "0/1");
        cohort.inverter.in_w.steps = steps;
        cohort.inverter.in_w_plus.steps = steps;
        let error = cohort.run(&tools, &photos, bench.path(out), &mut on);
        let error = error.unwrap_err();
        assert!(
            matches!(error, Error::NotFinite { index: 1, .. }),
            "{error:?}"
        );
        assert!(error.to_string().starts_with("photo `b`: "), "{error}");
        assert!(!bench.path(out).join("latents.parts").exists());
    }
}
