//! Folders, archives and lists of images, and what can be wrong with them.

use std::fs::File;
use std::io::Write;

use image::{ExtendedColorType, ImageEncoder, RgbImage, codecs};

use super::{ImageFolder, ImageSource, Images};
use crate::error::{Error, Result};

fn png(w: u32, h: u32, seed: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(w, h, |x, y| {
        image::Rgb([(x * 8 + seed) as u8, (y * 8) as u8, (seed * 20) as u8])
    });
    encode(picture.as_raw(), w, h, ExtendedColorType::Rgb8)
}

fn encode(data: &[u8], w: u32, h: u32, kind: ExtendedColorType) -> Vec<u8> {
    let mut out = Vec::new();
    codecs::png::PngEncoder::new(&mut out)
        .write_image(data, w, h, kind)
        .unwrap();
    out
}

fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

fn faults(result: Result<Images>) -> Vec<String> {
    match result.unwrap_err() {
        Error::Images { faults, .. } => faults,
        other => panic!("{other}"),
    }
}

#[test]
fn a_folder_and_a_zip_of_it_hold_the_same() {
    let json = br#"{"labels": [["00000/b.png", 1], ["00000/a.png", 0], ["c.PNG", 1]]}"#;
    let files = [
        ("00000/b.png", png(8, 8, 2)),
        ("00000/a.png", png(8, 8, 1)),
        ("c.PNG", png(8, 8, 3)),
        ("dataset.json", json.to_vec()),
        ("notes.txt", b"nothing".to_vec()),
    ];
    let folder = folder(&files);
    let archive = folder.path().join("all.zip");
    let mut zip = zip::ZipWriter::new(File::create(&archive).unwrap());
    for (name, bytes) in &files {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();

    let settings = ImageFolder::default().with_labels(true);
    let uncached = ImageFolder {
        cache_bytes: 0,
        ..settings.clone()
    };
    for images in [
        settings.open(folder.path()).unwrap(),
        settings.open(&archive).unwrap(),
        uncached.open(folder.path()).unwrap(),
        uncached.open(&archive).unwrap(),
    ] {
        assert_eq!(images.names(), ["00000/a.png", "00000/b.png", "c.PNG"]);
        assert_eq!(images.shape(), [3, 8, 8]);
        assert_eq!(images.label(1), Some(vec![0.0, 1.0]));
        let a = images.image(0).unwrap();
        // Channel by channel: red grows along x, green along y.
        assert_eq!(a[..9], [1, 9, 17, 25, 33, 41, 49, 57, 1]);
        assert_eq!(a[64..74], [0, 0, 0, 0, 0, 0, 0, 0, 8, 8]);
        assert!(images.image(3).is_err());
    }
    assert!(settings.open(folder.path()).unwrap().is_cached());
    assert!(!uncached.open(folder.path()).unwrap().is_cached());
}

#[test]
fn all_faulty_images_are_named_in_one_error() {
    let mut cut = png(8, 8, 4);
    cut.truncate(cut.len() / 2);
    let folder = folder(&[
        ("a.png", png(8, 8, 1)),
        ("b.png", png(8, 8, 2)),
        ("cut.png", cut),
        ("gray.png", encode(&[0; 64], 8, 8, ExtendedColorType::L8)),
        ("large.png", png(16, 16, 1)),
        ("text.jpg", b"not a picture".to_vec()),
    ]);
    let found = faults(ImageFolder::default().open(folder.path()));
    assert_eq!(found.len(), 4, "{found:?}");
    for name in [
        "cut.png: ",
        "gray.png: 8 x 8 gray",
        "large.png: 16 x 16",
        "text.jpg: ",
    ] {
        assert!(
            found.iter().any(|f| f.starts_with(name)),
            "{name} in {found:?}"
        );
    }
    let images = ImageFolder::default()
        .with_set_aside(true)
        .open(folder.path())
        .unwrap();
    assert_eq!(
        (images.names(), images.set_aside()),
        (&["a.png".to_owned(), "b.png".to_owned()][..], &found[..])
    );
}

#[test]
fn images_of_another_kind_are_taken_and_named() {
    let mut files = vec![("a.png", png(8, 8, 1)), ("b.png", png(8, 8, 2))];
    files.push(("gray.png", encode(&[9; 64], 8, 8, ExtendedColorType::L8)));
    let clear = encode(&[9; 256], 8, 8, ExtendedColorType::Rgba8);
    files.push(("clear.png", clear));
    let folder = folder(&files);
    let found = |channels| {
        let images = ImageFolder::default().with_channels(channels);
        let images = images.open(folder.path()).unwrap();
        let all = images.converted();
        all.map(|(what, names)| (what, names.to_vec()))
            .collect::<Vec<_>>()
    };
    let names = |n: &[&str]| n.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        found(3),
        [
            ("gray, taken as colour", names(&["gray.png"])),
            ("transparent, which is dropped", names(&["clear.png"])),
        ]
    );
    let gray = found(1);
    let colour = names(&["a.png", "b.png", "clear.png"]);
    assert_eq!(gray[0], ("in colour, taken as gray", colour));
}

