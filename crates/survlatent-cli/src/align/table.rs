//! `aligned.csv`, and landmarks from elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use latent_inversion::align::{Alignment, Landmarks, Measures, SetAside};
use latent_inversion::face::Face;
use survlatent::{Error, OutputFile};

use super::files::Entry;
use crate::failure::Failure;

/// Names of the five points' columns, each with `_x` and `_y`.
const POINTS: [&str; 5] = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"];
const QUAD: [&str; 4] = ["top_left", "bottom_left", "bottom_right", "top_right"];

/// What is known of a photo.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) file: String,
    pub(super) bytes: u64,
    /// `aligned`, `set_aside` or `unreadable`.
    pub(super) status: String,
    /// One word, empty if aligned.
    pub(super) reason: String,
    message: String,
    pub(super) output: String,
    probability: Option<f64>,
    bounds: Option<[f64; 4]>,
    pub(super) landmarks: Option<[[f64; 2]; 5]>,
    quad: Option<[[f64; 2]; 4]>,
    measures: Measures,
}

impl Row {
    fn new(entry: &Entry, status: &str) -> Self {
        Self {
            file: entry.name.clone(),
            bytes: entry.bytes,
            status: status.to_owned(),
            reason: String::new(),
            message: String::new(),
            output: String::new(),
            probability: None,
            bounds: None,
            landmarks: None,
            quad: None,
            measures: Measures::default(),
        }
    }

    fn with_face(mut self, face: Option<&Face>, landmarks: Option<Landmarks>) -> Self {
        self.probability = face.map(|f| f.probability);
        self.bounds = face.map(|f| f.bounds);
        self.landmarks = landmarks.map(|l| l.points());
        self
    }

    pub(super) fn aligned(entry: &Entry, alignment: &Alignment) -> Self {
        let mut row = Self::new(entry, "aligned")
            .with_face(alignment.face.as_ref(), Some(alignment.landmarks));
        row.output.clone_from(&entry.output);
        row.quad = Some(alignment.quad.corners());
        row.measures = alignment.measures;
        row
    }

    pub(super) fn set_aside(entry: &Entry, why: &SetAside) -> Self {
        let mut row = Self::new(entry, "set_aside").with_face(why.face.as_ref(), why.landmarks);
        why.reason.name().clone_into(&mut row.reason);
        row.message = why.reason.to_string();
        row.measures = why.measures;
        row
    }

    pub(super) fn unreadable(entry: &Entry, message: String) -> Self {
        let mut row = Self::new(entry, "unreadable");
        "unreadable".clone_into(&mut row.reason);
        row.message = message;
        row
    }

    /// Without landmarks, or with such that cannot be.
    pub(super) fn no_landmarks(entry: &Entry, message: &str) -> Self {
        let mut row = Self::new(entry, "set_aside");
        "landmarks".clone_into(&mut row.reason);
        message.clone_into(&mut row.message);
        row
    }

    fn header() -> Vec<String> {
        let mut names: Vec<String> = [
            "file",
            "bytes",
            "status",
            "reason",
            "message",
            "output",
            "probability",
            "left",
            "top",
            "right",
            "bottom",
        ]
        .map(str::to_owned)
        .to_vec();
        for point in POINTS {
            names.extend([format!("{point}_x"), format!("{point}_y")]);
        }
        for corner in QUAD {
            names.extend([format!("quad_{corner}_x"), format!("quad_{corner}_y")]);
        }
        let measures = ["eye_distance", "sharpness", "yaw", "beyond"];
        names.extend(measures.map(str::to_owned));
        names
    }

    fn fields(&self) -> Vec<String> {
        let mut fields = vec![
            self.file.clone(),
            self.bytes.to_string(),
            self.status.clone(),
            self.reason.clone(),
            self.message.clone(),
            self.output.clone(),
        ];
        let mut numbers = vec![self.probability];
        numbers.extend(spread(self.bounds.as_ref().map(<[f64; 4]>::as_slice), 4));
        numbers.extend(spread(
            self.landmarks.as_ref().map(|p| p.as_flattened()),
            10,
        ));
        numbers.extend(spread(self.quad.as_ref().map(|p| p.as_flattened()), 8));
        let m = self.measures;
        numbers.extend([m.eye_distance, m.sharpness, m.yaw, m.beyond]);
        // The shortest text that is read back as the same number.
        let texts = numbers.iter();
        fields.extend(texts.map(|v| v.map_or_else(String::new, |v| v.to_string())));
        fields
    }

    fn parse(record: &csv::StringRecord) -> Option<Self> {
        let number = |k: usize| -> Option<Option<f64>> {
            match record.get(k)? {
                "" => Some(None),
                text => text.parse().ok().map(Some),
            }
        };
        let mut numbers = Vec::new();
        for k in 6..Self::header().len() {
            numbers.push(number(k)?);
        }
        let text = |k: usize| record.get(k).map(str::to_owned);
        Some(Self {
            file: text(0)?,
            bytes: record.get(1)?.parse().ok()?,
            status: text(2)?,
            reason: text(3)?,
            message: text(4)?,
            output: text(5)?,
            probability: numbers[0],
            bounds: gather(&numbers[1..5]),
            landmarks: gather::<10>(&numbers[5..15]).map(pairs),
            quad: gather::<8>(&numbers[15..23]).map(pairs),
            measures: Measures {
                eye_distance: numbers[23],
                sharpness: numbers[24],
                yaw: numbers[25],
                beyond: numbers[26],
            },
        })
    }
}

