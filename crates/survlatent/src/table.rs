//! A table with typed columns that remembers the line of every row of a CSV file.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Header, Place, Result};
use crate::quotes;

/// Cells that stand for a missing value, in any mixture of upper and lower case; an empty cell
/// is missing too.
pub const MISSING: [&str; 4] = ["NA", "N/A", "NaN", "null"];

/// First bytes of a Parquet file and of an Arrow file.
pub(crate) const PARQUET: &[u8] = b"PAR1";
pub(crate) const ARROW: &[u8] = b"ARROW1\0\0";

/// Whole numbers up to here have each a double-precision number of their own.
pub(crate) const EXACT: u64 = 1 << 53;

/// The name of a column of identifiers, where nothing else names it.
pub(crate) const ID: &str = "id";

/// Code of a missing cell in [`Labels::codes`].
const NO_LEVEL: u32 = u32::MAX;

/// A table read from CSV: comma-separated, UTF-8, with a header line. With the feature `parquet` also
/// from Parquet and Arrow files and from Arrow's record batches.
///
/// Cells are trimmed of spaces. A cell that is empty or one of [`MISSING`] is missing. A column
/// is numeric when every cell that is not missing is a number; a text column is one with
/// something else in it. Where whole numbers do not read back as they are written (`007`, `+7`, beyond
/// 2^53), their text is kept beside them, for [`Table::identifiers`].
///
/// ```
/// use survlatent::Table;
/// let table = Table::from_csv(b"time,cell\n72,squamous\n411,NA\n")?;
/// assert_eq!(table.numbers("time")?, [72.0, 411.0]);
/// assert_eq!(table.labels("cell")?.levels(), ["squamous"]);
/// let error = table.numbers("tiem").unwrap_err();
/// assert_eq!(error.to_string(), "there is no column `tiem`; did you mean `time`?");
/// # Ok::<(), survlatent::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    /// Name -> place among the columns.
    index: HashMap<String, usize>,
    n: usize,
    /// Row -> line of the file, where it has lines.
    lines: Option<Vec<u64>>,
}

/// One column of a [`Table`].
#[derive(Debug, Clone)]
pub struct Column {
    name: String,
    cells: Cells,
}

#[derive(Debug, Clone)]
enum Cells {
    Numbers {
        /// NaN where missing.
        values: Vec<f64>,
        /// The cells as they are written, where the numbers do not say that.
        written: Option<Labels>,
    },
    Text {
        labels: Labels,
        first_text: usize,
        some_number: bool,
    },
    /// Of a type that is no part of an analysis (dates, lists).
    #[cfg(feature = "parquet")]
    Other { type_name: String },
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers (and missing cells) only.
    Numeric,
    /// No cell is a number. Columns of a type that cannot be read, such as dates, count as text.
    Text,
    /// Numbers and other text.
    Mixed,
}

/// A column as categories: levels in sorted order and a code per row.
///
/// Numbers sort by size, text by its bytes (capitals before small letters, whatever the locale).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    codes: Vec<u32>,
    levels: Vec<String>,
}

impl Labels {
    /// Level of row `i`, none when its cell is missing.
    pub fn code(&self, row: usize) -> Option<u32> {
        Some(self.codes[row]).filter(|&code| code != NO_LEVEL)
    }

    /// Names of the levels, sorted.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }

    fn from_text(cells: &[Option<&str>]) -> Self {
        let mut levels: Vec<&str> = cells.iter().flatten().copied().collect();
        levels.sort_unstable();
        levels.dedup();
        let code = |cell: Option<&str>| match cell {
            Some(cell) => levels.binary_search(&cell).map_or(NO_LEVEL, |k| k as u32),
            None => NO_LEVEL,
        };
        Self {
            codes: cells.iter().copied().map(code).collect(),
            levels: levels.iter().map(ToString::to_string).collect(),
        }
    }

