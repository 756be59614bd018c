//! Flags about the table and its columns.

use std::path::PathBuf;

use clap::Args;
use survlatent::{Cohort, LatentsReader, Roles, Table};

use crate::failure::Failure;

/// The table and the outcome: flags every verb has.
#[derive(Args)]
pub(crate) struct Outcome {
    /// CSV table with a header line, one row per patient (or per interval, with --entry)
    #[arg(value_name = "DATA.csv")]
    table: PathBuf,
    /// Column of survival times
    #[arg(long, value_name = "COL")]
    time: String,
    /// Column of events: 1 or true, 0 or false
    #[arg(long, value_name = "COL")]
    event: String,
    /// Column of entry times (left truncation): at risk after entry, up to and including time
    #[arg(long, value_name = "COL")]
    entry: Option<String>,
    /// Column of case weights
    #[arg(long, value_name = "COL")]
    weights: Option<String>,
    /// Column of frequencies: a row of frequency 3 is three patients, that is three rows
    #[arg(long, value_name = "COL")]
    frequencies: Option<String>,
    /// Drop rows with a missing value in a column that is used, and say how many
    #[arg(long)]
    drop_missing: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

impl Outcome {
    /// The table's columns so far; the verb adds its own.
    pub(crate) fn roles(&self) -> Roles {
        let mut roles = Roles::new(&self.time, &self.event).drop_missing(self.drop_missing);
        if let Some(column) = &self.entry {
            roles = roles.entry(column);
        }
        if let Some(column) = &self.weights {
            roles = roles.weights(column);
        }
        if let Some(column) = &self.frequencies {
            roles = roles.frequencies(column);
        }
        roles
    }

    /// Name of the column of times.
    pub(crate) fn time(&self) -> &str {
        &self.time
    }

    pub(crate) fn read(&self) -> Result<Table, Failure> {
        Ok(Table::read(&self.table)?)
    }
}

/// The features: flags of verbs that fit a model.
#[derive(Args)]
pub(crate) struct FeatureFlags {
    /// Feature columns, in this order (default: every other numeric column)
    ///
    /// A column in which no cell is a number is categorical: one 0/1 column per level but the
    /// first in sorted order, named as R names them (column and level).
    #[arg(long, value_name = "COL,..", value_delimiter = ',')]
    features: Option<Vec<String>>,
    /// Features in R's notation, such as "age + rcs(bili, 4) + log(protime) + sex:stage + strata(site)"
    ///
    /// Columns (in backticks where a name is not letters, digits, _ and .), products a:b, a*b for
    /// a + b + a:b, every other numeric column as a dot, terms behind a minus sign left out. Functions
    /// of a column: log, log2, log10, sqrt, exp, square; rcs(x, k), a restricted cubic spline with k
    /// knots at quantiles, or with knots given; factor(x), categories. strata(a, b), cluster(a) and
    /// offset(a) are as the flags. As in R, terms of fewer factors come first, : binds closer than *,
    /// and a product whose factors are not in the model by themselves has every level.
    #[arg(long, value_name = "TERMS", conflicts_with = "features")]
    formula: Option<String>,
    /// Features that are categories although their levels are numbers
    #[arg(long, value_name = "COL,..", value_delimiter = ',')]
    categorical: Vec<String>,
    /// Matrix of further features: .npy, .npz, .safetensors or .csv, told by its content
    ///
    /// Rows in the table's order, or paired by the column `id` where this file and the table both
    /// have one. [rows, columns] or [rows, layers, columns]. Columns are added behind the table's;
    /// one with the name of a column of the table replaces it.
    #[arg(long, value_name = "FILE")]
    features_file: Option<PathBuf>,
    /// Which array of --features-file, an .npz or .safetensors file, when it holds several
    #[arg(long, value_name = "NAME", requires = "features_file")]
    features_array: Option<String>,
}

impl FeatureFlags {
    /// Reads the cohort with its features.
    pub(crate) fn cohort(&self, outcome: &Outcome, roles: Roles) -> Result<Cohort, Failure> {
        let mut roles = roles.categorical(&self.categorical);
        if let Some(features) = &self.features {
            roles = roles.features(features);
        }
        if let Some(formula) = &self.formula {
            roles = roles.formula(formula);
        }
        let table = outcome.read()?;
        Ok(match &self.features_file {
            None => roles.cohort(&table)?,
            Some(path) => {
                let mut reader = LatentsReader::new();
                if let Some(name) = &self.features_array {
                    reader = reader.array(name);
                }
                roles.cohort_with(&table, &reader.read(path)?)?
            }
        })
    }
}