fn spread(values: Option<&[f64]>, n: usize) -> Vec<Option<f64>> {
    values.map_or_else(|| vec![None; n], |v| v.iter().copied().map(Some).collect())
}

fn gather<const N: usize>(values: &[Option<f64>]) -> Option<[f64; N]> {
    let values: Option<Vec<f64>> = values.iter().copied().collect();
    values?.try_into().ok()
}

fn pairs<const N: usize, const M: usize>(values: [f64; N]) -> [[f64; 2]; M] {
    std::array::from_fn(|k| [values[2 * k], values[2 * k + 1]])
}

/// Writes the table, whole or not at all.
pub(super) fn write<'a>(path: &Path, rows: impl Iterator<Item = &'a Row>) -> Result<(), Failure> {
    let failed = |error: csv::Error| Failure::run(format!("{}: {error}", path.display()));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(Row::header()).map_err(failed)?;
    for row in rows {
        writer.write_record(row.fields()).map_err(failed)?;
    }
    let content = writer
        .into_inner()
        .map_err(|e| Failure::run(e.to_string()))?;
    Ok(OutputFile::create(path)?.write(&content)?)
}

/// Reads back what [`write`] has written; none if there is no such file.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Row>, Failure> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let spoilt = |what: String| {
        Failure::run(format!(
            "{}: {what}; it is not as it was written: delete it and the faces beside it, and all photos are \
             aligned again",
            path.display()
        ))
    };
    let mut reader = csv::Reader::from_path(path).map_err(|e| spoilt(e.to_string()))?;
    let header = reader.headers().map_err(|e| spoilt(e.to_string()))?;
    if header.iter().ne(Row::header().iter().map(String::as_str)) {
        return Err(spoilt("other columns".to_owned()));
    }
    let mut rows = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|e| spoilt(e.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let row = Row::parse(&record).ok_or_else(|| spoilt(format!("line {line}")))?;
        rows.insert(row.file.clone(), row);
    }
    Ok(rows)
}

/// Landmarks by photo: a column `file` and five points named as in `aligned.csv`, or 68 as
/// `x1,y1,...,x68,y68`; other columns are passed over.
pub(super) fn landmarks(
    path: &Path,
) -> Result<BTreeMap<String, Result<Landmarks, String>>, Failure> {
    let failed = |what: String| Failure::run(format!("{}: {what}", path.display()));
    let file = std::fs::File::open(path).map_err(|source| {
        Failure::from(Error::Io {
            path: path.to_owned(),
            source,
        })
    })?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(file);
    let header = reader.headers().map_err(|e| failed(e.to_string()))?.clone();
    let column = |name: &str| header.iter().position(|h| h == name);
    let all = |names: Vec<String>| -> Option<Vec<usize>> {
        names.iter().map(|name| column(name)).collect()
    };
    let five = POINTS
        .iter()
        .flat_map(|p| [format!("{p}_x"), format!("{p}_y")]);
    let many = (1..=68).flat_map(|k| [format!("x{k}"), format!("y{k}")]);
    let places = all(five.collect()).or_else(|| all(many.collect()));
    let (Some(name), Some(places)) = (column("file"), places) else {
        return Err(failed(
            "needs a column `file`, and either `left_eye_x`, `left_eye_y`, and so on for \
             right_eye, nose, mouth_left, mouth_right, or `x1`, `y1` to `x68`, `y68`"
                .to_owned(),
        ));
    };
    let mut found = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|e| failed(e.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        // A stray quotation mark takes the lines up to the next one, or to the end, into its cell.
        let rows = |cell: &str| {
            cell.contains(['\n', '\r']) && cell.matches(',').count() + 1 >= header.len()
        };
        if record.iter().any(rows) {
            let what = "a cell goes on over other rows: is a quotation mark astray?";
            return Err(failed(format!("line {line}: {what}")));
        }
        // A photo in which no face was found has none, as in our own table.
        let cells = || places.iter().map(|&k| record.get(k).unwrap_or_default());
        let none = cells().all(str::is_empty);
        let mut values = Vec::with_capacity(places.len());
        for (&k, text) in places.iter().zip(cells()).filter(|_| !none) {
            values.push(text.parse::<f64>().map_err(|_| {
                let column = &header[k];
                failed(format!(
                    "line {line}, column `{column}`: `{text}` is not a number"
                ))
            })?);
        }
        let points: Vec<[f64; 2]> = values.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
        let landmarks = match <[[f64; 2]; 68]>::try_from(points) {
            Ok(points) => Landmarks::from_68(&points).map_err(|e| e.to_string()),
            Err(points) if points.is_empty() => Err("the table has no landmarks for it".to_owned()),
            Err(points) => {
                Landmarks::from_five(std::array::from_fn(|k| points[k])).map_err(|e| e.to_string())
            }
        };
        let file = record.get(name).unwrap_or_default().replace('\\', "/");
        if found.insert(file.clone(), landmarks).is_some() {
            return Err(failed(format!("line {line}: `{file}` is there twice")));
        }
    }
    Ok(found)
}