    fn from_numbers(values: &[f64]) -> Self {
        // `+ 0.0` makes one level of the two zeros.
        let mut levels: Vec<f64> = values.iter().map(|v| v + 0.0).collect();
        levels.retain(|v| !v.is_nan());
        levels.sort_unstable_by(f64::total_cmp);
        levels.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let code = |v: &f64| {
            levels
                .binary_search_by(|level| level.total_cmp(&(v + 0.0)))
                .map_or(NO_LEVEL, |k| k as u32)
        };
        Self {
            codes: values.iter().map(code).collect(),
            levels: levels.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(feature = "parquet")]
impl Column {
    /// Numbers, NaN where missing.
    pub(crate) fn numeric(name: &str, values: Vec<f64>) -> Self {
        Self::new(name, Cells::numbers(values))
    }

    /// Text as it stands in a CSV file; as identifiers it keeps every character.
    pub(crate) fn text(name: &str, cells: &[Option<String>]) -> Self {
        let cells: Vec<Option<&str>> = cells
            .iter()
            .map(|c| c.as_deref().map(str::trim).filter(|c| !is_missing(c)))
            .collect();
        Self::new(name, Cells::new(cells.iter().copied(), true))
    }

    /// Text even where it reads as numbers.
    pub(crate) fn labelled(name: &str, cells: &[Option<String>]) -> Self {
        let cells: Vec<Option<&str>> = cells.iter().map(Option::as_deref).collect();
        let text = Cells::Text {
            labels: Labels::from_text(&cells),
            first_text: cells.iter().position(Option::is_some).unwrap_or(0),
            some_number: false,
        };
        Self::new(name, text)
    }

    /// Cells that cannot be used.
    pub(crate) fn other(name: &str, type_name: String) -> Self {
        Self::new(name, Cells::Other { type_name })
    }

    fn new(name: &str, cells: Cells) -> Self {
        Self {
            name: name.trim().to_owned(),
            cells,
        }
    }
}

impl Column {
    /// The name in the header.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its cells are.
    pub fn kind(&self) -> Kind {
        match &self.cells {
            Cells::Numbers { .. } => Kind::Numeric,
            Cells::Text {
                some_number: true, ..
            } => Kind::Mixed,
            Cells::Text { .. } => Kind::Text,
            #[cfg(feature = "parquet")]
            Cells::Other { .. } => Kind::Text,
        }
    }

    /// Whether the cell of row `row` is missing.
    pub fn is_missing(&self, row: usize) -> bool {
        match &self.cells {
            Cells::Numbers { values, .. } => values[row].is_nan(),
            Cells::Text { labels, .. } => labels.code(row).is_none(),
            #[cfg(feature = "parquet")]
            Cells::Other { .. } => false,
        }
    }
}

impl Table {
    /// Reads a CSV file, or with the feature `parquet` a Parquet or Arrow file, told by its first bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; otherwise what [`Table::from_csv`] or its like refuse, with the file's name.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_with(path, &[ID])
    }

    /// The same, with columns of which every cell is kept as it is written.
    pub(crate) fn read_with(path: impl AsRef<Path>, identifiers: &[&str]) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(&bytes, identifiers).map_err(|error| error.in_file(path))
    }

