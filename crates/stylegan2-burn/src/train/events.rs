//! `TensorBoard` event files.
//!
//! A file is a sequence of records: length (8 bytes, little endian), masked CRC-32C of the length,
//! data, masked CRC-32C of the data. Each record is an `Event` message in the protocol-buffer wire
//! format; the first holds the version of the format.

use std::fs::File;
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::image::Pixels;

/// Writes scalars and images for `TensorBoard`.
///
/// `TensorBoard` looks for files whose name contains `tfevents` and merges all of a folder: a
/// resumed run writes a new one. Times are the caller's, in seconds since 1970.
///
/// ```
/// use stylegan2_burn::train::EventWriter;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let mut events = EventWriter::create(folder.path().join("events.out.tfevents.0"), 0.0)?;
/// events.scalar("Loss/G/loss", 1, 10.0, 0.7)?;
/// events.flush()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// Begins a file; one of the same name is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written.
    pub fn create(path: impl AsRef<Path>, seconds: f64) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = File::create(&path).map_err(Error::io(&path))?;
        let mut writer = Self {
            path,
            file: BufWriter::new(file),
        };
        let mut event = Message::default();
        event.double(1, seconds);
        event.bytes(3, b"brain.Event:2");
        writer.record(&event.0)?;
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a number.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, seconds: f64, value: f32) -> Result<()> {
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes());
        entry.float(2, value);
        self.summary(step, seconds, &entry)
    }

    /// Adds a picture of 1 or 3 channels.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for another number of channels, [`Error::Io`] if it cannot be written.
    pub fn image(&mut self, tag: &str, step: u64, seconds: f64, picture: &Pixels) -> Result<()> {
        let png = to_png(picture)?;
        let mut image = Message::default();
        image.integer(1, picture.height as u64);
        image.integer(2, picture.width as u64);
        image.integer(3, picture.channels as u64);
        image.bytes(4, &png);
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes());
        entry.bytes(4, &image.0);
        self.summary(step, seconds, &entry)
    }

    /// Hands what has been written to the operating system.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if that fails.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(Error::io(&self.path))
    }

    fn summary(&mut self, step: u64, seconds: f64, entry: &Message) -> Result<()> {
        let mut summary = Message::default();
        summary.bytes(1, &entry.0);
        let mut event = Message::default();
        event.double(1, seconds);
        event.integer(2, step);
        event.bytes(5, &summary.0);
        self.record(&event.0)
    }

    fn record(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(data.len() + 16);
        record.extend(length);
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(data);
        record.extend(masked_crc(data).to_le_bytes());
        self.file.write_all(&record).map_err(Error::io(&self.path))
    }
}

/// A picture as PNG.
fn to_png(picture: &Pixels) -> Result<Vec<u8>> {
    let color = match picture.channels {
        1 => image::ExtendedColorType::L8,
        3 => image::ExtendedColorType::Rgb8,
        c => {
            return Err(Error::Argument {
                name: "picture",
                reason: format!("{c} channels; a picture has 1 or 3"),
            });
        }
    };
    if picture.data.len() != picture.width * picture.height * picture.channels {
        return Err(Error::Argument {
            name: "picture",
            reason: format!(
                "{} bytes for {} x {} pixels",
                picture.data.len(),
                picture.width,
                picture.height
            ),
        });
    }
    let mut png = Cursor::new(Vec::new());
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    let (width, height) = (picture.width as u32, picture.height as u32);
    image::ImageEncoder::write_image(encoder, &picture.data, width, height, color).map_err(
        |e| Error::Argument {
            name: "picture",
            reason: e.to_string(),
        },
    )?;
    Ok(png.into_inner())
}

/// A protocol-buffer message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint((field << 3) | wire);
    }

    fn integer(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }
}

