//! The command line of survlatent.
//!
//! One file per verb. Results go to standard output, as a table or with `--json` as one JSON
//! object; everything else goes to standard error. Exit code 0: done; 1: the data, a file or the
//! computation is at fault; 2: the command line is.

// Doc comments become help texts, where backticks would be seen.
#![allow(clippy::doc_markdown)]

mod align;
mod concordance;
mod cox;
mod cox_baseline;
mod cox_columns;
mod cox_diagnostics;
mod cox_path;
mod cox_path_json;
mod data;
mod deepsurv;
mod device;
mod failure;
mod gan;
mod interrupt;
mod invert;
mod km;
mod logrank;
mod metrics;
mod progress;
mod report;
mod study;
mod table_format;
mod value;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Survival analysis of many features, and the StyleGAN2 networks whose latents they may be.
///
/// The verbs of survival (cox, concordance, km) read a CSV table with a header line, print a
/// table, and with --json print one JSON object instead (numbers in full precision, null for what
/// is not a number). The verbs of networks (generate, style-mix, interpolate, discriminate,
/// convert, inspect, fd, train) open NVIDIA's, TensorFlow's and rosinality's files without executing
/// anything in them. Of photos, align cuts out the faces and invert finds the latents. A whole study
/// is run by run, on patients whose risk is known if simulate made them; edit shows a face along its
/// direction. Messages go to standard error.
#[derive(Parser)]
#[command(
    name = "survlatent",
    version,
    after_help = EXAMPLES,
    arg_required_else_help = true,
    term_width = 100
)]
struct Cli {
    /// Threads to use (default: all cores); results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = value::count::<1>)]
    threads: Option<usize>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  survlatent cox lung.csv --time time --event status --features age,sex
  survlatent cox cohort.csv --time days --event died --features-file latents.npy \\
      --path --alpha 0.95 --cv 10 --json
  survlatent concordance scored.csv --time days --event died --score risk --uno
  survlatent km lung.csv --time time --event status --by sex --plot lung.svg
  survlatent logrank lung.csv --time time --event status --by sex --strata ph_ecog
  survlatent metrics test.csv --time days --event died --score risk --train train.csv
  survlatent generate --network ffhq.pkl --seeds 0-15,42 --trunc 0.7 --out faces
  survlatent align photos faces --size 256
  survlatent simulate --out cohort --n 2000 && survlatent run cohort/study.toml

What a table may hold:
  Missing is an empty cell, NA, N/A, NaN or null. An event is 1 or true, a censored row 0 or
  false; another coding (such as 1/2) must be recoded. Rows and lines in messages are the file's.

Exit codes:
  0  done
  1  the data, a file or the computation is at fault
  2  the command line is at fault";

#[derive(Subcommand)]
enum Command {
    Cox(Box<cox::Cox>),
    Concordance(concordance::Concordance),
    Km(km::Km),
    Logrank(logrank::Logrank),
    Metrics(Box<metrics::Metrics>),
    #[command(name = "deepsurv")]
    DeepSurv(Box<deepsurv::DeepSurv>),
    Generate(Box<gan::generate::Generate>),
    StyleMix(Box<gan::style_mix::StyleMix>),
    Interpolate(Box<gan::interpolate::Interpolate>),
    Discriminate(gan::discriminate::Discriminate),
    Convert(gan::convert::Convert),
    Inspect(gan::inspect::Inspect),
    Fd(gan::fd::Fd),
    Train(Box<gan::train::Train>),
    Align(align::Align),
    Simulate(Box<study::simulate::Simulate>),
    Run(study::run::Run),
    Edit(Box<study::edit::Edit>),
    Invert(Box<invert::photos::Invert>),
    Gather(invert::gather::Gather),
    TrainEncoder(Box<invert::train_encoder::TrainEncoder>),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed pipe is none either.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    if let Some(threads) = cli.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| Failure::usage(format!("--threads {threads}: {error}")))?;
    }
    match &cli.command {
        Command::Cox(verb) => verb.run(),
        Command::Concordance(verb) => verb.run(),
        Command::Km(verb) => verb.run(),
        Command::Logrank(verb) => verb.run(),
        Command::Metrics(verb) => verb.run(),
        Command::DeepSurv(verb) => verb.run(),
        Command::Generate(verb) => verb.run(),
        Command::StyleMix(verb) => verb.run(),
        Command::Interpolate(verb) => verb.run(),
        Command::Discriminate(verb) => verb.run(),
        Command::Convert(verb) => verb.run(),
        Command::Inspect(verb) => verb.run(),
        Command::Fd(verb) => verb.run(),
        Command::Train(verb) => verb.run(),
        Command::Align(verb) => verb.run(),
        Command::Simulate(verb) => verb.run(),
        Command::Run(verb) => verb.run(),
        Command::Edit(verb) => verb.run(),
        Command::Invert(verb) => verb.run(),
        Command::Gather(verb) => verb.run(),
        Command::TrainEncoder(verb) => verb.run(),
    }
}