    /// Reads a table from the bytes of a file of any of the formats.
    pub(crate) fn from_bytes(bytes: &[u8], identifiers: &[&str]) -> Result<Self> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        match (starts(PARQUET), starts(ARROW)) {
            (false, false) => Self::from_csv_with(bytes, identifiers),
            #[cfg(feature = "parquet")]
            (true, _) => Self::from_parquet(bytes.to_vec()),
            #[cfg(feature = "parquet")]
            (_, true) => Self::from_arrow(bytes.to_vec()),
            #[cfg(not(feature = "parquet"))]
            (parquet, _) => Err(Error::Format {
                format: if parquet { "Parquet" } else { "Arrow" },
                reason: "this program was built without the feature `parquet`".into(),
            }),
        }
    }

    /// Reads a table from the bytes of a CSV file.
    ///
    /// # Errors
    /// [`Error::EmptyTable`], [`Error::NotText`], [`Error::Quote`], [`Error::Ragged`],
    /// [`Error::DuplicateColumn`].
    pub fn from_csv(bytes: &[u8]) -> Result<Self> {
        Self::from_csv_with(bytes, &[ID])
    }

    fn from_csv_with(bytes: &[u8], identifiers: &[&str]) -> Result<Self> {
        quotes::closed(bytes)?;
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            .from_reader(bytes);
        let mut record = csv::ByteRecord::new();
        let mut lines_read = LineCounter::new(bytes);
        if !next(&mut reader, &mut record)? {
            return Err(Error::EmptyTable { what: "header" });
        }
        let line = lines_read.line_of(&record);
        quotes::within_a_row(&record, line, record.len())?;
        let (names, index) = header(&record, line)?;
        let mut lines = Vec::new();
        // All cells as text, row after row; the end of each cell in `ends`.
        let (mut text, mut ends) = (String::new(), Vec::new());
        while next(&mut reader, &mut record)? {
            let line = lines_read.line_of(&record);
            quotes::within_a_row(&record, line, names.len())?;
            if record.len() != names.len() {
                return Err(Error::Ragged {
                    row: lines.len(),
                    line,
                    found: record.len(),
                    expected: names.len(),
                    header: Header::of(names.iter().map(String::as_str)),
                });
            }
            for cell in &record {
                let cell = std::str::from_utf8(cell).map_err(|_| Error::NotText { line })?;
                text.push_str(cell.trim());
                ends.push(text.len());
            }
            lines.push(line);
        }
        if lines.is_empty() {
            return Err(Error::EmptyTable { what: "data rows" });
        }
        let p = names.len();
        let cell = |row: usize, column: usize| {
            let at = row * p + column;
            let start = if at == 0 { 0 } else { ends[at - 1] };
            Some(&text[start..ends[at]]).filter(|cell| !is_missing(cell))
        };
        let columns = names
            .into_iter()
            .enumerate()
            .map(|(j, name)| {
                let exact = identifiers.contains(&name.as_str());
                let cells = Cells::new((0..lines.len()).map(|i| cell(i, j)), exact);
                Column { name, cells }
            })
            .collect();
        Ok(Self {
            columns,
            index,
            n: lines.len(),
            lines: Some(lines),
        })
    }

    /// From columns without lines, each of `n` cells.
    #[cfg(feature = "parquet")]
    pub(crate) fn from_columns(columns: Vec<Column>, n: usize) -> Result<Self> {
        if columns.is_empty() {
            return Err(Error::EmptyTable { what: "columns" });
        }
        if n == 0 {
            return Err(Error::EmptyTable { what: "data rows" });
        }
        let names: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
        Ok(Self {
            index: places(&names)?,
            columns,
            n,
            lines: None,
        })
    }

    /// With a numeric column more, of a value per row; NaN is a missing cell.
    pub(crate) fn with_numbers(mut self, name: &str, values: Vec<f64>) -> Result<Self> {
        if values.len() != self.n {
            return Err(Error::Rows {
                latents: values.len(),
                patients: self.n,
            });
        }
        let second = self.columns.len();
        if let Some(first) = self.index.insert(name.to_owned(), second) {
            return Err(Error::DuplicateColumn {
                name: name.to_owned(),
                first,
                second,
            });
        }
        self.columns.push(Column {
            name: name.to_owned(),
            cells: Cells::numbers(values),
        });
        Ok(self)
    }

    /// Some of the columns, their cells as they are written: equal numbers written otherwise differ.
    pub(crate) fn as_written(&self, names: &[String]) -> Result<Self> {
        let column = |name: &String| {
            let labels = self.identifiers(name)?;
            let cells = Cells::Text {
                labels,
                first_text: 0,
                some_number: false,
            };
            let name = name.clone();
            Ok(Column { name, cells })
        };
        Ok(Self {
            columns: names.iter().map(column).collect::<Result<_>>()?,
            index: names.iter().cloned().zip(0..).collect(),
            n: self.n,
            lines: self.lines.clone(),
        })
    }

    /// Number of data rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The columns in the order of the header.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownColumn`] with the nearest name there is.
    pub fn column(&self, name: &str) -> Result<&Column> {
        match self.index.get(name) {
            Some(&j) => Ok(&self.columns[j]),
            None => Err(self.unknown(name)),
        }
    }

    /// A numeric column; NaN where a cell is missing.
    ///
    /// # Errors
    /// [`Error::UnknownColumn`]; [`Error::NotANumber`] names the first cell that is none;
    /// [`Error::ColumnType`].
    pub fn numbers(&self, name: &str) -> Result<&[f64]> {
        match &self.column(name)?.cells {
            Cells::Numbers { values, .. } => Ok(values),
            Cells::Text {
                labels, first_text, ..
            } => Err(Error::NotANumber {
                place: self.place(name, *first_text),
                text: labels.levels[labels.codes[*first_text] as usize].clone(),
            }),
            #[cfg(feature = "parquet")]
            Cells::Other { type_name } => Err(column_type(name, type_name)),
        }
    }

    /// An event column: 0, 1, true and false in any case; none where a cell is missing.
    ///
    /// # Errors
    /// [`Error::UnknownColumn`]; [`Error::NotAnEvent`] names the first cell that is none;
    /// [`Error::ColumnType`].
    pub fn events(&self, name: &str) -> Result<Vec<Option<bool>>> {
        let labels = self.labels(name)?;
        let meaning: Vec<Option<bool>> = labels.levels.iter().map(|level| event(level)).collect();
        (0..self.n())
            .map(|row| match labels.code(row) {
                None => Ok(None),
                Some(code) => match meaning[code as usize] {
                    Some(event) => Ok(Some(event)),
                    None => Err(Error::NotAnEvent {
                        place: self.place(name, row),
                        text: labels.levels[code as usize].clone(),
                    }),
                },
            })
            .collect()
    }

    /// Any column as categories. Numbers are one category however they are written, but for whole
    /// numbers beyond 2^53, which are text.
    ///
    /// # Errors
    /// [`Error::UnknownColumn`], [`Error::ColumnType`].
    pub fn labels(&self, name: &str) -> Result<Labels> {
        Ok(match &self.column(name)?.cells {
            Cells::Numbers {
                values,
                written: Some(written),
            } if values.iter().any(|v| v.abs() >= EXACT as f64) => written.clone(),
            Cells::Numbers { values, .. } => Labels::from_numbers(values),
            Cells::Text { labels, .. } => labels.clone(),
            #[cfg(feature = "parquet")]
            Cells::Other { type_name } => return Err(column_type(name, type_name)),
        })
    }

    /// Any column as names of patients, photos or groups, which are told apart by how they are written:
    /// `007` is not `7`. Of numbers that is known of whole ones, and of all in a column called `id`.
    ///
    /// ```
    /// let table = survlatent::Table::from_csv(b"patient,time\n007,1\n7,2\n10000000000000001,3\n")?;
    /// assert_eq!(table.identifiers("patient")?.levels(), ["007", "10000000000000001", "7"]);
    /// # Ok::<(), survlatent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownColumn`], [`Error::ColumnType`].
    pub fn identifiers(&self, name: &str) -> Result<Labels> {
        match &self.column(name)?.cells {
            Cells::Numbers {
                written: Some(written),
                ..
            } => Ok(written.clone()),
            _ => self.labels(name),
        }
    }

    /// A cell for an error message.
    pub fn place(&self, column: &str, row: usize) -> Place {
        Place {
            column: column.to_owned(),
            row,
            line: self.lines.as_ref().map(|lines| lines[row]),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        Error::UnknownColumn {
            name: name.to_owned(),
            nearest: nearest(name, self.columns.iter().map(Column::name)),
            header: Header::of(self.columns.iter().map(Column::name)),
        }
    }
}