#[test]
fn a_list_names_files_from_its_own_folder() {
    let folder = folder(&[
        ("in/a.png", png(8, 8, 1)),
        ("in/b.png", png(8, 8, 2)),
        ("c.png", png(8, 8, 3)),
        ("list.txt", b"in/b.png\n\n c.png\r\n".to_vec()),
        ("wrong.txt", b"in/b.png\nin/missing.png\n".to_vec()),
        ("other.txt", b"list.txt\n".to_vec()),
    ]);
    let open = |name: &str| ImageFolder::default().open(folder.path().join(name));
    let images = open("list.txt").unwrap();
    assert_eq!(images.names(), ["c.png", "in/b.png"]);
    assert!(images.image(1).unwrap() != images.image(0).unwrap());
    assert!(faults(open("wrong.txt"))[0].starts_with("in/missing.png: "));
    assert!(faults(open("other.txt"))[0].starts_with("list.txt: neither PNG"));
    let labelled = ImageFolder::default().with_labels(true);
    let fault = labelled.open(folder.path().join("list.txt")).unwrap_err();
    assert!(matches!(fault, Error::Labels { .. }), "{fault}");
}

#[test]
fn sizes_and_numbers_that_cannot_be_trained_on() {
    let empty = folder(&[("a.txt", Vec::new())]);
    assert_eq!(
        faults(ImageFolder::default().open(empty.path())),
        ["no PNG or JPEG images"]
    );
    let single = folder(&[("a.png", png(8, 8, 1))]);
    let found = faults(ImageFolder::default().open(single.path()));
    assert!(found[0].contains("at least two"), "{found:?}");
    let odd = folder(&[("a.png", png(12, 12, 1)), ("b.png", png(12, 12, 1))]);
    let found = faults(ImageFolder::default().open(odd.path()));
    assert!(found[0].contains("12 x 12 pixels"), "{found:?}");
    let found = faults(ImageFolder::default().with_resolution(16).open(odd.path()));
    assert!(
        found.len() == 2 && found[1].contains("smaller than the 16"),
        "{found:?}"
    );
    assert!(
        ImageFolder::default()
            .with_resolution(12)
            .open(odd.path())
            .is_err()
    );
    assert!(
        ImageFolder::default()
            .with_channels(2)
            .open(odd.path())
            .is_err()
    );
    let text = odd.path().join("a.txt");
    std::fs::write(&text, "not a zip archive").unwrap();
    assert!(faults(ImageFolder::default().open(&text))[0].contains("zip"));
    assert!(matches!(
        ImageFolder::default().open(odd.path().join("none")),
        Err(Error::Io { .. })
    ));
    assert!(matches!(
        ImageFolder::default()
            .with_labels(true)
            .with_resolution(8)
            .open(odd.path()),
        Err(Error::Labels { .. })
    ));
}

