//! The verbs about networks, on the reference checkpoints.

use std::io::Write as _;
use std::path::Path;

use crate::support::{Run, files, network, npy, run, run_in, tensor, worst, write_npy};

#[track_caller]
fn succeeds(folder: &Path, line: &str) -> Run {
    let run = run_in(folder, line);
    assert_eq!(run.code, Some(0), "{line}: {}", run.stderr);
    run
}

fn pixels(path: &Path) -> (image::ColorType, (u32, u32), Vec<f32>) {
    let picture = image::open(path).expect("a picture");
    let size = (picture.width(), picture.height());
    let bytes = picture.as_bytes().iter().map(|&b| f32::from(b)).collect();
    (picture.color(), size, bytes)
}

/// Labels, float images, w, bytes, a grid: everything `generate` gives against the original's.
#[test]
fn latents_give_the_original_pictures_floats_and_w() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let io = "official_cond32_io.safetensors";
    write_npy(&dir.join("z.npy"), &[4, 24], &tensor(io, "z"));
    write_npy(&dir.join("c.npy"), &[4, 5], &tensor(io, "c"));
    let network = network("official_cond32.pkl");
    let generate = format!("generate --network {network} --z z.npy --c c.npy");
    succeeds(
        dir,
        &format!("{generate} --out out --raw out/raw.npy --save-w w.npy --grid 3x2"),
    );
    let (shape, w) = npy(&dir.join("w.npy"));
    assert_eq!(shape, [4, 8, 32]);
    assert!(worst(&w, &tensor(io, "ws")) < 1e-5);
    let (shape, raw) = npy(&dir.join("out/raw.npy"));
    assert_eq!(shape, [4, 3, 32, 32]);
    assert!(worst(&raw, &tensor(io, "img_const")) < 1e-4);
    assert_eq!(
        files(&dir.join("out")),
        [
            "grid.png",
            "image00000.png",
            "image00001.png",
            "image00002.png",
            "image00003.png",
            "raw.npy"
        ]
    );
    let golden = tensor(io, "img_u8");
    let mut off = 0;
    for k in 0..4 {
        let (color, size, bytes) = pixels(&dir.join(format!("out/image{k:05}.png")));
        assert_eq!((color, size), (image::ColorType::Rgb8, (32, 32)));
        let golden = &golden[k * bytes.len()..(k + 1) * bytes.len()];
        assert!(worst(&bytes, golden) <= 1.0, "picture {k}");
        off += bytes
            .iter()
            .zip(golden)
            .filter(|(a, b)| (*a - *b).abs() > 0.5)
            .count();
    }
    // Cut off, not rounded: the other way would move half of all values.
    assert!(
        off * 1000 < golden.len(),
        "{off} of {} values",
        golden.len()
    );
    let (_, size, grid) = pixels(&dir.join("out/grid.png"));
    assert_eq!(size, (96, 64));
    assert_eq!(grid[..96], pixels(&dir.join("out/image00000.png")).2[..96]);
    assert!(grid[grid.len() - 96..].iter().all(|&v| v == 0.0), "black");

    for (flags, golden) in [
        ("--noise none", "img_none"),
        ("--trunc 0.7", "img_const_psi0.7"),
    ] {
        succeeds(dir, &format!("{generate} {flags} --out two --raw two.npy"));
        let (_, raw) = npy(&dir.join("two.npy"));
        assert!(worst(&raw, &tensor(io, golden)) < 1e-4, "{flags}");
    }
}