#[cfg(feature = "parquet")]
fn column_type(name: &str, type_name: &str) -> Error {
    Error::ColumnType {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
    }
}

impl Cells {
    fn numbers(values: Vec<f64>) -> Self {
        Self::Numbers {
            values,
            written: None,
        }
    }

    /// `exact`: whether numbers are names, of which every character counts.
    fn new<'a>(cells: impl Iterator<Item = Option<&'a str>> + Clone, exact: bool) -> Self {
        let (mut first_text, mut some_number) = (None, false);
        for (row, cell) in cells.clone().enumerate() {
            match cell.map(number) {
                Some(Some(_)) => some_number = true,
                Some(None) => first_text = first_text.or(Some(row)),
                None => {}
            }
            if some_number && first_text.is_some() {
                break;
            }
        }
        match first_text {
            None => {
                let lost = |cell| reads_back(cell, exact).is_some_and(|same| !same);
                let lost = cells.clone().flatten().any(lost);
                Self::Numbers {
                    written: lost.then(|| Labels::from_text(&cells.clone().collect::<Vec<_>>())),
                    values: cells
                        .map(|cell| cell.and_then(number).unwrap_or(f64::NAN))
                        .collect(),
                }
            }
            Some(first_text) => Self::Text {
                labels: Labels::from_text(&cells.collect::<Vec<_>>()),
                first_text,
                some_number,
            },
        }
    }
}

/// The name most like `name`, if any is like it at all.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    const ALIKE: f64 = 0.5;
    let name = name.to_lowercase();
    names
        .map(|candidate| {
            let alike = strsim::normalized_damerau_levenshtein(&name, &candidate.to_lowercase());
            (alike, candidate)
        })
        .filter(|&(alike, _)| alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// A finite or infinite number; `nan` is a missing value and never gets here.
fn number(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|v: &f64| !v.is_nan())
}