#[test]
fn images_are_cropped_to_the_centre_and_shrunk() {
    // Green in the middle square, red to the left and right of it.
    let wide = RgbImage::from_fn(32, 16, |x, _| {
        let middle = (8..24).contains(&x);
        image::Rgb(if middle { [0, 200, 0] } else { [255, 0, 0] })
    });
    let bytes = encode(wide.as_raw(), 32, 16, ExtendedColorType::Rgb8);
    let folder = folder(&[("a.png", bytes.clone()), ("b.png", bytes)]);
    let settings = ImageFolder::default().with_resolution(8);
    let images = settings.open(folder.path()).unwrap();
    assert_eq!(images.shape(), [3, 8, 8]);
    let a = images.image(0).unwrap();
    assert!(a[..64].iter().all(|&v| v == 0) && a[64..128].iter().all(|&v| v == 200));
    let gray = settings.with_channels(1).open(folder.path()).unwrap();
    assert_eq!(gray.image(1).unwrap().len(), 64);
}

#[test]
fn jpegs_are_turned_as_their_metadata_say() {
    let picture = RgbImage::from_fn(16, 16, |x, _| image::Rgb([if x < 8 { 255 } else { 0 }; 3]));
    let mut plain = Vec::new();
    codecs::jpeg::JpegEncoder::new_with_quality(&mut plain, 95)
        .write_image(picture.as_raw(), 16, 16, ExtendedColorType::Rgb8)
        .unwrap();
    // An Exif segment with a single entry: orientation 6, a quarter turn clockwise.
    let mut tiff = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    tiff.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]);
    let mut turned = plain[..2].to_vec();
    turned.extend([0xff, 0xe1]);
    turned.extend(((tiff.len() + 2) as u16).to_be_bytes());
    turned.extend(&tiff);
    turned.extend(&plain[2..]);
    let folder = folder(&[("plain.jpg", plain), ("turned.jpeg", turned)]);
    let images = ImageFolder::default().open(folder.path()).unwrap();
    let (plain, turned) = (images.image(0).unwrap(), images.image(1).unwrap());
    // Bright on the left, and after the turn bright on top.
    assert!(plain[15 * 16] > 200 && plain[15] < 50);
    assert!(turned[15 * 16] < 50 && turned[15] > 200);
}

/// A link to a folder above ends; a folder is taken once, by the name that is no link.
#[cfg(unix)]
#[test]
fn links_between_folders_neither_turn_in_circles_nor_repeat_pictures() {
    use std::os::unix::fs::symlink;
    let names = ["0.png", "sub/1.png", "sub/deeper/2.png"];
    let data = folder(&names.map(|name| (name, png(8, 8, 1))));
    let other = folder(&[("3.png", png(8, 8, 2))]);
    let path = data.path();
    symlink(".", path.join("a_self")).unwrap();
    symlink("..", path.join("sub/above")).unwrap();
    symlink("sub", path.join("another_name")).unwrap();
    symlink(other.path(), path.join("z_elsewhere")).unwrap();
    symlink(other.path(), path.join("sub/elsewhere")).unwrap();
    symlink(path, other.path().join("back")).unwrap();
    symlink("0.png", path.join("picture.png")).unwrap();
    let images = ImageFolder::default().open(path).unwrap();
    let expected = [
        "0.png",
        "picture.png",
        "sub/1.png",
        "sub/deeper/2.png",
        "sub/elsewhere/3.png",
    ];
    assert_eq!(images.names(), expected);
    // A link by which the set is named is followed.
    symlink(path, other.path().join("set")).unwrap();
    let by_link = ImageFolder::default()
        .open(other.path().join("set"))
        .unwrap();
    assert_eq!(by_link.len(), 5);
}
