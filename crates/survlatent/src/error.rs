//! What can be wrong with the user's files, and where in them.

use std::fmt;
use std::path::{Path, PathBuf};

/// A cell of a table or matrix: the column by name, the row counted from 0 among the data rows,
/// and the line if the file has lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Column name.
    pub column: String,
    /// Data row, from 0.
    pub row: usize,
    /// Line of a text file, from 1 (the header is usually line 1).
    pub line: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "column `{}`, {}",
            self.column,
            in_table(self.row, self.line)
        )
    }
}

/// Everything this crate can refuse.
///
/// Rows and columns in the fields count from 0; messages count rows from 1, as a person does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A fault inside a file, with the file's name.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: Box<Error>,
    },
    /// A table without a header or without data rows.
    #[error("the table has no {what}")]
    EmptyTable {
        /// What is missing.
        what: &'static str,
    },
    /// Bytes that are not UTF-8 text.
    #[error("line {line} is not UTF-8 text")]
    NotText {
        /// Line of the file, from 1.
        line: u64,
    },
    /// A quotation mark that swallows what follows it.
    #[error("line {line}: {}", astray(*last))]
    Quote {
        /// Line of the file, from 1, on which the cell begins.
        line: u64,
        /// Line on which the cell ends; none when the file ends first.
        last: Option<u64>,
    },
    /// A row with more or fewer cells than the header.
    #[error(
        "row {} (line {line}) has {found} cells, the header has {expected}{}",
        row + 1,
        hint(None, *header)
    )]
    Ragged {
        /// Data row, from 0.
        row: usize,
        /// Line of the file, from 1.
        line: u64,
        /// Cells in the row.
        found: usize,
        /// Cells in the header.
        expected: usize,
        /// Whether the header looks like another separator's.
        header: Header,
    },
    /// Two columns of one name.
    #[error("column {} and column {} are both called `{name}`", first + 1, second + 1)]
    DuplicateColumn {
        /// The name.
        name: String,
        /// Position of the first, from 0.
        first: usize,
        /// Position of the second, from 0.
        second: usize,
    },
    /// A column that is not in the table.
    #[error("there is no column `{name}`{}", hint(nearest.as_deref(), *header))]
    UnknownColumn {
        /// The name asked for.
        name: String,
        /// The most similar name in the table.
        nearest: Option<String>,
        /// Number of columns, and whether the header looks like another separator's.
        header: Header,
    },
    /// A cell that should be a number.
    #[error("{place}: `{text}` is not a number")]
    NotANumber {
        /// Where.
        place: Place,
        /// The cell.
        text: String,
    },
    /// A column of a type that is no part of an analysis.
    #[error(
        "column `{name}` has type {type_name}, which is neither numbers, text nor true and false"
    )]
    ColumnType {
        /// Column name.
        name: String,
        /// Type as the file states it.
        type_name: String,
    },
    /// An infinite number, or a NaN in a matrix.
    #[error("{place}: {value} is not a finite number")]
    NotFinite {
        /// Where.
        place: Place,
        /// The value.
        value: f64,
    },
    /// An event column may hold 0, 1, true and false.
    #[error(
        "{place}: `{text}` is not an event indicator; these are 0, 1, true and false \
         (1 or true: the event happened), so another coding, such as 1/2, must be recoded first"
    )]
    NotAnEvent {
        /// Where.
        place: Place,
        /// The cell.
        text: String,
    },
    /// A cell whose number is out of its range.
    #[error("{place}: {text} {reason}")]
    OutOfRange {
        /// Where.
        place: Place,
        /// The cell.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Cells without a value in columns the analysis needs.
    #[error(
        "{rows} of {of} row(s) have missing values ({}): fill them, leave the column(s) out, \
         or drop those rows (drop_missing, --drop-missing)",
        counts(columns)
    )]
    Missing {
        /// Rows with at least one missing value.
        rows: usize,
        /// Rows in the table.
        of: usize,
        /// Columns with their numbers of missing values.
        columns: Vec<(String, usize)>,
    },
    /// Dropping rows with missing values left none.
    #[error(
        "every one of the {rows} rows has a missing value ({})",
        counts(columns)
    )]
    AllMissing {
        /// Rows in the table.
        rows: usize,
        /// Columns with their numbers of missing values.
        columns: Vec<(String, usize)>,
    },
    /// One column asked to be two things.
    #[error("column `{name}` cannot be both {first} and {second}")]
    Role {
        /// Column name.
        name: String,
        /// What it is.
        first: &'static str,
        /// What it should be as well.
        second: &'static str,
    },
    /// One part for two columns, by a setting and by the formula.
    #[error(
        "the {role} is column `{first}`, but column `{second}` in the formula: name one of them"
    )]
    RoleTwice {
        /// The part.
        role: &'static str,
        /// The column set.
        first: String,
        /// The column of the formula.
        second: String,
    },
    /// A column declared categorical that is no feature.
    #[error("column `{name}` is declared categorical, but it is not among the features")]
    CategoricalNotUsed {
        /// Column name.
        name: String,
    },
    /// A formula that cannot be understood.
    #[error("formula `{formula}`, character {}: expected {expected}", character + 1)]
    Formula {
        /// The formula.
        formula: String,
        /// Character, from 0.
        character: usize,
        /// What could stand there.
        expected: String,
    },
    /// A file that is not what its first bytes say, or is none of the formats known.
    #[error("not a readable {format} file: {reason}")]
    Format {
        /// The format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An array that is not a matrix of numbers.
    #[error("array {array}has type {dtype}, which is no number this program reads")]
    Dtype {
        /// Name of the array with a space after it, empty when it has none.
        array: String,
        /// Type as the file states it.
        dtype: String,
    },
    /// An array of the wrong rank or without values.
    #[error(
        "array {array}has shape {shape:?}; latents are [rows, columns] or [rows, layers, columns], \
         none of them 0"
    )]
    Rank {
        /// Name of the array with a space after it, empty when it has none.
        array: String,
        /// The shape stated.
        shape: Vec<usize>,
    },
    /// An archive with several arrays, none of them chosen, or without the chosen one.
    #[error("{}; it holds {}", chosen(wanted.as_deref()), names(found))]
    WhichArray {
        /// The array asked for.
        wanted: Option<String>,
        /// The arrays there are.
        found: Vec<String>,
    },
    /// Latents and patients do not pair up.
    #[error("{latents} rows of latents, but {patients} rows of survival data")]
    Rows {
        /// Rows of the matrix.
        latents: usize,
        /// Rows of the table.
        patients: usize,
    },
    /// One identifier twice.
    #[error("id `{id}` is in row {} and in row {}", first + 1, second + 1)]
    DuplicateId {
        /// The identifier.
        id: String,
        /// First row, from 0.
        first: usize,
        /// Second row, from 0.
        second: usize,
    },
    /// A patient without latents.
    #[error("id `{id}`, row {} of the survival data, is not among the latents", row + 1)]
    UnknownId {
        /// The identifier.
        id: String,
        /// Row, from 0.
        row: usize,
    },
    /// Column names that do not fit a matrix.
    #[error("{found} column names for a matrix of {expected} columns")]
    NameCount {
        /// Names given.
        found: usize,
        /// Columns of the matrix.
        expected: usize,
    },
    /// A study that cannot be done as asked.
    #[error("{reason}")]
    Study {
        /// What is wrong, and where.
        reason: String,
    },
    /// A row that would need an infinite weight, or one that the censoring curve cannot give.
    #[error("{}: no censoring weight at time {time}: {reason}", in_table(*row, *line))]
    NoCensoringWeight {
        /// Data row, from 0.
        row: usize,
        /// Line of a text file, from 1.
        line: Option<u64>,
        /// The time at which the weight is needed.
        time: f64,
        /// Why there is none.
        reason: &'static str,
    },
    /// What a fit to the rows outside a fold was refused for.
    #[error("the fit without fold {fold}: {source}")]
    WithoutFold {
        /// The fold's label.
        fold: usize,
        /// What was wrong.
        source: Box<Error>,
    },
    /// A `key=value` in place of what a study's file says that cannot be.
    #[error("--set {pair}: {reason}")]
    Set {
        /// The pair.
        pair: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The statistics refuse; rows and columns are the user's.
    #[error(transparent)]
    Cox(#[from] cox_survival::Error),
    /// The direction refuses.
    #[error(transparent)]
    Direction(#[from] latent_attribute::Error),
    /// Photos or their inversion are refused.
    #[cfg(feature = "photos")]
    #[error(transparent)]
    Inversion(#[from] latent_inversion::Error),
    /// The network's file is refused.
    #[cfg(feature = "gan")]
    #[error(transparent)]
    Network(#[from] stylegan2_burn::Error),
}

/// What the header of a table looks like, for the message about an unknown column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Header {
    /// Several columns, as expected.
    Comma,
    /// A single column whose name holds semicolons.
    Semicolon,
    /// A single column whose name holds tabs.
    Tab,
}

impl Header {
    /// What the names of a header look like.
    pub(crate) fn of<'a>(mut names: impl Iterator<Item = &'a str>) -> Self {
        match (names.next(), names.next()) {
            (Some(one), None) if one.contains(';') => Self::Semicolon,
            (Some(one), None) if one.contains('\t') => Self::Tab,
            _ => Self::Comma,
        }
    }
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Puts a file's name before the message, unless it has one or is about the command line.
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            named @ (Self::Io { .. } | Self::InFile { .. } | Self::Set { .. }) => named,
            source => Self::InFile {
                path: path.to_owned(),
                source: Box::new(source),
            },
        }
    }
}

