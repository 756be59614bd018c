//! Are a study's figures right? Cohorts whose truth is known, and outcomes dealt to other patients.
//!
//! `cargo run --release --example study_figures -- coverage`, `null`, `recovery` or `large`. All work on known
//! latents; what inversion from pixels does to a study is measured by `examples/studies/portraitsurv.toml`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use survlatent::cox_survival::{Harrell, Permutation, Surv};
use survlatent::simulate::{PortraitSurv, SimulatedCohort};
use survlatent::study::{ModelKind, Study, StudyData, StudyModels, Validation};

/// Figures of the study module on simulated cohorts.
#[derive(Parser)]
struct Args {
    /// What to measure.
    #[arg(value_enum)]
    what: What,
    /// Patients.
    #[arg(long, default_value_t = 800)]
    n: usize,
    /// Width of the latents.
    #[arg(long, default_value_t = 32)]
    dim: usize,
    /// Repetitions.
    #[arg(long, default_value_t = 200)]
    repetitions: u64,
    /// Bootstrap replicates.
    #[arg(long, default_value_t = 300)]
    bootstraps: usize,
    /// True concordance.
    #[arg(long, default_value_t = 0.680)]
    true_c: f64,
    /// Lambdas per path.
    #[arg(long, default_value_t = 30)]
    lambdas: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// How often the interval holds the concordance its models have in 20,000 other patients.
    Coverage,
    /// How often the same interval holds 0.5 where outcomes were dealt to other patients.
    Null,
    /// One cohort: concordance and cosine to the planted direction.
    Recovery,
    /// Recovery at 13,503 patients and 512 columns, timed.
    Large,
}

type AnyError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), AnyError> {
    match args.what {
        What::Coverage => coverage(args),
        What::Null => null(args),
        What::Recovery => recovery(args, args.n, args.dim, args.lambdas, args.bootstraps),
        What::Large => recovery(args, 13_503, 512, 100, 1000),
    }
}

fn study(lambdas: usize, bootstraps: usize, seed: u64) -> Study {
    Study {
        models: StudyModels {
            kinds: vec![ModelKind::FaceW],
            alphas: vec![0.0],
            n_lambda: lambdas,
            lambda_min_ratio: 1e-4,
            ..StudyModels::default()
        },
        validation: Validation {
            repeats: 1,
            bootstraps,
            calibration_bootstraps: 0,
            ..Validation::default()
        },
        seed,
    }
}

fn data(cohort: &SimulatedCohort, rows: &[usize]) -> Result<StudyData, AnyError> {
    Ok(StudyData {
        surv: cohort.surv()?.subset(rows)?,
        patient: (0..rows.len() as u32).collect(),
        w: Some(cohort.latents.select_rows(rows)),
        w_plus: None,
        clinical: None,
        age_sex: None,
        condition: None,
        subgroups: vec![],
        diagnosis: None,
    })
}

fn share(hits: usize, of: usize) -> String {
    format!("{hits} of {of}: {:.1} %", 100.0 * hits as f64 / of as f64)
}

fn coverage(args: &Args) -> Result<(), AnyError> {
    const OTHERS: usize = 20_000;
    let (mut hits, mut bias, mut noise) = (0, 0.0, 0.0);
    for repetition in 0..args.repetitions {
        let settings = PortraitSurv {
            n: args.n + OTHERS,
            dim: args.dim,
            seed: 1000 + repetition,
            true_c: args.true_c,
            ..PortraitSurv::default()
        };
        let cohort = settings.simulate()?;
        let data = data(&cohort, &(0..args.n).collect::<Vec<_>>())?;
        let study = study(args.lambdas, args.bootstraps, repetition);
        let all = study.predict(&data, &|| Ok(()))?;
        let (models, _) = study.judge(&data, &all, &|| Ok(()))?;
        let found = models[0].harrell.ok_or("no concordance")?;
        let others: Vec<usize> = (args.n..args.n + OTHERS).collect();
        let surv: Surv = cohort.surv()?.subset(&others)?;
        let x = cohort.latents.select_rows(&others);
        let mut truth = 0.0;
        for coef in &all.models[0].coef {
            let score = x.covariates()?.times(coef)?;
            let c = Harrell::new().variance(false).fit(&surv, &score)?;
            truth += c.concordance() / all.models[0].coef.len() as f64;
        }
        hits += usize::from(found.contains(truth));
        bias += (found.estimate - truth) / args.repetitions as f64;
        noise += models[0].noise / args.repetitions as f64;
    }
    println!(
        "interval holds the models' concordance in other patients: {}; bias {bias:+.4}, noise {noise:.2}",
        share(hits, args.repetitions as usize)
    );
    Ok(())
}