/// w that was saved gives the pictures again, from each of the formats and ranks.
#[test]
fn saved_w_gives_the_same_floats_from_every_kind_of_file() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let io = "official_uncond32_io.safetensors";
    let network = network("official_uncond32.pkl");
    let generate = format!("generate --network {network} --out out --raw raw.npy");
    succeeds(
        dir,
        &format!("{generate} --seeds 0-1,85 --save-w w.npy --trunc 0.5"),
    );
    let seeds = npy(&dir.join("raw.npy")).1;
    succeeds(dir, &format!("{generate} --w w.npy"));
    assert_eq!(npy(&dir.join("raw.npy")).1, seeds);

    // numpy's RandomState(85), truncated as the reference does.
    let wplus = tensor(io, "ws_plus");
    let rows = (wplus.len() / (8 * 32)) as u64;
    write_npy(&dir.join("plus.npy"), &[rows, 8, 32], &wplus);
    succeeds(dir, &format!("{generate} --w plus.npy"));
    assert!(worst(&npy(&dir.join("raw.npy")).1, &tensor(io, "img_wplus")) < 1e-4);

    let ws = tensor(io, "ws");
    let w: Vec<f32> = ws.chunks(8 * 32).flat_map(|ws| ws[..32].to_vec()).collect();
    let rows = (w.len() / 32) as u64;
    let bytes: Vec<u8> = w.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape = vec![w.len() / 32, 32];
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &bytes);
    let (w_view, other) = (
        view.unwrap(),
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).unwrap(),
    );
    let file = safetensors::serialize([("w", w_view), ("other", other)], None).unwrap();
    std::fs::write(dir.join("w.safetensors"), file).unwrap();
    write_npy(&dir.join("flat.npy"), &[rows, 32], &w);
    let mut archive = zip::ZipWriter::new(std::fs::File::create(dir.join("w.npz")).unwrap());
    archive
        .start_file("w.npy", zip::write::SimpleFileOptions::default())
        .unwrap();
    archive
        .write_all(&std::fs::read(dir.join("flat.npy")).unwrap())
        .unwrap();
    archive.finish().unwrap();
    for file in ["flat.npy", "w.npz", "w.safetensors"] {
        succeeds(dir, &format!("{generate} --w {file}"));
        let raw = npy(&dir.join("raw.npy")).1;
        assert!(worst(&raw, &tensor(io, "img_const")) < 1e-4, "{file}");
    }
}

#[test]
fn a_seed_gives_the_same_picture_in_any_list_with_fresh_noise_too() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let network = network("official_gray16_resnetG_skipD.pkl");
    let generate = format!("generate --network {network}");
    for noise in ["const", "random"] {
        succeeds(
            dir,
            &format!("{generate} --seeds 3-5 --noise {noise} --out a"),
        );
        succeeds(
            dir,
            &format!("{generate} --seeds 5,9 --noise {noise} --out b"),
        );
        let bytes = |path: &str| std::fs::read(dir.join(path)).unwrap();
        assert_eq!(bytes("a/seed0005.png"), bytes("b/seed0005.png"), "{noise}");
        assert_ne!(bytes("b/seed0009.png"), bytes("b/seed0005.png"));
    }
    let (color, size, _) = pixels(&dir.join("a/seed0003.png"));
    assert_eq!((color, size), (image::ColorType::L8, (16, 16)));
    let fresh = std::fs::read(dir.join("a/seed0003.png")).unwrap();
    succeeds(dir, &format!("{generate} --seeds 3 --out c"));
    assert_ne!(fresh, std::fs::read(dir.join("c/seed0003.png")).unwrap());
}

#[test]
fn a_class_is_its_one_hot_label() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let network = network("official_cond32.pkl");
    let generate = format!("generate --network {network} --seeds 7,8");
    write_npy(&dir.join("c.npy"), &[1, 5], &[0.0, 0.0, 1.0, 0.0, 0.0]);
    succeeds(dir, &format!("{generate} --class 2 --out a"));
    succeeds(dir, &format!("{generate} --c c.npy --out b"));
    succeeds(dir, &format!("{generate} --class 3 --out c"));
    let bytes = |path: &str| std::fs::read(dir.join(path)).unwrap();
    assert_eq!(bytes("a/seed0008.png"), bytes("b/seed0008.png"));
    assert_ne!(bytes("a/seed0008.png"), bytes("c/seed0008.png"));

    run_in(dir, &format!("{generate} --out d")).fails(2, &["5 classes", "--class"]);
    run_in(dir, &format!("{generate} --class 5 --out d")).fails(2, &["classes 0 to 4"]);
    run_in(dir, &format!("{generate} --class 1 --c c.npy --out d")).fails(2, &["--class"]);
    write_npy(&dir.join("c.npy"), &[3, 5], &[0.0; 15]);
    run_in(dir, &format!("{generate} --c c.npy --out d")).fails(2, &["3 labels for 2"]);
    write_npy(&dir.join("c.npy"), &[2, 4], &[0.0; 8]);
    run_in(dir, &format!("{generate} --c c.npy --out d")).fails(1, &["c.npy", "[N, 5]"]);
    assert!(!dir.join("d").exists(), "a refused call leaves nothing");
}

