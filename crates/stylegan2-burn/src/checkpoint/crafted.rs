//! Pickles written by hand: small ones that would grow without end, and settings no released file has.

use std::sync::Arc;

use super::tensor::Storage;
use super::{Checkpoint, Entry, NetworkConfig};
use crate::config::{DiscriminatorConfig, GeneratorConfig};
use crate::error::{Error, Result};
use crate::ops::Activation;

fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    [b"X", &length[..], text.as_bytes()].concat()
}

fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

fn int(value: i32) -> Vec<u8> {
    [b"J", &value.to_le_bytes()[..]].concat()
}

/// Keeps the value under a number and takes it off the stack.
fn put(value: Vec<u8>, key: u32) -> Vec<u8> {
    [
        value,
        b"r".to_vec(),
        key.to_le_bytes().to_vec(),
        b"0".to_vec(),
    ]
    .concat()
}

fn get(key: u32) -> Vec<u8> {
    [b"j", &key.to_le_bytes()[..]].concat()
}

fn dict<S: AsRef<str>>(pairs: impl IntoIterator<Item = (S, Vec<u8>)>) -> Vec<u8> {
    let pairs = pairs.into_iter();
    let items = pairs.flat_map(|(key, value)| [text(key.as_ref()), value]);
    [
        b"}(".to_vec(),
        items.collect::<Vec<_>>().concat(),
        b"u".to_vec(),
    ]
    .concat()
}

fn open(body: &[Vec<u8>]) -> Result<Checkpoint> {
    let bytes = [b"\x80\x02".to_vec(), body.concat(), b".".to_vec()].concat();
    Checkpoint::from_bytes(bytes)
}

/// Bytes as protocol 2 has them.
fn latin(bytes: &[u8]) -> Vec<u8> {
    let decoded: String = bytes.iter().map(|&b| char::from(b)).collect();
    let call = [text(&decoded), text("latin1"), b"\x86R".to_vec()].concat();
    [global("_codecs", "encode"), call].concat()
}

/// A numpy array of four numbers.
fn array() -> Vec<u8> {
    let dtype = [
        global("numpy", "dtype"),
        [text("f4"), int(0), int(1), b"\x87R(".to_vec()].concat(),
        [int(3), text("<"), b"NNN".to_vec(), int(-1), int(-1), int(0)].concat(),
        b"tb".to_vec(),
    ];
    let parts = [
        global("numpy.core.multiarray", "_reconstruct"),
        [
            b"(".to_vec(),
            global("numpy", "ndarray"),
            int(0),
            b"\x85".to_vec(),
        ]
        .concat(),
        [text("b"), b"tR(".to_vec(), int(1), int(4), b"\x85".to_vec()].concat(),
        dtype.concat(),
        [b"\x89".to_vec(), latin(&[0x80; 16]), b"tb".to_vec()].concat(),
    ];
    parts.concat()
}

fn tensorflow(variables: &[Vec<u8>], settings: Vec<u8>, components: Vec<u8>) -> Vec<u8> {
    let state = dict([
        ("version", int(4)),
        (
            "variables",
            [b"](".to_vec(), variables.concat(), b"e".to_vec()].concat(),
        ),
        ("static_kwargs", settings),
        ("components", components),
    ]);
    let class = global("dnnlib.tflib.network", "Network");
    [class, b")\x81".to_vec(), state, b"b".to_vec()].concat()
}

fn empty() -> Vec<u8> {
    b"}".to_vec()
}

fn references(count: usize, key: u32) -> Vec<Vec<u8>> {
    let pair = |k: usize| [text(&format!("v{k}")), get(key), b"\x86".to_vec()].concat();
    (0..count).map(pair).collect()
}

fn owned<'a>(entries: &'a [Entry]) -> Vec<&'a Arc<Vec<u8>>> {
    let tensors = entries.iter().flat_map(|e: &'a Entry| e.tensors.values());
    let storages = tensors.map(|t| match &t.storage {
        Storage::Owned(bytes) => bytes,
        Storage::File { .. } => panic!("the bytes had to be decoded"),
    });
    storages.collect()
}

fn refused(file: Result<Checkpoint>, what: &str) {
    let error = file.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains(what), "{error}");
}

#[test]
fn an_array_that_many_variables_refer_to_is_decoded_once() {
    let network = tensorflow(&references(5, 1), empty(), empty());
    let file = open(&[
        put(array(), 1),
        put(network, 2),
        get(2).repeat(3),
        b"\x87".to_vec(),
    ]);
    let file = file.unwrap();
    let storages = owned(&file.entries);
    assert_eq!(storages.len(), 15);
    assert!(storages.iter().all(|s| Arc::ptr_eq(s, storages[0])));
    let values = file.tensor("D", "v4").unwrap();
    assert_eq!(values, [f32::from_bits(0x8080_8080); 4]);
}

#[test]
fn components_that_multiply_are_refused() {
    let leaf = tensorflow(&references(1, 1), empty(), empty());
    let mut body = vec![put(array(), 1), put(leaf, 2)];
    for level in 2..5 {
        let same = dict((0..41).map(|k| (format!("c{k}"), get(level))));
        body.push(put(tensorflow(&[], empty(), same), level + 1));
    }
    body.extend([get(5).repeat(3), b"\x87".to_vec()]);
    refused(open(&body), "more than 65536 tensors and modules");
}

/// A legacy stream of one storage with two numbers.
fn stream() -> Vec<u8> {
    let id = [
        text("storage"),
        global("torch", "FloatStorage"),
        text("0"),
        text("cpu"),
        int(2),
    ];
    let parts = [
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec(),
        b"\x80\x02M\xe9\x03.\x80\x02}.".to_vec(),
        [b"\x80\x02(".to_vec(), id.concat(), b"NtQ.".to_vec()].concat(),
        [b"\x80\x02]".to_vec(), text("0"), b"a.".to_vec()].concat(),
        [2_u64.to_le_bytes(), [0x80; 8]].concat(),
    ];
    parts.concat()
}

