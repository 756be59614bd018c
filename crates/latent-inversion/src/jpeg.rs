//! Where a JPEG file's picture ends.

/// Markers that stand alone, without a segment after them.
const ALONE: std::ops::RangeInclusive<u8> = 0xD0..=0xD8;
const TEM: u8 = 0x01;
const END: u8 = 0xD9;
const SCAN: u8 = 0xDA;

/// Whether the main picture has a scan, and an end marker after it.
///
/// The markers are walked from the start, so that neither a preview within a segment nor what cameras
/// append to the picture (a second one, a video, a depth map) is taken for a part of it.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut scans = 0;
    while let Some(marker) = next_marker(&mut rest) {
        match marker {
            END => return scans > 0,
            TEM => {}
            marker if ALONE.contains(&marker) => {}
            _ => {
                scans += usize::from(marker == SCAN);
                let Some(&[high, low]) = rest.first_chunk() else {
                    return false;
                };
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(after) = rest.get(length..) else {
                    return false;
                };
                rest = after;
            }
        }
    }
    false
}

/// The next marker; `rest` is what follows it. Bytes between segments are the data of a scan, in which
/// 255 is followed by 0.
fn next_marker(rest: &mut &[u8]) -> Option<u8> {
    let mut pairs = rest.windows(2);
    let at = pairs.position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF))?;
    let marker = rest[at + 1];
    *rest = &rest[at + 2..];
    Some(marker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/photos/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    const FILES: [&str; 4] = ["colour.jpg", "progressive.jpg", "cmyk.jpg", "exif6.jpg"];

    #[test]
    fn whole_pictures_are_whole_whatever_follows_them() {
        for name in FILES {
            let picture = golden(name);
            assert!(is_whole(&picture), "{name}");
            assert!(!is_whole(&picture[..picture.len() - 2]), "{name}");
            // The head of a video with a scan's marker in it, and a second picture that is cut short.
            let appended: [&[u8]; 3] = [b"\0\0\0\x18ftypmp42", b"\xFF\xDA\0\x08", &picture[..40]];
            for data in appended {
                let file = [&picture, data].concat();
                assert!(is_whole(&file), "{name} {data:?}");
                assert!(crate::Photo::decode(&file, &crate::PhotoLimits::default()).is_ok());
            }
        }
    }

    /// A preview in a segment has an end of its own, which is not the picture's.
    #[test]
    fn a_preview_does_not_end_the_picture() {
        let picture = golden("colour.jpg");
        let preview = golden("exif6.jpg");
        let length = u16::try_from(preview.len() + 2).unwrap().to_be_bytes();
        let segment = [&[0xFF, 0xE2], &length[..], &preview].concat();
        let file = [&picture[..2], &segment, &picture[2..]].concat();
        assert!(is_whole(&file));
        let end = file.len();
        for cut in [
            end - 2,
            end - 20,
            2 + segment.len(),
            segment.len() - 5,
            3,
            0,
        ] {
            assert!(!is_whole(&file[..cut]), "{cut}");
        }
        // An end without a scan is no picture.
        assert!(!is_whole(b"\xFF\xD8\xFF\xD9"));
        assert!(!is_whole(b"\xFF\xD8\xFF\xE0\0\0\xFF\xD9"));
    }
}