/// The interval that a study reports, by bootstrap: the one of [`Study::judge`], as in `coverage`.
fn null(args: &Args) -> Result<(), AnyError> {
    let settings = PortraitSurv {
        n: args.n,
        dim: args.dim,
        true_c: args.true_c,
        ..PortraitSurv::default()
    };
    let cohort = settings.simulate()?;
    let mut data = data(&cohort, &(0..args.n).collect::<Vec<_>>())?;
    let surv = data.surv.clone();
    let dealt = Permutation::new(1).seed(1);
    let (mut hits, mut mean, mut noise) = (0, 0.0, 0.0);
    for repetition in 0..args.repetitions {
        data.surv = surv.subset(&dealt.draw(args.n, repetition))?;
        let study = study(args.lambdas, args.bootstraps, repetition);
        let all = study.predict(&data, &|| Ok(()))?;
        let (models, _) = study.judge(&data, &all, &|| Ok(()))?;
        let found = models[0].harrell.ok_or("no concordance")?;
        hits += usize::from(found.contains(0.5));
        mean += found.estimate / args.repetitions as f64;
        noise += models[0].noise / args.repetitions as f64;
    }
    println!(
        "permuted outcomes, reported interval holds 0.5: {}; mean C {mean:.4}, noise {noise:.2}",
        share(hits, args.repetitions as usize)
    );
    Ok(())
}

fn recovery(
    args: &Args,
    n: usize,
    dim: usize,
    lambdas: usize,
    bootstraps: usize,
) -> Result<(), AnyError> {
    let settings = PortraitSurv {
        n,
        dim,
        true_c: args.true_c,
        ..PortraitSurv::default()
    };
    let cohort = settings.simulate()?;
    let data = data(&cohort, &(0..n).collect::<Vec<_>>())?;
    let study = study(lambdas, bootstraps, 1);
    let started = Instant::now();
    let all = study.predict(&data, &|| Ok(()))?;
    let predicted = started.elapsed().as_secs_f64();
    let (models, _) = study.judge(&data, &all, &|| Ok(()))?;
    let judged = started.elapsed().as_secs_f64();
    let model = &models[0];
    let (harrell, uno) = (model.harrell.ok_or("no C")?, model.uno.ok_or("no C")?);
    println!(
        "n = {n}, {dim} columns: Harrell {:.4} ({:.4} to {:.4}), Uno {:.4}; perfect score {:.4}; {:?}",
        harrell.estimate,
        harrell.lower.unwrap_or(f64::NAN),
        harrell.upper.unwrap_or(f64::NAN),
        uno.estimate,
        cohort.truth.oracle.face,
        model.chosen
    );
    println!(
        "nested cross-validation {predicted:.1} s, with {bootstraps} bootstraps {judged:.1} s"
    );
    let direction = study.direction(&data)?.ok_or("no direction")?;
    let x = cohort.latents.covariates()?;
    let (a, b) = (x.times(&direction.coef)?, x.times(&cohort.truth.direction)?);
    println!(
        "cosine to the planted direction, whitened: {:.4}",
        correlation(&a, &b)
    );
    Ok(())
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(usize) -> f64| (0..a.len()).map(f).sum::<f64>();
    let ab = sum(&|i| (a[i] - ma) * (b[i] - mb));
    let aa = sum(&|i| (a[i] - ma).powi(2));
    let bb = sum(&|i| (b[i] - mb).powi(2));
    ab / (aa * bb).sqrt()
}
