//! Every file format: the tensors, the networks, and what happens to damaged files.

mod common;

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use common::{Golden, assert_close, device, folder, values};
use stylegan2_burn::checkpoint::save;
use stylegan2_burn::{
    Checkpoint, DiscriminatorConfig, Error, FloatFormat, Format, GeneratorConfig, MappingConfig,
    Network, NetworkConfig, SynthesisOptions, Truncation,
};

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(folder().join(name)).unwrap()
}

fn fnv(values: &[f32]) -> String {
    let hash = values.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, v| {
        (h ^ u64::from(v.to_bits())).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[test]
fn nvidia_pickles_hold_the_tensors_bit_for_bit() {
    let text = std::fs::read_to_string(folder().join("state_fnv.json")).unwrap();
    let states: BTreeMap<String, BTreeMap<String, (Vec<usize>, String)>> =
        serde_json::from_str(&text).unwrap();
    assert_eq!(states.len(), 3);
    for (net, state) in states {
        let mut files = vec![format!("official_{net}.pkl")];
        if net == "uncond32" {
            files.push("official_uncond32_proto3.pkl".to_owned());
        }
        for name in files {
            let file = open(&name);
            assert_eq!(file.format(), Format::NvidiaPickle);
            let mut found = 0;
            for network in ["G", "D", "G_ema"] {
                for tensor in file.tensors(network).unwrap() {
                    let (shape, hash) = &state[&format!("{network}.{}", tensor.name)];
                    assert_eq!(&tensor.shape, shape);
                    let values = file.tensor(network, &tensor.name).unwrap();
                    assert_eq!(&fnv(&values), hash, "{name} {network}.{}", tensor.name);
                    found += 1;
                }
            }
            assert_eq!(found, state.len(), "{name}");
        }
    }
}

#[test]
fn configurations_come_from_the_stored_arguments() {
    let file = open("official_cond32.pkl");
    let g = file.generator_config("G_ema").unwrap();
    assert_eq!((g.z_dim, g.c_dim, g.w_dim, g.resolution), (24, 5, 32, 32));
    assert_eq!(
        (g.conv_clamp, g.half_resolutions, g.mapping.num_layers),
        (Some(2.0), 4, 8)
    );
    let d = file.discriminator_config("D").unwrap();
    assert_eq!(
        (d.c_dim, d.mbstd_group, d.conv_clamp),
        (5, Some(2), Some(2.0))
    );
    let d = open("official_gray16_resnetG_skipD.pkl");
    let d = d.discriminator_config("D").unwrap();
    assert_eq!((d.mbstd_group, d.mbstd_features, d.channels), (None, 2, 1));
    let text = file.to_string();
    assert!(
        text.contains("NVIDIA pickle") && text.contains("labels of 5"),
        "{text}"
    );
    assert!(matches!(
        file.generator("H", &device()).unwrap_err(),
        Error::NoSuchNetwork { available, .. } if available == ["G", "D", "G_ema"]
    ));
}

fn image(file: &Checkpoint, name: &str, z: Tensor<2>, psi: f64) -> Tensor<4> {
    let g = file.generator(name, &device()).unwrap();
    g.forward(z, None, Truncation::psi(psi), &SynthesisOptions::default())
}

#[test]
fn rosinality_checkpoints_give_the_same_pictures() {
    let file = open("rosinality_uncond32.pt");
    assert_eq!(file.format(), Format::RosinalityZip);
    let io = Golden::open("rosinality_uncond32_io.safetensors");
    let z = || io.tensor::<2>("z", &device());
    assert_close(
        "rosinality",
        image(&file, "G_ema", z(), 1.0),
        io.values("img"),
        1e-4,
    );
    let cut = io.values("img_trunc0.7");
    assert_close("rosinality 0.7", image(&file, "G_ema", z(), 0.7), cut, 1e-4);
    let d = file.discriminator("D", &device()).unwrap();
    let real = io.tensor::<4>("real_u8", &device()) * (1.0 / 127.5) - 1.0;
    assert_close(
        "rosinality D",
        d.forward(real, None),
        io.values("logits8"),
        1e-5,
    );
}

#[test]
fn tensorflow_pickles_give_the_same_network() {
    let file = open("tf_uncond32_proto4.pkl");
    assert_eq!(file.format(), Format::TensorflowPickle);
    let torch = open("official_uncond32.pkl");
    for name in ["G_ema", "D"] {
        for tensor in torch.tensors(name).unwrap() {
            if tensor.name.ends_with("resample_filter") {
                continue;
            }
            let expected = torch.tensor(name, &tensor.name).unwrap();
            let found = file.tensor(name, &tensor.name).unwrap();
            let worst = expected
                .iter()
                .zip(&found)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(
                expected.len() == found.len() && worst <= 1e-6,
                "{}: {worst:e}",
                tensor.name
            );
        }
    }
    let io = Golden::open("official_uncond32_io.safetensors");
    let z = io.tensor("z", &device());
    assert_close(
        "tensorflow",
        image(&file, "G_ema", z, 1.0),
        io.values("img_const"),
        1e-4,
    );
    file.discriminator("D", &device()).unwrap();
}

#[test]
fn our_own_files_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let file = open("official_cond32.pkl");
    let g = file.generator("G_ema", &device()).unwrap();
    let d = file.discriminator("D", &device()).unwrap();
    let networks = [
        (
            "G_ema",
            Network::Generator(file.generator_config("G_ema").unwrap(), &g),
        ),
        (
            "D",
            Network::Discriminator(file.discriminator_config("D").unwrap(), &d),
        ),
    ];
    let path = folder.path().join("n.safetensors");
    save(&path, &networks, FloatFormat::F32).unwrap();
    let again = Checkpoint::open(&path).unwrap();
    assert_eq!(again.format(), Format::Safetensors);
    for name in ["G_ema", "D"] {
        for tensor in again.tensors(name).unwrap() {
            let a = again.tensor(name, &tensor.name).unwrap();
            let b = file.tensor(name, &tensor.name).unwrap();
            assert!(
                a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{}",
                tensor.name
            );
        }
    }
    let configs: Vec<_> = again
        .networks()
        .map(|(n, c)| (n.to_owned(), c.clone()))
        .collect();
    assert_eq!(configs.len(), 2);
    assert_eq!(configs[1].1, file.networks().nth(2).unwrap().1.clone());
    assert!(matches!(configs[0].1, NetworkConfig::Discriminator(_)));
    again.generator("G_ema", &device()).unwrap();
    again.discriminator("D", &device()).unwrap();

    // Foreign readers accept it, too.
    let bytes = std::fs::read(&path).unwrap();
    let foreign = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(
        foreign.tensor("G_ema.synthesis.b4.const").unwrap().shape(),
        [32, 4, 4]
    );

    let half = folder.path().join("h.safetensors");
    save(&half, &networks, FloatFormat::F16).unwrap();
    let size = |p| std::fs::metadata(p).unwrap().len();
    assert!(size(&half) < size(&path) * 6 / 10);
    let io = Golden::open("official_cond32_io.safetensors");
    let g = Checkpoint::open(&half)
        .unwrap()
        .generator("G_ema", &device())
        .unwrap();
    let image = g
        .synthesis
        .forward(io.tensor("ws", &device()), &SynthesisOptions::default());
    assert_close("half", image, io.values("img_const"), 0.1);
}

#[test]
fn published_networks_have_the_published_names_and_sizes() {
    let text = std::fs::read_to_string(folder().join("official_fullsize_keys.json")).unwrap();
    let lists: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(lists.len(), 2);
    for (name, nets) in lists {
        let (g, d) = if name.starts_with("ffhq1024") {
            (
                GeneratorConfig::paper1024(),
                DiscriminatorConfig::paper1024(),
            )
        } else {
            (GeneratorConfig::paper256(), DiscriminatorConfig::paper256())
        };
        // Nothing is allocated: parameters are made on first use.
        let g = stylegan2_burn::checkpoint::parameter_shapes(&Network::Generator(
            &g,
            &g.init(&device()).unwrap(),
        ));
        let d = stylegan2_burn::checkpoint::parameter_shapes(&Network::Discriminator(
            &d,
            &d.init(&device()).unwrap(),
        ));
        for (net, shapes) in [("G", g), ("D", d)] {
            let trained = |name: &str| !(name.ends_with("noise_const") || name.ends_with("w_avg"));
            let count: usize = shapes
                .iter()
                .filter(|(n, _)| trained(n))
                .map(|(_, s)| s.iter().product::<usize>())
                .sum();
            assert_eq!(nets[format!("{net}_params")], count, "{name} {net}");
            let expected: BTreeMap<String, Vec<usize>> =
                serde_json::from_value(nets[net].clone()).unwrap();
            let expected: BTreeMap<_, _> = expected
                .into_iter()
                .filter(|(n, _)| !n.ends_with("resample_filter"))
                .collect();
            assert_eq!(
                shapes.into_iter().collect::<BTreeMap<_, _>>(),
                expected,
                "{name} {net}"
            );
        }
    }
}

#[test]
fn mismatches_are_listed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.safetensors");
    let config = GeneratorConfig::new(8)
        .with_channel_base(32)
        .with_z_dim(4)
        .with_w_dim(4)
        .with_mapping(MappingConfig::new().with_num_layers(1));
    let g = config.init(&device()).unwrap();
    let other = config.clone().with_w_dim(6).with_use_noise(false);
    save(
        &path,
        &[("G", Network::Generator(&other, &g))],
        FloatFormat::F32,
    )
    .unwrap();
    let error = Checkpoint::open(&path)
        .unwrap()
        .generator("G", &device())
        .unwrap_err();
    let Error::Mismatch {
        missing,
        unexpected,
        mismatched,
    } = &error
    else {
        panic!("{error}");
    };
    assert!(missing.is_empty());
    assert!(unexpected.contains(&"synthesis.b8.conv0.noise_const".to_owned()));
    let wrong = "mapping.fc0.weight: [4, 4] instead of [6, 4]";
    assert!(mismatched.iter().any(|m| m == wrong), "{mismatched:?}");
    assert!(error.to_string().contains("mapping.w_avg"), "{error}");
}