/// Whether a number prints as it was written. Of numbers that are not whole it is asked only where they
/// are names: nobody misses the last zero of a measurement, and the texts of a table of latents would
/// take several times its memory.
fn reads_back(cell: &str, exact: bool) -> Option<bool> {
    let digits = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match whole {
        true => Some(
            !cell.starts_with('+')
                && (digits == "0" || !digits.starts_with('0'))
                && digits.parse().is_ok_and(|v: u64| v <= EXACT),
        ),
        false if exact => number(cell).map(|v| v.to_string() == cell),
        false => None,
    }
}

fn is_missing(cell: &str) -> bool {
    cell.is_empty() || MISSING.iter().any(|token| cell.eq_ignore_ascii_case(token))
}

fn event(level: &str) -> Option<bool> {
    match level {
        _ if level.eq_ignore_ascii_case("true") => Some(true),
        _ if level.eq_ignore_ascii_case("false") => Some(false),
        _ => match number(level)? {
            v if v.total_cmp(&1.0).is_eq() => Some(true),
            v if (v + 0.0).total_cmp(&0.0).is_eq() => Some(false),
            _ => None,
        },
    }
}

/// Reads the next record, if there is one.
fn next(reader: &mut csv::Reader<&[u8]>, record: &mut csv::ByteRecord) -> Result<bool> {
    // Reading bytes from memory, flexibly, has no way to fail; the message is kept all the same.
    reader
        .read_byte_record(record)
        .map_err(|error| Error::Format {
            format: "CSV",
            reason: error.to_string(),
        })
}

/// Lines of records, counted here because the csv crate gives the line where it began to look
/// for a record, before empty lines and the second half of a CRLF.
struct LineCounter<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> LineCounter<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            line: 1,
        }
    }

    /// Line of a record that lies behind all asked for before.
    fn line_of(&mut self, record: &csv::ByteRecord) -> u64 {
        let from = record.position().map_or(0, csv::Position::byte) as usize;
        let ends_line = |byte: u8| byte == b'\n' || byte == b'\r';
        while let Some(&byte) = self.bytes.get(self.at)
            && (self.at < from || ends_line(byte))
        {
            let crlf = byte == b'\r' && self.bytes.get(self.at + 1) == Some(&b'\n');
            self.line += u64::from(ends_line(byte) && !crlf);
            self.at += 1;
        }
        self.line
    }
}

/// Column names in order, and the place of each.
fn header(record: &csv::ByteRecord, line: u64) -> Result<(Vec<String>, HashMap<String, usize>)> {
    let name = |cell| std::str::from_utf8(cell).map_err(|_| Error::NotText { line });
    let names: Vec<String> = record
        .iter()
        .map(|cell| Ok(name(cell)?.trim().to_owned()))
        .collect::<Result<_>>()?;
    let index = places(&names)?;
    Ok((names, index))
}