fn tensor() -> Vec<u8> {
    let load = global("torch.storage", "_load_from_bytes");
    let parts = [
        [global("torch._utils", "_rebuild_tensor_v2"), b"(".to_vec()].concat(),
        [load, latin(&stream()), b"\x85R".to_vec()].concat(),
        [
            int(0),
            int(2),
            b"\x85".to_vec(),
            int(1),
            b"\x85\x89}tR".to_vec(),
        ]
        .concat(),
    ];
    parts.concat()
}

fn module(class: &str, tensors: Vec<u8>, children: Vec<u8>) -> Vec<u8> {
    let sizes = [
        ("z_dim", 8),
        ("c_dim", 0),
        ("w_dim", 8),
        ("img_resolution", 16),
        ("img_channels", 3),
    ];
    let state = dict([
        (
            "_init_kwargs",
            dict(sizes.map(|(name, size)| (name, int(size)))),
        ),
        ("_buffers", tensors),
        ("_modules", children),
    ]);
    let meta = dict([
        ("type", text("class")),
        ("version", int(6)),
        ("class_name", text(class)),
        ("state", state),
    ]);
    let object = global("torch_utils.persistence", "_reconstruct_persistent_obj");
    [object, meta, b"\x85R".to_vec()].concat()
}

fn named(prefix: &str, count: usize, key: u32) -> Vec<u8> {
    dict((0..count).map(|k| (format!("{prefix}{k}"), get(key))))
}

#[test]
fn a_storage_that_many_tensors_refer_to_is_parsed_once() {
    let network = module("Generator", named("p", 5, 1), empty());
    let file = open(&[
        put(tensor(), 1),
        dict([("G_ema", network.clone()), ("G", network)]),
    ]);
    let file = file.unwrap();
    let storages = owned(&file.entries);
    assert_eq!(storages.len(), 10);
    assert!(storages.iter().all(|s| Arc::ptr_eq(s, storages[0])));
}

#[test]
fn modules_that_share_their_tensors_are_counted() {
    let child = module("Layer", named("b", 20, 1), empty());
    let network = module("Generator", empty(), named("m", 4000, 2));
    let file = open(&[put(tensor(), 1), put(child, 2), dict([("G_ema", network)])]);
    refused(file, "more than 65536 tensors and modules");
}

#[test]
fn a_name_without_end_is_refused() {
    let long = dict([("n".repeat(2000), get(1))]);
    let file = open(&[
        put(tensor(), 1),
        dict([("G", module("Generator", long, empty()))]),
    ]);
    refused(file, "a name of more than 1024 bytes");
}

#[test]
fn an_archive_whose_table_lies_beyond_the_end_is_cut_short() {
    let mut bytes = [&b"PK\x03\x04"[..], &[0; 26], b"PK\x05\x06", &[0; 18]].concat();
    bytes[46..50].copy_from_slice(&0x0100_0000_u32.to_le_bytes());
    let error = Checkpoint::from_bytes(bytes).unwrap_err();
    let Error::Truncated {
        offset,
        needed,
        available,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((offset, needed, available), (0x0100_0000, 0, 0));
}

fn with_settings(settings: &[(&str, Vec<u8>)]) -> Result<(GeneratorConfig, DiscriminatorConfig)> {
    let network = tensorflow(&[], dict(settings.iter().cloned()), empty());
    let file = open(&[put(network, 1), get(1).repeat(3), b"\x87".to_vec()])?;
    match (&file.entries[0].config, &file.entries[1].config) {
        (NetworkConfig::Generator(g), NetworkConfig::Discriminator(d)) => {
            Ok((g.clone(), d.clone()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_of_tensorflow_that_change_the_picture_are_read_or_refused() {
    let list = |taps: &[i32]| {
        let taps: Vec<Vec<u8>> = taps.iter().map(|&t| int(t)).collect();
        [b"](".to_vec(), taps.concat(), b"e".to_vec()].concat()
    };
    let (g, d) = with_settings(&[("fused_modconv", b"\x88".to_vec())]).unwrap();
    assert_eq!(g, GeneratorConfig::new(1024));
    assert_eq!(d.resample_filter, [1.0, 3.0, 3.0, 1.0]);
    assert_eq!(d.activation, Activation::Lrelu);
    let (g, d) = with_settings(&[
        ("resample_kernel", list(&[1, 2, 1])),
        ("nonlinearity", text("relu")),
        ("mapping_nonlinearity", text("swish")),
        ("use_noise", b"\x89".to_vec()),
    ])
    .unwrap();
    assert_eq!(
        (&g.resample_filter[..], &d.resample_filter[..]),
        (&[1.0, 2.0, 1.0][..], &[1.0, 2.0, 1.0][..])
    );
    assert_eq!(
        (g.activation, d.activation),
        (Activation::Relu, Activation::Relu)
    );
    assert_eq!(g.mapping.activation, Activation::Swish);
    assert!(!g.use_noise);
    for (name, value) in [
        ("resample_kernel", b"N".to_vec()),
        ("resample_kernel", list(&[])),
        ("nonlinearity", text("maxout")),
        ("mapping_nonlinearity", int(1)),
        ("use_noise", text("no")),
        ("use_spectral_norm", b"\x88".to_vec()),
    ] {
        let error = with_settings(&[(name, value)]).unwrap_err();
        assert!(
            matches!(error, Error::Unsupported { .. } | Error::Config { .. }),
            "{name}: {error}"
        );
    }
}