#[test]
fn logits_are_the_original_ones() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let io = "official_cond32_io.safetensors";
    write_npy(&dir.join("c.npy"), &[4, 5], &tensor(io, "c"));
    write_npy(
        &dir.join("x.npy"),
        &[4, 3, 32, 32],
        &tensor(io, "img_const"),
    );
    let network = network("official_cond32.pkl");
    let line = format!("discriminate --network {network} --images x.npy");
    succeeds(dir, &format!("{line} --c c.npy --raw logits.npy"));
    let (shape, logits) = npy(&dir.join("logits.npy"));
    assert_eq!(shape, [4, 1]);
    let golden = tensor(io, "logits_fake");
    let size = golden.iter().map(|v| v * v).sum::<f32>().sqrt();
    assert!(worst(&logits, &golden) < 1e-5 * size);

    run_in(dir, &format!("{line} --raw l.npy")).fails(2, &["5 classes"]);
    write_npy(&dir.join("x.npy"), &[4, 3, 16, 16], &[0.0; 3072]);
    run_in(dir, &format!("{line} --c c.npy --raw l.npy")).fails(1, &["x.npy", "[N, 3, 32, 32]"]);
    write_npy(&dir.join("x.npy"), &[1, 3, 32, 32], &[f32::NAN; 3072]);
    run_in(dir, &format!("{line} --c c.npy --raw l.npy")).fails(1, &["[0, 0, 0, 0]", "NaN"]);
    assert!(!dir.join("l.npy").exists());
    write_npy(&dir.join("x.npy"), &[5, 3, 32, 32], &vec![0.0; 5 * 3072]);
    write_npy(&dir.join("c.npy"), &[5, 5], &[0.0; 25]);
    run_in(dir, &format!("{line} --c c.npy --raw l.npy")).fails(1, &["5 images", "groups of 2"]);
}

#[test]
fn converted_files_give_the_same_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for (k, file) in [
        "official_uncond32.pkl",
        "official_uncond32_proto3.pkl",
        "rosinality_uncond32.pt",
        "tf_uncond32_proto4.pkl",
    ]
    .into_iter()
    .enumerate()
    {
        let original = network(file);
        let ours = format!("n{k}.safetensors");
        succeeds(dir, &format!("convert {original} {ours}"));
        let generate = |network: &str, out: &str| {
            succeeds(
                dir,
                &format!("generate --network {network} --seeds 85 --trunc 0.7 --out {out}"),
            );
            std::fs::read(dir.join(out).join("seed0085.png")).unwrap()
        };
        assert_eq!(generate(&original, "a"), generate(&ours, "b"), "{file}");
    }
    let original = network("official_uncond32.pkl");
    succeeds(
        dir,
        &format!("convert {original} g.safetensors --which G_ema --f16"),
    );
    let size = |name: &str| std::fs::metadata(dir.join(name)).unwrap().len();
    assert!(size("g.safetensors") * 4 < size("n0.safetensors"));
    let json = run_in(dir, "inspect g.safetensors --json").json();
    assert_eq!(json["networks"].as_object().unwrap().len(), 1);
    assert_eq!(json["networks"]["G_ema"]["tensors"][0]["dtype"], "f16");
    // Onto itself: what is read is read before the new file takes its place.
    succeeds(dir, "convert n0.safetensors n0.safetensors --which D");
    assert!(run_in(dir, "inspect n0.safetensors --json").json()["networks"]["G"].is_null());

    run_in(dir, &format!("convert {original} x.safetensors --which H"))
        .fails(2, &["`H`", "G, D, G_ema"]);
    run_in(dir, &format!("convert {original} x.pkl")).fails(2, &[".safetensors"]);
    assert!(!dir.join("x.safetensors").exists());
}

#[test]
fn inspect_tells_format_architecture_sizes_and_tensors() {
    let network = network("official_gray16_resnetG_skipD.pkl");
    let text = run(&format!("inspect {network}"));
    assert_eq!(text.code, Some(0));
    for words in [
        "NVIDIA pickle",
        "G_ema",
        "generator, resnet",
        "discriminator, skip",
        "16 x 16 x 1",
        "G_ema.synthesis.b4.const",
    ] {
        assert!(text.stdout.contains(words), "{words}: {}", text.stdout);
    }
    let json = run(&format!("inspect {network} --json")).json();
    assert_eq!(json["format"], "nvidia-pickle");
    let (g, d) = (&json["networks"]["G_ema"], &json["networks"]["D"]);
    assert_eq!(g["kind"], "generator");
    assert_eq!(g["architecture"], "resnet");
    assert_eq!((&g["resolution"], &g["channels"]), (&16.into(), &1.into()));
    assert_eq!(g["num_ws"], 6);
    assert_eq!(
        (&d["kind"], &d["architecture"]),
        (&"discriminator".into(), &"skip".into())
    );
    assert_eq!(d["config"]["discriminator"]["resolution"], 16);
    let tensors = g["tensors"].as_array().unwrap();
    let trained = |name: &str| {
        !["noise_const", "w_avg", "resample_filter"]
            .iter()
            .any(|b| name.ends_with(b))
    };
    let count: u64 = tensors
        .iter()
        .filter(|t| trained(t["name"].as_str().unwrap()))
        .map(|t| -> u64 {
            let shape = t["shape"].as_array().unwrap();
            shape.iter().map(|s| s.as_u64().unwrap()).product()
        })
        .sum();
    assert_eq!(g["parameters"], count);
}