/// The place of each name, none of which may come twice.
fn places(names: &[String]) -> Result<HashMap<String, usize>> {
    let mut seen = HashMap::with_capacity(names.len());
    for (second, name) in names.iter().enumerate() {
        if let Some(first) = seen.insert(name.clone(), second) {
            return Err(Error::DuplicateColumn {
                name: name.clone(),
                first,
                second,
            });
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(csv: &str) -> String {
        Table::from_csv(csv.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn structure_is_checked_by_line() {
        assert_eq!(message(""), "the table has no header");
        assert_eq!(message("a,b\n"), "the table has no data rows");
        assert_eq!(
            message("a,b\n1,2\n\n3\n"),
            "row 2 (line 4) has 1 cells, the header has 2"
        );
        assert_eq!(
            message("a,b,a\n1,2,3\n"),
            "column 1 and column 3 are both called `a`"
        );
        let latin1 = Table::from_csv(b"a\nx\n\xe9\n").unwrap_err();
        assert!(matches!(latin1, Error::NotText { line: 3 }));
        // As spreadsheets write it where numbers have decimal commas.
        assert_eq!(
            message("time;age\n1,5;60,2\n"),
            "row 1 (line 2) has 3 cells, the header has 1; the header has semicolons, but cells are \
             separated by commas (and decimals by points)"
        );
    }

    #[test]
    fn columns_are_typed() {
        let table = Table::from_csv(
            b"\xef\xbb\xbfx,cell,mixed,empty\r\n 1.5 ,b,1,\r\nNA,\"a\",two,nan\r\n1e3,,3,NULL\r\n",
        )
        .unwrap();
        let kinds: Vec<Kind> = table.columns().iter().map(Column::kind).collect();
        assert_eq!(
            kinds,
            [Kind::Numeric, Kind::Text, Kind::Mixed, Kind::Numeric]
        );
        let x = table.numbers("x").unwrap();
        assert!(x[1].is_nan());
        assert_eq!(
            [x[0], x[2]].map(f64::to_bits),
            [1.5f64, 1000.0].map(f64::to_bits)
        );
        let cell = table.labels("cell").unwrap();
        assert_eq!(cell.levels(), ["a", "b"]);
        assert_eq!(
            (cell.code(0), cell.code(1), cell.code(2)),
            (Some(1), Some(0), None)
        );
        assert!(table.column("empty").unwrap().is_missing(1));
        assert_eq!(
            table.numbers("mixed").unwrap_err().to_string(),
            "column `mixed`, row 2 (line 3): `two` is not a number"
        );
    }

    #[test]
    fn numeric_levels_sort_by_size() {
        let table = Table::from_csv(b"g\n10\n2\n-0\n0\n2.0\n").unwrap();
        assert_eq!(table.labels("g").unwrap().levels(), ["0", "2", "10"]);
    }

    #[test]
    fn identifiers_are_told_apart_by_how_they_are_written() {
        let table = Table::from_csv(
            b"id,patient,site,dose\n1.10,12345678901234567,01,1.0\n1.1,12345678901234568,1,1\n\
              1,NA,+2,0.50\n",
        )
        .unwrap();
        let levels = |name: &str| table.identifiers(name).unwrap().levels().to_vec();
        assert_eq!(levels("id"), ["1", "1.1", "1.10"]);
        assert_eq!(levels("patient").len(), 2);
        assert_eq!(table.identifiers("patient").unwrap().code(2), None);
        assert_eq!(levels("site"), ["+2", "01", "1"]);
        // As categories they are numbers while those can be told apart.
        assert_eq!(table.labels("site").unwrap().levels(), ["1", "2"]);
        assert_eq!(table.labels("patient").unwrap().levels().len(), 2);
        assert_eq!(table.column("patient").unwrap().kind(), Kind::Numeric);
        // Measurements keep no text.
        let kept = |name: &str| match &table.column(name).unwrap().cells {
            Cells::Numbers { written, .. } => written.is_some(),
            _ => false,
        };
        assert!(kept("id") && kept("site") && !kept("dose"));
        let plain = Table::from_csv(b"id,x\n0,-0\n-7,1e-5\n9007199254740992,10\n").unwrap();
        let columns = plain.columns().iter();
        assert!(
            columns
                .into_iter()
                .all(|c| matches!(c.cells, Cells::Numbers { written: None, .. }))
        );
    }

    #[test]
    fn events_are_zero_one_true_false_and_nothing_else() {
        let table =
            Table::from_csv(b"a,b,c,d\n1,TRUE,1,yes\n0,false,2,no\n1.0,True,1,no\n").unwrap();
        let yes = Some(true);
        assert_eq!(table.events("a").unwrap(), [yes, Some(false), yes]);
        assert_eq!(table.events("b").unwrap(), [yes, Some(false), yes]);
        let error = table.events("c").unwrap_err().to_string();
        assert!(
            error.starts_with("column `c`, row 2 (line 3): `2` is not an event indicator"),
            "{error}"
        );
        assert!(error.contains("1/2"));
        assert!(table.events("d").is_err());
    }

    #[test]
    fn the_nearest_name_is_offered() {
        let table = Table::from_csv(b"time,status,age\n1,1,1\n").unwrap();
        let say = |name: &str| table.column(name).unwrap_err().to_string();
        assert_eq!(
            say("Status2"),
            "there is no column `Status2`; did you mean `status`?"
        );
        assert_eq!(say("zzzzz"), "there is no column `zzzzz`");
        let table = Table::from_csv(b"time;status\n1;2\n").unwrap();
        let error = table.column("time").unwrap_err().to_string();
        assert!(error.contains("semicolons"), "{error}");
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn files_that_need_the_feature_say_so() {
        for (bytes, format) in [("PAR1..", "Parquet"), ("ARROW1\0\0", "Arrow")] {
            let error = Table::from_bytes(bytes.as_bytes(), &[])
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(format) && error.contains("`parquet`"),
                "{error}"
            );
        }
    }

    #[test]
    fn infinite_cells_are_numbers_for_later_checks_to_name() {
        let table = Table::from_csv(b"x\ninf\n-Infinity\n1\n").unwrap();
        assert!(table.numbers("x").unwrap()[0].is_infinite());
        assert_eq!(table.columns()[0].kind(), Kind::Numeric);
    }
}
