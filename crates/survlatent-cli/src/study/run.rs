//! `survlatent run`: a whole study from its file.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use survlatent::study::{Interval, StageEvent, StudyFile, StudyReport};

use crate::failure::Failure;

/// Run a study: from photos or latents to models of face and clinical data on the same folds, and the
/// report of it
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Run {
    /// What is studied and how
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,
    /// Folder of the run; made if it does not exist (default: the study's name with -run)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace what the file says, such as validation.repeats=5; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the report as JSON instead of the table
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
A smallest study:
  [data]
  table = \"table.csv\"
  latents = \"latents.safetensors\"
  [columns]
  time = \"time\"
  status = \"status\"
  clinical = [\"age\", \"sex\"]

From photos: data.photos in place of data.latents, and [photos] for how (examples/studies).

Files of a run:
  index.html, report.json, exclusions.csv (identifiers of who was set aside),
  health_direction*.safetensors and face_model.json (for survlatent edit), and an output of every
  stage. A run that was interrupted goes on at the last stage that was finished; one whose files or
  settings have changed starts again. The same files, settings and seed give the same bytes.

Examples:
  survlatent run examples/studies/portraitsurv.toml
  survlatent run study.toml
  survlatent run study.toml --out run5 --set validation.repeats=5 --set seed=2";

impl Run {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let study = StudyFile::read(&self.study, &self.set)?;
        let out = self.out.clone().unwrap_or_else(|| {
            let stem = self.study.file_stem().unwrap_or_default().to_string_lossy();
            PathBuf::from(format!("{stem}-run"))
        });
        let bar = ProgressBar::new(1);
        if let Ok(style) =
            ProgressStyle::with_template("{msg:<16} [{bar:36}] {pos}/{len}  {elapsed}")
        {
            bar.set_style(style);
        }
        let report = study.run(&out, &|event| {
            match event {
                StageEvent::Resumed { stage } => bar.println(format!("{stage}: taken up")),
                StageEvent::Progress { stage, done, total } => {
                    bar.set_length(total as u64);
                    bar.set_position(done as u64);
                    bar.set_message(stage.to_owned());
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        bar.finish_and_clear();
        let mut stdout = std::io::stdout().lock();
        let text = if self.json {
            serde_json::to_string_pretty(&report).map_err(|e| Failure::run(e.to_string()))?
        } else {
            format!("{}\n{}", table(&report), out.join("index.html").display())
        };
        match writeln!(stdout, "{text}") {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::Closed),
            Err(error) => Err(Failure::run(error.to_string())),
            Ok(()) => Ok(()),
        }
    }
}

fn table(report: &StudyReport) -> String {
    let c = &report.cohort;
    let mut lines = vec![format!(
        "{} rows of {} patients, {} with the event; out of fold, {} x {} folds\n",
        c.rows,
        c.patients,
        c.patients_with_event,
        report.validation.repeats,
        report.validation.outer_folds
    )];
    lines.push(format!(
        "{:<36} {:<24} {:<24} {}",
        "", "Harrell's C", "Uno's C", "Integrated Brier"
    ));
    let shown = |v: Option<&Interval>| v.map_or_else(|| "-".to_owned(), interval);
    for m in &report.models {
        lines.push(format!(
            "{:<36} {:<24} {:<24} {}",
            m.title,
            shown(m.harrell.as_ref()),
            shown(m.uno.as_ref()),
            shown(m.ibs.as_ref())
        ));
    }
    for gain in &report.increment {
        lines.push(format!(
            "\n{} against {}: gain in Harrell's C {}, {} {} on {} df, p = {}",
            gain.with_face.title(),
            gain.base.title(),
            shown(gain.harrell.as_ref()),
            gain.test.title(),
            gain.chi_squared
                .map_or_else(|| "-".to_owned(), |v| format!("{v:.1}")),
            gain.df,
            gain.p
                .map_or_else(|| "-".to_owned(), |p| format!("{p:.2e}"))
        ));
    }
    lines.extend(report.notes.iter().map(|n| format!("note: {n}")));
    lines.join("\n") + "\n"
}

fn interval(v: &Interval) -> String {
    match (v.lower, v.upper) {
        (Some(lower), Some(upper)) => format!("{:.3} ({lower:.3} to {upper:.3})", v.estimate),
        _ => format!("{:.3}", v.estimate),
    }
}