#[test]
fn the_shipped_network_is_taken_where_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let made = run_in(folder.path(), "generate --seeds 3 --out faces");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let picture = image::open(folder.path().join("faces/seed0003.png")).unwrap();
    let picture = picture.to_rgb8();
    assert_eq!(picture.dimensions(), (64, 64));
    // A face is neither flat nor noise: neighbours are nearer than pixels far apart.
    let gray = |x: u32, y: u32| f64::from(picture.get_pixel(x, y)[1]);
    let mean = |dx: u32| {
        let pairs = (0..64).flat_map(|y| (0..32).map(move |x| (x, y)));
        pairs
            .map(|(x, y)| (gray(x, y) - gray(x + dx, y)).abs())
            .sum::<f64>()
            / 2048.0
    };
    assert!(
        mean(32) > 10.0 && mean(1) < mean(32) / 2.0,
        "{} {}",
        mean(1),
        mean(32)
    );
}

#[test]
fn calls_that_cannot_be_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let network = network("official_uncond32.pkl");
    let generate = format!("generate --network {network} --out x");
    run_in(dir, &generate).fails(2, &["--seeds"]);
    run_in(dir, &format!("{generate} --seeds 1 --z z.npy")).fails(2, &["cannot be used with"]);
    for (flags, word) in [
        ("--seeds 3-1", "backwards"),
        ("--seeds -1", "-1"),
        ("--seeds one", "one"),
        ("--seeds 1 --trunc nan", "finite"),
        ("--seeds 1 --grid 4", "4x4"),
        ("--seeds 1 --noise loud", "loud"),
        ("--seeds 1 --class 0", "no labels"),
        ("--seeds 1 --which H", "G_ema"),
        ("--seeds 1 --which D", "as a generator"),
        ("--w w.npy --class 0", "--w"),
    ] {
        run_in(dir, &format!("{generate} {flags}")).fails(2, &[word]);
    }
    let mix = format!("style-mix --network {network} --rows 1 --cols 2 --out x");
    run_in(dir, &format!("{mix} --styles 0-8")).fails(2, &["layers 0 to 7"]);
    assert!(files(dir).is_empty(), "nothing was made");
}

#[test]
fn files_at_fault_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    run_in(dir, "inspect missing.pkl").fails(1, &["missing.pkl"]);
    let evil = b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.";
    std::fs::write(dir.join("evil.pkl"), evil).unwrap();
    for line in [
        "inspect evil.pkl",
        "convert evil.pkl x.safetensors",
        "generate --network evil.pkl --seeds 1 --out x",
        "discriminate --network evil.pkl --images i.npy --raw l.npy",
    ] {
        run_in(dir, line).fails(1, &["evil.pkl", "os.system"]);
    }
    let network = network("official_uncond32.pkl");
    let whole = std::fs::read(&network).unwrap();
    std::fs::write(dir.join("half.pkl"), &whole[..whole.len() / 2]).unwrap();
    run_in(dir, "inspect half.pkl").fails(1, &["half.pkl", "byte"]);
    std::fs::write(dir.join("text.pkl"), "weights\n").unwrap();
    run_in(dir, "inspect text.pkl").fails(1, &["text.pkl", "not a network file"]);

    let generate = format!("generate --network {network} --out x");
    write_npy(&dir.join("w.npy"), &[1, 3], &[0.0; 3]);
    run_in(dir, &format!("{generate} --w w.npy")).fails(1, &["w.npy", "[N, 32] or [N, 8, 32]"]);
    write_npy(&dir.join("w.npy"), &[0, 32], &[]);
    run_in(dir, &format!("{generate} --w w.npy")).fails(1, &["w.npy"]);
    let mut w = [0.0; 64];
    w[35] = f32::INFINITY;
    write_npy(&dir.join("w.npy"), &[2, 32], &w);
    run_in(dir, &format!("{generate} --w w.npy")).fails(1, &["w.npy", "[1, 3]", "inf"]);
    std::fs::write(dir.join("w.npy"), "text").unwrap();
    run_in(dir, &format!("{generate} --w w.npy")).fails(1, &["w.npy"]);
    run_in(dir, &format!("{generate} --z none.npy")).fails(1, &["none.npy"]);
    assert!(!dir.join("x").exists());
    let raw = format!("{generate} --seeds 1 --raw no/such/raw.npy");
    run_in(dir, &raw).fails(1, &["no/such"]);
    assert!(
        files(&dir.join("x")).is_empty(),
        "refused before the first picture"
    );
    std::fs::write(dir.join("file"), "").unwrap();
    let line = format!("generate --network {network} --seeds 1 --out file");
    run_in(dir, &line).fails(1, &["file"]);
}

