//! Latents of portraits and follow-up in; an honest concordance, risk groups and the direction of
//! health out, as a vector and as pictures of a face.
//!
//! `cargo run --release --example cox_on_latents` runs on a simulated cohort, so that the truth is
//! known: generated faces whose latents were read off their pixels. `-- --cohort dlbcl` runs on real
//! lymphoma patients, and `-- --latents FILE --survival FILE.csv --time COL --event COL` on your own.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use survlatent::cox_survival::KmPlot;
#[cfg(feature = "faces")]
use survlatent::latent_attribute::HealthDirection;
use survlatent::latent_attribute::score_correlation;
use survlatent::pipeline::{CoxOnLatents, CoxOnLatentsFit, Stage};
#[cfg(feature = "faces")]
use survlatent::proof::{DEFAULT_RATIOS, FaceNetwork, film, strip, triptych};
use survlatent::simulate::Truth;
use survlatent::{Latents, LatentsReader, OutputFile, Roles, Table};

/// Cox on latents: tuned, judged out-of-fold, and turned into a health direction.
#[derive(Parser)]
struct Args {
    /// Patients that come with the repository.
    #[arg(
        long,
        value_enum,
        default_value = "portraitsurv",
        conflicts_with = "latents"
    )]
    cohort: Shipped,
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
    /// Generator of your latents, for pictures of the direction: W or W+ of any checkpoint that
    /// `stylegan2-burn` opens.
    #[cfg(feature = "faces")]
    #[arg(long, requires = "latents")]
    network: Option<PathBuf>,
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

/// Cohorts in `examples/data`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shipped {
    /// 1,000 simulated patients: W of their generated portraits, found from the pixels.
    Portraitsurv,
    /// 240 patients with lymphoma: expression of 7,399 genes.
    Dlbcl,
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
    let input = Input::of(args);
    let table = Table::read(&input.survival)?;
    let latents = LatentsReader::new()
        .read(&input.latents)?
        .paired_with(&table)?;
    // The latents alone: every other numeric column of the table would be a feature, too.
    let cohort = Roles::new(&input.time, &input.event)
        .features([] as [&str; 0])
        .cohort_with(&table, &latents)?;
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
    if let Some(truth) = &input.truth {
        let truth: Truth = serde_json::from_slice(
            &std::fs::read(truth).map_err(|e| format!("{}: {e}", truth.display()))?,
        )?;
        planted(&fit, &latents, &truth)?;
    }
    outputs.write(&fit, cohort.surv(), &args.time_unit)?;
    println!(
        "Written to {}: km.svg, km.png, risk.csv, summary.json, health_*.safetensors",
        args.out.display()
    );
    #[cfg(feature = "faces")]
    if let (Some(net), Some(direction)) = (input.network.open()?, &fit.pattern) {
        faces(&net, direction, &latents, &args.out)?;
        println!("Synthetic faces along the pattern: strip.png, triptych.png, traversal.gif");
    }
    Ok(())
}

/// What a run reads.
struct Input {
    latents: PathBuf,
    survival: PathBuf,
    time: String,
    event: String,
    /// What was planted, for simulated patients.
    truth: Option<PathBuf>,
    #[cfg(feature = "faces")]
    network: Network,
}

/// The generator whose latents they are.
#[cfg(feature = "faces")]
enum Network {
    Shipped,
    File(PathBuf),
    None,
}

#[cfg(feature = "faces")]
impl Network {
    fn open(&self) -> Result<Option<FaceNetwork>, AnyError> {
        Ok(match self {
            Self::Shipped => Some(FaceNetwork::shipped()?),
            Self::File(path) => Some(FaceNetwork::open(path)?),
            Self::None => None,
        })
    }
}

impl Input {
    fn of(args: &Args) -> Self {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
        let named = |name: &Option<String>, default: &str| {
            name.clone().unwrap_or_else(|| default.to_owned())
        };
        // clap has seen to it that these come together.
        if let (Some(latents), Some(survival)) = (&args.latents, &args.survival) {
            return Self {
                latents: latents.clone(),
                survival: survival.clone(),
                time: named(&args.time, "time"),
                event: named(&args.event, "event"),
                truth: None,
                #[cfg(feature = "faces")]
                network: args.network.clone().map_or(Network::None, Network::File),
            };
        }
        let (name, event, simulated) = match args.cohort {
            Shipped::Portraitsurv => ("portraitsurv", "status", true),
            Shipped::Dlbcl => ("dlbcl", "event", false),
        };
        Self {
            latents: data.join(name).with_extension("safetensors"),
            survival: data.join(name).with_extension("csv"),
            time: "time".to_owned(),
            event: event.to_owned(),
            truth: simulated.then(|| data.join("portraitsurv_truth.json")),
            #[cfg(feature = "faces")]
            network: if simulated {
                Network::Shipped
            } else {
                Network::None
            },
        }
    }
}

/// Prints how the result compares with what was planted.
fn planted(fit: &CoxOnLatentsFit, latents: &Latents, truth: &Truth) -> Result<(), AnyError> {
    println!(
        "Planted       Harrell {:.3} for perfect knowledge of the face's part",
        truth.oracle.face
    );
    let row = |i| (0..latents.p()).map(move |j| latents.get(i, j));
    let rows: Vec<f64> = (0..latents.n()).flat_map(row).collect();
    let correlation = score_correlation(&rows, latents.n(), &fit.coef, &truth.direction)?;
    println!(
        "              correlation of the fitted score with the planted one {correlation:.3} (all \
         patients, in-sample)\n"
    );
    Ok(())
}

/// The mean face from a quarter to four times the hazard, and where low and high differ.
#[cfg(feature = "faces")]
fn faces(
    net: &FaceNetwork,
    direction: &HealthDirection,
    latents: &Latents,
    folder: &Path,
) -> Result<(), AnyError> {
    let n = latents.n() as f64;
    let column = |j| (0..latents.n()).map(|i| latents.get(i, j)).sum::<f64>() / n;
    let mean: Vec<f64> = (0..latents.p()).map(column).collect();
    let write = |name: &str, bytes: Vec<u8>| OutputFile::create(folder.join(name))?.write(&bytes);
    write(
        "strip.png",
        strip(net, direction, &mean, &DEFAULT_RATIOS)?.png()?,
    )?;
    write("triptych.png", triptych(net, direction, &mean, 4.0)?.png()?)?;
    write(
        "traversal.gif",
        film(net, direction, &mean, (0.25, 4.0), 13)?,
    )?;
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
