use std::io::Write as _;

use npyz::WriterBuilder as _;
use proptest::prelude::*;

use super::*;

/// An array written by another program than the one under test.
fn npy<T: npyz::AutoSerialize>(shape: &[u64], order: npyz::Order, values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(shape)
        .order(order)
        .writer(&mut bytes)
        .begin_nd()
        .unwrap();
    writer.extend(values.iter()).unwrap();
    writer.finish().unwrap();
    bytes
}

fn npz(members: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in members {
        writer.start_file(format!("{name}.npy"), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn tensors(list: &[(&str, ::safetensors::Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = list.iter().map(|(name, dtype, shape, data)| {
        let view = ::safetensors::tensor::TensorView::new(*dtype, shape.to_vec(), data).unwrap();
        (name.to_string(), view)
    });
    ::safetensors::serialize(views, None).unwrap()
}

fn read(bytes: &[u8]) -> Result<Latents> {
    LatentsReader::new().read_bytes(bytes)
}

fn message(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

const SIX: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.5];

#[test]
fn numpy_arrays_of_both_orders() {
    let c = read(&npy(&[2, 3], npyz::Order::C, &SIX)).unwrap();
    assert_eq!(c.values(), &Values::F32(SIX.to_vec()));
    assert_eq!(
        (c.n(), c.p(), c.names()[2].as_str(), c.layers()),
        (2, 3, "x3", None)
    );
    let f = read(&npy(
        &[2, 3],
        npyz::Order::Fortran,
        &[1.0f64, 4.0, 2.0, 5.0, 3.0, 6.5],
    ))
    .unwrap();
    assert_eq!(f.values(), &Values::F64(SIX.map(f64::from).to_vec()));
    assert_eq!(c.covariates().unwrap().column(2), [3.0, 6.5]);
}

#[test]
fn layered_latents_are_flattened_layer_by_layer() {
    // Value of row i, layer l, component w: 100 i + 10 l + w.
    let value = |i: usize, l: usize, w: usize| (100 * i + 10 * l + w) as f64;
    let (mut c, mut f) = (vec![], vec![]);
    for i in 0..2 {
        for l in 0..3 {
            (0..4).for_each(|w| c.push(value(i, l, w)));
        }
    }
    for w in 0..4 {
        for l in 0..3 {
            (0..2).for_each(|i| f.push(value(i, l, w)));
        }
    }
    let c = read(&npy(&[2, 3, 4], npyz::Order::C, &c)).unwrap();
    let f = read(&npy(&[2, 3, 4], npyz::Order::Fortran, &f)).unwrap();
    assert_eq!(c, f);
    assert_eq!((c.p(), c.layers()), (12, Some(3)));
    let j = c.names().iter().position(|n| n == "layer2.1").unwrap();
    assert_eq!(c.covariates().unwrap().column(j), [21.0, 121.0]);
}

#[test]
fn element_types_keep_their_values() {
    let f64s = |latents: Latents| {
        (0..latents.values().len())
            .map(|k| latents.values().get(k))
            .collect::<Vec<_>>()
    };
    let ints: [i32; 4] = [i32::MIN, -1, 7, i32::MAX];
    assert_eq!(
        f64s(read(&npy(&[2, 2], npyz::Order::C, &ints)).unwrap()),
        ints.map(f64::from)
    );
    let big = {
        let mut bytes = npy(&[2, 1], npyz::Order::C, &[1.5f32, -2.0]);
        let at = bytes.windows(3).position(|w| w == b"<f4").unwrap();
        bytes[at] = b'>';
        let data = bytes.len() - 8;
        bytes[data..data + 4].reverse();
        bytes[data + 4..].reverse();
        bytes
    };
    assert_eq!(f64s(read(&big).unwrap()), [1.5, -2.0]);
    let half: Vec<u8> = [0.5f32, -3.0]
        .iter()
        .flat_map(|&v| half::f16::from_f32(v).to_le_bytes())
        .collect();
    let brain: Vec<u8> = [0.5f32, -3.0]
        .iter()
        .flat_map(|&v| half::bf16::from_f32(v).to_le_bytes())
        .collect();
    for (dtype, data) in [
        (::safetensors::Dtype::F16, half),
        (::safetensors::Dtype::BF16, brain),
    ] {
        let latents = read(&tensors(&[("w", dtype, &[2, 1], &data)])).unwrap();
        assert!(matches!(latents.values(), Values::F32(_)));
        assert_eq!(f64s(latents), [0.5, -3.0]);
    }
    let flags = tensors(&[("b", ::safetensors::Dtype::BOOL, &[2, 1], &[0, 1])]);
    assert_eq!(f64s(read(&flags).unwrap()), [0.0, 1.0]);
}

#[test]
fn archives_with_several_arrays_ask_which() {
    let one = npy(&[2, 3], npyz::Order::C, &SIX);
    let two = npy(&[3, 2], npyz::Order::C, &SIX);
    for method in [
        zip::CompressionMethod::Stored,
        zip::CompressionMethod::Deflated,
    ] {
        let single = npz(&[("latents", one.clone())], method);
        assert_eq!(read(&single).unwrap().p(), 3);
        let both = npz(&[("w", one.clone()), ("z", two.clone())], method);
        assert_eq!(
            message(&both),
            "which array holds the latents must be said; it holds `w`, `z`"
        );
        let z = LatentsReader::new().array("z").read_bytes(&both).unwrap();
        assert_eq!((z.n(), z.p()), (3, 2));
        let error = LatentsReader::new()
            .array("y")
            .read_bytes(&both)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no array `y`; it holds `w`, `z`"
        );
    }
    let bytes: Vec<u8> = SIX.iter().flat_map(|v| v.to_le_bytes()).collect();
    let dtype = ::safetensors::Dtype::F32;
    let file = tensors(&[("a", dtype, &[2, 3], &bytes), ("b", dtype, &[3, 2], &bytes)]);
    assert!(matches!(read(&file), Err(Error::WhichArray { .. })));
    let b = LatentsReader::new().array("b").read_bytes(&file).unwrap();
    assert_eq!((b.n(), b.p()), (3, 2));
}

#[test]
fn csv_latents_have_names_and_ids() {
    let latents = read(b"a,id,b\n1,p1,2\n3,p2,4\n").unwrap();
    assert_eq!(latents.names(), ["a", "b"]);
    assert_eq!(latents.values(), &Values::F64(vec![1.0, 2.0, 3.0, 4.0]));
    let wanted = ["p2", "p1", "p2"].map(str::to_owned);
    let aligned = latents.align(&wanted).unwrap();
    assert_eq!(
        aligned.values(),
        &Values::F64(vec![3.0, 4.0, 1.0, 2.0, 3.0, 4.0])
    );
    assert_eq!(aligned.ids().unwrap(), wanted);
    let unknown = latents.align(&["p3".to_owned()]).unwrap_err();
    assert!(matches!(unknown, Error::UnknownId { row: 0, .. }));
    assert_eq!(
        message(b"id,a\np,1\nq,2\np,3\n"),
        "id `p` is in row 1 and in row 3"
    );
    assert_eq!(
        message(b"id,a\np,1\nq,x\n"),
        "column `a`, row 2 (line 3): `x` is not a number"
    );
    assert_eq!(
        message(b"id,a\np,1\nq,inf\n"),
        "column `a`, row 2 (line 3): inf is not a finite number"
    );
    assert!(message(b"id,a\np,1\nq,\n").starts_with("1 of 2 row(s) have missing values (`a`: 1)"));
    assert_eq!(message(b"id\np\n"), "the table has no numeric columns");
}

#[test]
fn faults_are_named() {
    let mut values = SIX;
    values[4] = f32::NAN;
    assert_eq!(
        message(&npy(&[2, 3], npyz::Order::C, &values)),
        "column `x2`, row 2: NaN is not a finite number"
    );
    assert!(message(&npy(&[6], npyz::Order::C, &SIX)).contains("shape [6]"));
    assert!(message(&npy(&[1, 1, 2, 3], npyz::Order::C, &SIX)).contains("[1, 1, 2, 3]"));
    assert!(message(&npy::<f32>(&[0, 3], npyz::Order::C, &[])).contains("shape [0, 3]"));
    assert!(message(b"\x93NUM\0").contains("first bytes"));
    let whole = npy(&[2, 3], npyz::Order::C, &SIX);
    let cut = message(&whole[..whole.len() - 1]);
    assert!(
        cut.contains("needs 24 bytes of data, the file has 23"),
        "{cut}"
    );
    let latents = read(&whole).unwrap();
    assert!(matches!(
        latents.same_rows(5),
        Err(Error::Rows {
            latents: 2,
            patients: 5
        })
    ));
}

/// A version 1 header with any dictionary.
fn with_header(dict: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    bytes.extend_from_slice(dict.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

#[test]
fn hostile_sizes_are_refused_before_anything_is_allocated() {
    for shape in [
        "(18446744073709551615, 2)",
        "(4611686018427387904, 4)",
        "(99999999999999999999999, 1)",
        "(1000000000000, 1)",
        "(-1, 2)",
    ] {
        let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let bytes = with_header(&dict, &[0; 8]);
        assert!(matches!(read(&bytes), Err(Error::Format { .. })), "{shape}");
        let bomb = npz(&[("w", bytes)], zip::CompressionMethod::Deflated);
        assert!(matches!(read(&bomb), Err(Error::Format { .. })), "{shape}");
    }
    for dict in [
        "",
        "{",
        "{'descr'",
        "{'descr': '<f4'}",
        "{'descr': ((((((((((((",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '', 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': '\u{e9}4', 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': '|S4', 'fortran_order': False, 'shape': (1, 1)}",
    ] {
        assert!(read(&with_header(dict, &[0; 4])).is_err(), "{dict}");
    }
    let mut long = b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec();
    long.push(b'{');
    assert!(message(&long).contains("4294967295"));
    for header in [
        r#"{"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#,
        r#"{"w":{"dtype":"F32","shape":[2,1],"data_offsets":[8,0]}}"#,
        r#"{"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,18446744073709551615]}}"#,
        r#"{"w":{"dtype":"F32","shape":[3,1],"data_offsets":[0,8]}}"#,
        r#"{"w":3}"#,
        r"{}",
    ] {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&[0; 8]);
        assert!(read(&bytes).is_err(), "{header}");
    }
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes[7] = 0;
    bytes.push(b'{');
    assert!(message(&bytes).contains("cut off"));
}

#[test]
fn a_bomb_is_not_unpacked() {
    // 64 MB of zeros behind a header that claims 16 bytes: reading stops soon after these.
    let mut bytes = npy(&[4, 1], npyz::Order::C, &[0.0f32; 4]);
    bytes.resize(64 << 20, 0);
    let packed = npz(&[("w", bytes)], zip::CompressionMethod::Deflated);
    assert!(packed.len() < 1 << 20);
    let error = message(&packed);
    let read = error
        .rsplit(' ')
        .next()
        .and_then(|n| n.parse::<usize>().ok());
    assert!(error.contains("needs 16 bytes of data"), "{error}");
    assert!(read.is_some_and(|n| n > 16 && n < 1000), "{error}");
}

fn valid_files() -> Vec<Vec<u8>> {
    let array = npy(&[2, 3], npyz::Order::C, &SIX);
    let bytes: Vec<u8> = SIX.iter().flat_map(|v| v.to_le_bytes()).collect();
    vec![
        npz(&[("w", array.clone())], zip::CompressionMethod::Deflated),
        npz(&[("w", array.clone())], zip::CompressionMethod::Stored),
        array,
        tensors(&[("w", ::safetensors::Dtype::F32, &[2, 3], &bytes)]),
        b"id,a,b\np1,1,2\np2,3,\"4\"\n".to_vec(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn mutated_files_never_panic(
        which in 0usize..5,
        cut in 0usize..600,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        tail in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut bytes = valid_files().swap_remove(which);
        bytes.truncate(cut.max(1));
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(tail);
        if let Ok(latents) = read(&bytes) {
            prop_assert_eq!(latents.values().len(), latents.n() * latents.p());
            prop_assert!(latents.covariates().is_ok());
        }
        let _ = LatentsReader::new().array("w").read_bytes(&bytes);
        let _ = crate::Table::from_csv(&bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0usize..4) {
        let prefix: &[u8] = [&b""[..], b"\x93NUMPY\x01\0", b"PK\x03\x04", b"\x20\0\0\0\0\0\0\0{"][magic];
        let _ = read(&[prefix, &bytes].concat());
    }

    #[test]
    fn csv_like_text_never_panics(text in "[a-c0-9,\"\r\n. \\-eNAinf]{0,200}") {
        if let Ok(table) = crate::Table::from_csv(text.as_bytes()) {
            for column in table.columns() {
                let _ = (table.numbers(column.name()), table.events(column.name()));
                prop_assert!(table.labels(column.name()).is_ok());
            }
        }
        let _ = read(text.as_bytes());
    }
}

/// As `survlatent gather` writes them: several arrays, of which `w` is read, and ids.
#[test]
fn safetensors_may_name_their_rows() {
    let bytes: Vec<u8> = SIX.iter().flat_map(|v| v.to_le_bytes()).collect();
    let dtype = ::safetensors::Dtype::F32;
    let file = |ids: &str| {
        let view = |shape: &[usize]| {
            ::safetensors::tensor::TensorView::new(dtype, shape.to_vec(), &bytes).unwrap()
        };
        let views = [("w", view(&[3, 2])), ("w_plus", view(&[3, 2, 1]))];
        let about = std::collections::HashMap::from([("ids".to_owned(), ids.to_owned())]);
        ::safetensors::serialize(views, Some(about)).unwrap()
    };
    let named = file(r#"["p1", "p2", "p3"]"#);
    let latents = read(&named).unwrap();
    assert_eq!((latents.n(), latents.p(), latents.layers()), (3, 2, None));
    assert_eq!(latents.ids().unwrap(), ["p1", "p2", "p3"]);
    let plus = LatentsReader::new()
        .array("w_plus")
        .read_bytes(&named)
        .unwrap();
    assert_eq!((plus.layers(), plus.ids().unwrap().len()), (Some(2), 3));
    let table = crate::Table::from_csv(b"id,age\np3,1\np1,2\n").unwrap();
    let paired = latents.paired_with(&table).unwrap();
    assert_eq!(paired.ids().unwrap(), ["p3", "p1"]);
    assert_eq!(paired.get(0, 0).to_bits(), latents.get(2, 0).to_bits());
    let plain = crate::Table::from_csv(b"name,age\np3,1\np1,2\n").unwrap();
    assert!(matches!(
        latents.paired_with(&plain),
        Err(Error::Rows { .. })
    ));
    for (ids, says) in [
        (r#"["p1", "p2"]"#, "2 `ids` for 3 rows"),
        ("p1", "no JSON list"),
        (r#"["a", "b", "a"]"#, "a"),
    ] {
        let error = read(&file(ids)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn an_array_cannot_be_chosen_where_none_has_a_name() {
    let reader = LatentsReader::new().array("zz");
    let error = reader
        .read_bytes(b"z1,z2\n1,2\n3,4\n")
        .unwrap_err()
        .to_string();
    assert!(error.contains("array `zz`"), "{error}");
}