/// A folder of pictures, each a smooth pattern of its own.
fn portraits(folder: &Path, count: u32, side: u32) {
    for k in 0..count {
        let picture = image::RgbImage::from_fn(side, side, |x, y| {
            let wave = |a: u32| ((x * a + y * (k + 2) + k * 37) % 256) as u8;
            image::Rgb([wave(3), wave(5), wave(7)])
        });
        picture.save(folder.join(format!("p{k:02}.png"))).unwrap();
    }
}

/// Distances are printed under the name of the feature network, the same for the same seeds, and
/// the nearest-neighbour distances of the pictures among themselves do not depend on the network.
#[test]
fn distances_of_generated_from_real_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join("data")).unwrap();
    portraits(&dir.join("data"), 6, 32);
    let network = network("official_uncond32.pkl");
    let line = format!("fd --network {network} --data data --images 5 --batch 3");
    let table = succeeds(dir, &line).stdout;
    assert!(table.contains("6 real and 5 generated"), "{table}");
    assert!(
        table.contains("FD-AlexNet") && !table.contains("FID"),
        "{table}"
    );
    let json = succeeds(dir, &format!("{line} --json")).json();
    assert_eq!(json["network"], "AlexNet");
    assert_eq!((&json["real"], &json["generated"]), (&6.into(), &5.into()));
    assert!(json["frechet"].as_f64().unwrap() > 0.0, "{json}");
    let again = succeeds(
        dir,
        &format!("{} --json", line.replace("--batch 3", "--batch 5")),
    )
    .json();
    let (a, b) = (json["frechet"].as_f64(), again["frechet"].as_f64());
    assert!((a.unwrap() / b.unwrap() - 1.0).abs() < 1e-4, "{a:?} {b:?}");
    let mean = succeeds(dir, &format!("{line} --json --trunc 0")).json();
    assert_eq!(json["nearest_among_real"], mean["nearest_among_real"]);
    assert_ne!(json["nearest_real"], mean["nearest_real"]);
    assert!(json["path_length"].is_null());
}

/// The path length does not depend on the batch, is named after its network, and grows with the latents'
/// distance from each other.
#[test]
fn path_lengths() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    portraits(dir, 4, 32);
    let network = network("official_uncond32.pkl");
    let line = format!("fd --network {network} --data . --images 4 --path-length 6");
    let table = succeeds(dir, &line).stdout;
    assert!(table.contains("PPL-AlexNet"), "{table}");
    let length = |more: &str| {
        let json = succeeds(dir, &format!("{line} --json {more}")).json();
        json["path_length"].as_f64().unwrap()
    };
    let (alone, together) = (length("--batch 1"), length("--batch 6"));
    assert!((alone / together - 1.0).abs() < 1e-2, "{alone} {together}");
    assert!(alone > 0.0 && length("--trunc 0.5") < alone);
}

#[test]
fn a_wrong_inception_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    portraits(dir, 4, 32);
    let network = network("official_uncond32.pkl");
    let line = format!("fd --network {network} --data . --inception");
    run_in(dir, &format!("{line} no.pth")).fails(1, &["no.pth"]);
    run_in(dir, &format!("{line} p00.png")).fails(1, &["p00.png", "not a network file"]);
    run_in(dir, &format!("{line} {network}")).fails(1, &["official_uncond32.pkl"]);
    run_in(dir, &format!("{line} no.pth --vgg no")).fails(2, &["--vgg"]);
}

#[test]
fn distances_need_pictures_that_fit() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let of = |network: &str| format!("fd --data . --network {network}");
    let rgb = network("official_uncond32.pkl");
    run_in(dir, &of(&rgb)).fails(1, &["no PNG or JPEG images"]);
    portraits(dir, 4, 16);
    run_in(dir, &of(&rgb)).fails(1, &["p00.png", "smaller than the 32"]);
    let small = network("official_gray16_resnetG_skipD.pkl");
    run_in(dir, &of(&small)).fails(1, &["16 pixels", "31"]);
    run_in(dir, &format!("{} --images 3", of(&rgb))).fails(2, &["--images"]);
}