#[test]
fn truncated_files_are_errors_wherever_they_end() {
    for name in [
        "official_gray16_resnetG_skipD.pkl",
        "rosinality_uncond32.pt",
        "tf_uncond32_proto4.pkl",
    ] {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        let cuts = (0..400).chain((400..bytes.len() - 1).step_by(9973));
        for cut in cuts.chain([bytes.len() - 1]) {
            assert!(
                Checkpoint::from_bytes(bytes[..cut].to_vec()).is_err(),
                "{name} cut at {cut}"
            );
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for name in [
        "official_gray16_resnetG_skipD.pkl",
        "rosinality_uncond32.pt",
        "tf_uncond32_proto4.pkl",
    ] {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        for _ in 0..200 {
            let mut damaged = bytes.clone();
            for _ in 0..=next() % 8 {
                let at = next() % damaged.len();
                damaged[at] ^= 1 << (next() % 8);
            }
            if let Ok(file) = Checkpoint::from_bytes(damaged) {
                for network in ["G", "D", "G_ema"] {
                    let _ = file.generator(network, &device());
                    let _ = file.discriminator(network, &device());
                }
            }
        }
    }
}

#[test]
fn the_wrong_files_are_recognised() {
    for (bytes, start) in [
        (&b""[..], "bytes "),
        (b"hello", "bytes 68 65 6c 6c 6f"),
        (
            b"\x89PNG\r\n\x1a\n........",
            "bytes 89 50 4e 47 0d 0a 1a 0a",
        ),
        (b"\x80\x04}.", "a pickle of "),
    ] {
        let error = Checkpoint::from_bytes(bytes.to_vec()).unwrap_err();
        assert!(
            matches!(&error, Error::UnknownFormat { found } if found.starts_with(start)),
            "{error}"
        );
    }
    let error = Checkpoint::from_bytes(b"PK\x03\x04".to_vec()).unwrap_err();
    assert!(matches!(error, Error::Zip { .. }), "{error}");
    let evil = b"\x80\x04\x95\x20\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85R.";
    let error = Checkpoint::from_bytes(evil.to_vec()).unwrap_err();
    assert!(matches!(&error, Error::ForbiddenGlobal { name, .. } if name == "posix.system"));
}

#[test]
fn a_legacy_storage_that_lies_about_its_length_is_named() {
    let mut bytes = std::fs::read(folder().join("official_uncond32.pkl")).unwrap();
    // The element count precedes the data of `w_avg`, 32 numbers.
    let values = open("official_uncond32.pkl")
        .tensor("G", "mapping.w_avg")
        .unwrap();
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let at = bytes.windows(data.len()).position(|w| w == data).unwrap();
    bytes[at - 8..at].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let error = Checkpoint::from_bytes(bytes).unwrap_err();
    assert!(
        error.to_string().contains("1099511627776 elements"),
        "{error}"
    );
}

#[test]
fn unsupported_versions_are_named() {
    let bytes = std::fs::read(folder().join("official_uncond32.pkl")).unwrap();
    let needle = b"version\x94K\x06";
    let at = bytes
        .windows(needle.len())
        .position(|w| w == needle)
        .unwrap();
    let mut changed = bytes;
    changed[at + needle.len() - 1] = 9;
    let error = Checkpoint::from_bytes(changed).unwrap_err();
    assert!(error.to_string().contains("version Some(9)"), "{error}");
}

#[test]
fn a_compressed_archive_is_refused() {
    let mut bytes = std::fs::read(folder().join("rosinality_uncond32.pt")).unwrap();
    let at = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bytes[at + 10] = 8;
    let error = Checkpoint::from_bytes(bytes).unwrap_err();
    assert!(
        matches!(&error, Error::Zip { reason, .. } if reason.contains("compressed")),
        "{error}"
    );
    assert!(values(Tensor::<1>::zeros([1], &device())).len() == 1);
}