/// CRC-32C (Castagnoli), rotated and shifted so that checksums of checksums stay useful.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn crc32c(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |crc: u32, &byte: &u8| TABLE[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8);
    !data.iter().fold(!0, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of a message: number, and payload (bytes of fixed-size values, varints as 8 bytes).
    type Field = (u64, Vec<u8>);

    /// Reads a message without the writer's code.
    fn fields(mut data: &[u8]) -> Vec<Field> {
        fn varint(data: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let byte = data[0];
                *data = &data[1..];
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    return value;
                }
            }
            unreachable!()
        }
        let mut out = Vec::new();
        while !data.is_empty() {
            let key = varint(&mut data);
            let len = match key & 7 {
                0 => {
                    let value = varint(&mut data);
                    out.push((key >> 3, value.to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => varint(&mut data) as usize,
                5 => 4,
                other => panic!("wire type {other}"),
            };
            out.push((key >> 3, data[..len].to_vec()));
            data = &data[len..];
        }
        out
    }

    /// CRC-32C bit by bit.
    fn slow_crc(data: &[u8]) -> u32 {
        let mut crc = !0_u32;
        for byte in data {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            }
        }
        !crc
    }

    fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
        let unmask = |crc: u32| crc.wrapping_sub(0xa282_ead8).rotate_left(15);
        let u32_at = |b: &[u8]| u32::from_le_bytes(b[..4].try_into().unwrap());
        let mut out = Vec::new();
        while !file.is_empty() {
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            assert_eq!(unmask(u32_at(&file[8..])), slow_crc(&file[..8]));
            let data = &file[12..12 + length];
            assert_eq!(unmask(u32_at(&file[12 + length..])), slow_crc(data));
            out.push(data.to_vec());
            file = &file[16 + length..];
        }
        out
    }

    #[test]
    fn the_checksum_is_that_of_the_published_test_vectors() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn an_independent_reader_finds_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents.1");
        let mut writer = EventWriter::create(&path, 1.5).unwrap();
        writer.scalar("Loss/D/loss", 300, 2.5, -0.25).unwrap();
        let picture = Pixels {
            width: 2,
            height: 1,
            channels: 3,
            data: vec![255, 0, 0, 0, 0, 255],
        };
        writer.image("fakes", 301, 3.5, &picture).unwrap();
        writer.flush().unwrap();

        let records = records(&std::fs::read(&path).unwrap());
        assert_eq!(records.len(), 3);
        let first = fields(&records[0]);
        assert_eq!(first[0], (1, 1.5_f64.to_le_bytes().to_vec()));
        assert_eq!(first[1], (3, b"brain.Event:2".to_vec()));

        let entry = |record: &[u8], step: u64| {
            let event = fields(record);
            assert_eq!(event[1], (2, step.to_le_bytes().to_vec()));
            let summary = fields(&event[2].1);
            assert_eq!((event[2].0, summary[0].0), (5, 1));
            fields(&summary[0].1)
        };
        let scalar = entry(&records[1], 300);
        assert_eq!(scalar[0], (1, b"Loss/D/loss".to_vec()));
        assert_eq!(scalar[1], (2, (-0.25_f32).to_le_bytes().to_vec()));
        let entry = entry(&records[2], 301);
        assert_eq!((entry[0].clone(), entry[1].0), ((1, b"fakes".to_vec()), 4));
        let image = fields(&entry[1].1);
        let sizes: Vec<u8> = image[..3].iter().map(|f| f.1[0]).collect();
        assert_eq!(sizes, [1, 2, 3]);
        let decoded = image::load_from_memory(&image[3].1).unwrap().to_rgb8();
        assert_eq!(decoded.into_raw(), picture.data);
    }

    /// The same bytes as `TensorBoard`'s own writer makes (see the test's folder of golden files).
    #[test]
    fn a_scalar_is_written_as_tensorboard_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents.2");
        let mut writer = EventWriter::create(&path, 1.0).unwrap();
        writer.scalar("a", 7, 2.0, 0.5).unwrap();
        writer.flush().unwrap();
        let golden = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/golden/stylegan2/events.bin"
        );
        assert_eq!(
            std::fs::read(&path).unwrap(),
            std::fs::read(golden).unwrap()
        );
    }

    #[test]
    fn faults_are_errors() {
        assert!(matches!(
            EventWriter::create("/no/such/folder/events", 0.0),
            Err(Error::Io { .. })
        ));
        let picture = Pixels {
            width: 1,
            height: 1,
            channels: 4,
            data: vec![0; 4],
        };
        let error = to_png(&picture).unwrap_err().to_string();
        assert!(error.contains("4 channels"), "{error}");
    }
}
