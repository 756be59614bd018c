//! What a fit has to say beside its numbers.

use serde::{Deserialize, Serialize};

/// Something the user should know about a fit that is otherwise usable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Warning {
    /// The likelihood keeps rising as this coefficient grows (monotone likelihood, separation).
    InfiniteCoefficient {
        /// Column name.
        column: String,
        /// Whether it runs to plus infinity.
        positive: bool,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::InfiniteCoefficient { column, positive } => write!(
                f,
                "the coefficient of `{column}` runs to {} infinity (monotone likelihood: the \
                 column separates who has the event next); its estimate, standard error and Wald \
                 test mean nothing, the likelihood ratio test does; a small ridge penalty \
                 gives it a finite estimate",
                if *positive { "plus" } else { "minus" }
            ),
        }
    }
}
