//! How a verb ends when it does not succeed.

use std::io::Write as _;
use std::process::ExitCode;

use survlatent::{Error, cox_survival};

/// Why a verb stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for something that cannot be.
    Usage(String),
    /// The data, a file or the computation is at fault.
    Run(Box<dyn std::error::Error>),
    /// Whoever read the output has gone: nothing to say and nobody to say it to.
    Closed,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// A run that failed for a reason no library names.
    pub(crate) fn run(message: impl Into<String>) -> Self {
        Self::Run(message.into().into())
    }

    /// Says on standard error what happened; gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        // A closed standard error leaves only the exit code.
        match self {
            Self::Usage(message) => {
                let _ = writeln!(
                    stderr,
                    "error: {message}\n\nFor more information, try '--help'."
                );
                ExitCode::from(2)
            }
            Self::Run(error) => {
                let _ = writeln!(stderr, "error: {error}");
                ExitCode::FAILURE
            }
            Self::Closed => ExitCode::SUCCESS,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Cox(
                error @ (cox_survival::Error::Setting { .. }
                | cox_survival::Error::CoefficientLimit { .. }),
            ) => Self::usage(error.to_string()),
            error @ (Error::Set { .. } | Error::RoleTwice { .. }) => Self::usage(error.to_string()),
            error => Self::Run(Box::new(error)),
        }
    }
}

impl From<cox_survival::Error> for Failure {
    fn from(error: cox_survival::Error) -> Self {
        Error::Cox(error).into()
    }
}

impl From<stylegan2_burn::Error> for Failure {
    fn from(error: stylegan2_burn::Error) -> Self {
        Self::Run(Box::new(error))
    }
}
