//! What can be wrong with the data or the settings, and where.

/// Everything this crate can refuse.
///
/// Rows and columns in the fields count from 0; messages count rows from 1, as a person does.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two inputs that describe the same patients have different lengths.
    #[error("`{column}` has {found} values, but there are {expected} rows")]
    Length {
        /// Which input.
        column: String,
        /// Its length.
        found: usize,
        /// The length that was expected.
        expected: usize,
    },
    /// A matrix slice whose length is not rows times columns.
    #[error("a matrix of {rows} rows and {columns} columns needs {expected} values, found {found}")]
    Shape {
        /// Rows stated.
        rows: usize,
        /// Columns stated.
        columns: usize,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A sparse matrix with a part that is too long or too short.
    #[error("sparse matrix: `{part}` has {found} values, {expected} are needed")]
    SparseLength {
        /// Which part.
        part: &'static str,
        /// Its length.
        found: usize,
        /// The length it should have.
        expected: usize,
    },
    /// A sparse matrix with a column that cannot be.
    #[error("sparse matrix, column {}: {value} {fault}", column + 1)]
    SparseEntry {
        /// Column, from 0.
        column: usize,
        /// The row, from 0, or the end of the column that is wrong.
        value: usize,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A value that is NaN or infinite.
    #[error("column `{column}`, row {}: {value} is not a finite number", row + 1)]
    NotFinite {
        /// Column name.
        column: String,
        /// Row, from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A negative survival time.
    #[error("column `time`, row {}: {value} is negative", row + 1)]
    NegativeTime {
        /// Row, from 0.
        row: usize,
        /// The time.
        value: f64,
    },
    /// A row that enters at or after the time it leaves.
    #[error("row {}: entry {entry} is not before time {time}", row + 1)]
    EntryNotBeforeTime {
        /// Row, from 0.
        row: usize,
        /// Entry time.
        entry: f64,
        /// Exit time.
        time: f64,
    },
    /// A negative case weight.
    #[error("column `weights`, row {}: {value} is negative", row + 1)]
    NegativeWeight {
        /// Row, from 0.
        row: usize,
        /// The weight.
        value: f64,
    },
    /// A frequency that is no number of patients.
    #[error("column `frequencies`, row {}: {value} is not a whole number of patients", row + 1)]
    Frequency {
        /// Row, from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// Frequencies of more patients than can be held.
    #[error(
        "column `frequencies`, row {}: {value} patients, with those of the other rows, are more than can be held",
        row + 1
    )]
    TooManyPatients {
        /// Row of the largest frequency, from 0.
        row: usize,
        /// That frequency.
        value: f64,
    },
    /// Fewer rows than any analysis can use.
    #[error("{n} row(s) are too few, at least 2 are needed")]
    TooFewRows {
        /// Rows given.
        n: usize,
    },
    /// More rows than row numbers can count.
    #[error("{n} rows are too many, at most {} can be used", u32::MAX)]
    TooManyRows {
        /// Rows given.
        n: usize,
    },
    /// No event with a positive weight.
    #[error("there is no event: every row is censored (or has weight 0)")]
    NoEvents,
    /// A matrix without columns.
    #[error("there is no covariate: p = 0")]
    NoColumns,
    /// A column whose values are all the same.
    #[error("column `{column}` is constant: it has no coefficient")]
    ConstantColumn {
        /// Column name.
        column: String,
    },
    /// A column that varies, but never among patients at risk together.
    #[error(
        "column `{column}` does not vary within any risk set: the data hold no information on it"
    )]
    NoInformation {
        /// Column name.
        column: String,
    },
    /// A column that is a linear combination of others.
    #[error(
        "column `{column}` is a linear combination of {}: drop one of them",
        list(with)
    )]
    Collinear {
        /// Column name.
        column: String,
        /// The columns it is made of.
        with: Vec<String>,
    },
    /// Values so large that their mean or variance overflows.
    #[error(
        "column `{column}`, row {}: {value:e} is too large, the column's variance overflows; rescale it",
        row + 1
    )]
    Overflow {
        /// Column name.
        column: String,
        /// Row of the largest value, from 0.
        row: usize,
        /// That value.
        value: f64,
    },
    /// At least as many columns as an unpenalised fit can carry.
    #[error(
        "{columns} columns, but only {rows} rows: an unpenalised fit is not determined, use the penalised path"
    )]
    TooManyColumns {
        /// Columns given.
        columns: usize,
        /// Rows given.
        rows: usize,
    },
    /// A setting outside its range.
    #[error("{name} = {value}: {expected}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Value given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A limit of a penalised coefficient that leaves out 0.
    #[error("column `{column}`: the {} limit {value} of its coefficient must not be {} 0",
        if *lower { "lower" } else { "upper" }, if *lower { "above" } else { "below" })]
    CoefficientLimit {
        /// Column name.
        column: String,
        /// Whether it is the lower limit.
        lower: bool,
        /// The limit.
        value: f64,
    },
    /// A fold of a cross-validation that cannot be used.
    #[error("fold {fold}: {reason}")]
    Fold {
        /// The fold's label.
        fold: usize,
        /// Why.
        reason: &'static str,
    },
    /// What a fit to the rows outside a fold was refused for.
    #[error("the fit without fold {fold}: {error}")]
    WithoutFold {
        /// The fold's label.
        fold: usize,
        /// What was wrong.
        error: Box<Error>,
    },
    /// Newton's method or the path did not reach its tolerance.
    #[error("no convergence after {iterations} iterations ({what})")]
    NoConvergence {
        /// What was being solved.
        what: String,
        /// Iterations spent.
        iterations: usize,
    },
    /// A grouping with fewer groups than the test needs.
    #[error("{found} group(s): a comparison needs at least 2")]
    TooFewGroups {
        /// Groups found.
        found: usize,
    },
    /// An estimate that the data do not determine.
    #[error("{what} is not defined on these data: {reason}")]
    Undefined {
        /// The estimate.
        what: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// An evaluation time that is not above the one before it.
    #[error("times, value {}: {value} is not above the value before it", index + 1)]
    TimesNotAscending {
        /// Which of the times, from 0.
        index: usize,
        /// The time.
        value: f64,
    },
    /// A time at which the data at hand cannot judge a prediction.
    #[error(
        "times, value {}: {value} lies outside of what the follow-up can judge, {earliest} to before {latest}",
        index + 1
    )]
    TimeOutsideFollowUp {
        /// Which of the times, from 0.
        index: usize,
        /// The time.
        value: f64,
        /// The first time that can be judged.
        earliest: f64,
        /// The first time that no longer can.
        latest: f64,
    },
    /// A predicted probability that cannot be one.
    #[error("prediction of row {}, column {}: {value} {fault}", row + 1, column + 1)]
    Prediction {
        /// Row, from 0.
        row: usize,
        /// Column (time point), from 0.
        column: usize,
        /// The value.
        value: f64,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A row that would need an infinite weight, or one that the censoring model cannot give.
    #[error("row {}: no censoring weight at time {time}: {reason}", row + 1)]
    NoCensoringWeight {
        /// Row, from 0.
        row: usize,
        /// The time at which the weight is needed.
        time: f64,
        /// Why there is none.
        reason: &'static str,
    },
    /// The observer asked to stop.
    #[error("stopped on request")]
    Interrupted,
    /// A network whose loss or output is no number any more.
    #[error(
        "the network diverged in epoch {}: a smaller learning rate, normalisation or standardised columns help",
        epoch + 1
    )]
    Diverged {
        /// Epoch, from 0.
        epoch: usize,
    },
    /// A file that cannot be read or written, or does not hold what it should.
    #[error("{reason}")]
    File {
        /// What is wrong, with the path where there is one.
        reason: String,
    },
    /// A picture that cannot be drawn.
    #[error("the picture cannot be drawn: {reason}")]
    Picture {
        /// Why.
        reason: String,
    },
}

impl Error {
    /// Says in which fold's training rows it was met, `rows` of the data; an interruption stays one.
    pub(crate) fn without_fold(mut self, fold: usize, rows: &[usize]) -> Self {
        if self == Self::Interrupted {
            return self;
        }
        self.place(rows);
        Self::WithoutFold {
            fold,
            error: Box::new(self),
        }
    }

    /// Counts its row among the rows of which `rows` were chosen.
    pub(crate) fn place(&mut self, rows: &[usize]) {
        match self {
            Self::Overflow { row, .. } | Self::NotFinite { row, .. } => {
                *row = rows.get(*row).copied().unwrap_or(*row);
            }
            Self::WithoutFold { error, .. } => error.place(rows),
            _ => {}
        }
    }
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

fn list(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(crate) fn check_length(column: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Length {
            column: column.to_owned(),
            found,
            expected,
        })
    }
}

pub(crate) fn check_finite(column: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite {
            column: column.to_owned(),
            row,
            value: values[row],
        }),
    }
}