/// A data row as a person counts it, and its line if there is one.
fn in_table(row: usize, line: Option<u64>) -> String {
    let row = row + 1;
    line.map_or_else(
        || format!("row {row}"),
        |line| format!("row {row} (line {line})"),
    )
}

fn astray(last: Option<u64>) -> String {
    match last {
        Some(last) => format!(
            "a cell in quotation marks goes on to line {last}, over what reads as rows of the table; is one \
             of the marks astray?"
        ),
        None => "a quotation mark opens a cell that no other closes".into(),
    }
}

fn hint(nearest: Option<&str>, header: Header) -> String {
    match (header, nearest) {
        (Header::Semicolon, _) => {
            "; the header has semicolons, but cells are separated by commas (and decimals by points)"
                .into()
        }
        (Header::Tab, _) => "; the header has tabs, but cells are separated by commas".into(),
        (Header::Comma, Some(nearest)) => format!("; did you mean `{nearest}`?"),
        (Header::Comma, None) => String::new(),
    }
}

fn counts(columns: &[(String, usize)]) -> String {
    let counts: Vec<String> = columns
        .iter()
        .map(|(name, count)| format!("`{name}`: {count}"))
        .collect();
    first_of(&counts)
}

/// The first few of many items, and how many more there are.
pub(crate) fn first_of(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let text = items[..items.len().min(SHOWN)].join(", ");
    if items.len() > SHOWN {
        format!("{text} and {} more", items.len() - SHOWN)
    } else {
        text
    }
}

fn chosen(wanted: Option<&str>) -> String {
    match wanted {
        Some(name) => format!("there is no array `{name}`"),
        None => "which array holds the latents must be said".into(),
    }
}

fn names(found: &[String]) -> String {
    if found.is_empty() {
        return "no array".into();
    }
    let quoted: Vec<String> = found.iter().map(|name| format!("`{name}`")).collect();
    first_of(&quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_where() {
        let place = Place {
            column: "age".into(),
            row: 6,
            line: Some(8),
        };
        let error = Error::NotANumber {
            place,
            text: "old".into(),
        };
        assert_eq!(
            error.in_file(Path::new("d.csv")).to_string(),
            "d.csv: column `age`, row 7 (line 8): `old` is not a number"
        );
        let missing = Error::Missing {
            rows: 2,
            of: 5,
            columns: vec![("age".into(), 1), ("sex".into(), 2)],
        };
        assert!(
            missing
                .to_string()
                .starts_with("2 of 5 row(s) have missing values (`age`: 1, `sex`: 2)")
        );
    }
}
