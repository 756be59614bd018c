//! High-dimensional features and follow-up in; an honest concordance, risk groups and the
//! direction of health out.
//!
//! `cargo run --release --example cox_on_latents` runs on real lymphoma patients;
//! `-- --latents FILE --survival FILE.csv --time COL --event COL` on your own.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use survlatent::cox_survival::KmPlot;
use survlatent::pipeline::{CoxOnLatents, CoxOnLatentsFit, Stage};
use survlatent::{LatentsReader, OutputFile, Roles, Table};

/// Cox on latents: tuned, judged out-of-fold, and turned into a health direction.
#[derive(Parser)]
struct Args {
    /// Latents, one row per patient: .npy, .npz, .safetensors or .csv.
    #[arg(long, requires_all = ["survival", "time", "event"])]
    latents: Option<PathBuf>,
    /// Follow-up as CSV, rows in the order of the latents or with a column `id` of their ids.
    #[arg(long, requires = "latents")]
    survival: Option<PathBuf>,
    /// Column of times.
    #[arg(long, requires = "latents")]
    time: Option<String>,
    /// Column of events (1 event, 0 censored).
    #[arg(long, requires = "latents")]
    event: Option<String>,
    /// Unit of the time column, for the picture.
    #[arg(long, default_value = "years")]
    time_unit: String,
    /// Folder for the results; made when absent.
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Permutations of the outcome for the null.
    #[arg(long, default_value_t = CoxOnLatents::default().permutations)]
    permutations: usize,
    /// Bootstrap refits for stability.
    #[arg(long, default_value_t = CoxOnLatents::default().bootstraps)]
    bootstraps: usize,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

type AnyError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), AnyError> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let latents_file = args
        .latents
        .clone()
        .unwrap_or_else(|| data.join("dlbcl.safetensors"));
    let survival_file = args
        .survival
        .clone()
        .unwrap_or_else(|| data.join("dlbcl.csv"));
    let time = args.time.as_deref().unwrap_or("time");
    let event = args.event.as_deref().unwrap_or("event");

    let table = Table::read(&survival_file)?;
    let latents = LatentsReader::new()
        .read(&latents_file)?
        .paired_with(&table)?;
    let cohort = Roles::new(time, event).cohort_with(&table, &latents)?;
    let outputs = Outputs::create(&args.out)?;

    let study = CoxOnLatents {
        permutations: args.permutations,
        bootstraps: args.bootstraps,
        seed: args.seed,
        ..CoxOnLatents::default()
    };
    let bar = ProgressBar::new(1);
    bar.set_style(ProgressStyle::with_template(
        "{msg:<22} [{bar:36}] {percent:>3}%  {elapsed}",
    )?);
    let fit = study.run_with(cohort.surv(), &latents, &|stage, progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(match stage {
            Stage::OutOfFold => "nested cross-validation",
            Stage::Null => "permuted outcomes",
            Stage::Fit => "fit to all patients",
            Stage::Bootstrap => "bootstrap",
        });
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();

    println!("{}", fit.report);
    outputs.write(&fit, cohort.surv(), &args.time_unit)?;
    println!(
        "Written to {}: km.svg, km.png, risk.csv, summary.json, health_*.safetensors",
        args.out.display()
    );
    Ok(())
}

/// The files of a run, opened before the work so that a folder that cannot be written to is
/// known at once.
struct Outputs {
    summary: OutputFile,
    risk: OutputFile,
    svg: OutputFile,
    png: OutputFile,
    folder: PathBuf,
}

impl Outputs {
    fn create(folder: &Path) -> Result<Self, AnyError> {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let open = |name: &str| OutputFile::create(folder.join(name));
        Ok(Self {
            summary: open("summary.json")?,
            risk: open("risk.csv")?,
            svg: open("km.svg")?,
            png: open("km.png")?,
            folder: folder.to_owned(),
        })
    }

    fn write(
        self,
        fit: &CoxOnLatentsFit,
        surv: &survlatent::cox_survival::Surv,
        unit: &str,
    ) -> Result<(), AnyError> {
        self.summary
            .write(serde_json::to_string_pretty(&fit.report)?.as_bytes())?;
        let mut rows = String::from("row,time,event,out_of_fold_risk_percentile,risk_group\n");
        for (i, (risk, group)) in fit.risk.iter().zip(&fit.group).enumerate() {
            let (time, event) = (surv.time()[i], u8::from(surv.event()[i]));
            let group = if *group == 0 { "low" } else { "high" };
            writeln!(rows, "{},{time},{event},{risk},{group}", i + 1)?;
        }
        self.risk.write(rows.as_bytes())?;
        let mut plot = KmPlot::new()
            .title("Survival by out-of-fold risk group")
            .subtitle(format!(
                "Harrell C {} out-of-fold",
                fit.report.out_of_fold.harrell
            ))
            .x_label(format!("Time ({unit})"));
        if let Some(test) = &fit.log_rank {
            plot = plot.log_rank(test);
        }
        self.svg.write(plot.svg(&fit.curves)?.as_bytes())?;
        self.png.write(&plot.png(&fit.curves, 2.0)?)?;
        for (direction, name) in [
            (&fit.weights, "health_weights"),
            (&fit.pattern, "health_pattern"),
        ] {
            if let Some(direction) = direction {
                direction.save(self.folder.join(name).with_extension("safetensors"))?;
            }
        }
        Ok(())
    }
}
