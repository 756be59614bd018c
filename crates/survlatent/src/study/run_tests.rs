//! Studies from files, as `study.toml` names them.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::simulate::PortraitSurv;

fn write(folder: &Path) {
    let settings = PortraitSurv {
        n: 150,
        dim: 5,
        age_log_hr: 0.4,
        ..PortraitSurv::default()
    };
    settings.simulate().unwrap().write(folder).unwrap();
    let text = r#"
title = "Test of <studies>"
seed = 7
[data]
table = "table.csv"
latents = "latents.safetensors"
truth = "truth.json"
[columns]
patient = "patient"
clinical = ["age", "sex"]
age = "age"
sex = "sex"
subgroups = ["sex"]
[models]
use = ["clinical", "face_w", "late_fusion"]
n_lambda = 10
[validation]
repeats = 1
bootstraps = 40
calibration_bootstraps = 5
permutations = 2
"#;
    std::fs::write(folder.join("study.toml"), text).unwrap();
}

fn read(folder: &Path) -> StudyFile {
    StudyFile::read(&folder.join("study.toml"), &[]).unwrap()
}

/// Runs and tells which stages were taken up.
fn run(study: &StudyFile, out: &Path) -> (StudyReport, Vec<String>) {
    let resumed = Mutex::new(Vec::new());
    let observer = |event: StageEvent<'_>| {
        if let StageEvent::Resumed { stage } = event {
            resumed.lock().unwrap().push(stage.to_owned());
        }
        ControlFlow::Continue(())
    };
    let report = study.run(out, &observer).unwrap();
    (report, resumed.into_inner().unwrap())
}

#[test]
fn a_stopped_run_goes_on_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let study = read(folder.path());
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let (report, resumed) = run(&study, &a);
    assert!(resumed.is_empty());
    assert_eq!(report.models.len(), 3);
    assert!(report.truth.is_some() && report.direction.is_some());

    // Stopped in the second stage, then a damaged file of the first, then again.
    let stop = |event: StageEvent<'_>| match event {
        StageEvent::Progress {
            stage: "2-figures",
            done: 3..,
            ..
        } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let error = study.run(&b, &stop).unwrap_err().to_string();
    assert!(error.contains("run it again"), "{error}");
    assert!(!b.join("2-figures.json").exists() && !b.join("report.json").exists());
    let (_, resumed) = run(&study, &b);
    assert_eq!(resumed, ["1-predictions"]);
    for name in ["report.json", "index.html", "health_direction.safetensors"] {
        let same = std::fs::read(a.join(name)).unwrap() == std::fs::read(b.join(name)).unwrap();
        assert!(same, "{name}");
    }
    let whole = std::fs::read(b.join("1-predictions.json")).unwrap();
    std::fs::write(b.join("1-predictions.json"), &whole[..whole.len() / 2]).unwrap();
    let (again, resumed) = run(&study, &b);
    assert_eq!(resumed, ["2-figures", "3-null", "4-direction"]);
    assert_eq!(again, report);

    // Another setting is another run.
    let mut other = study;
    other.seed = 8;
    let (other, resumed) = run(&other, &b);
    assert!(resumed.is_empty() && other != report);
}

#[test]
fn the_report_stands_alone_and_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let out = folder.path().join("out");
    let (report, _) = run(&read(folder.path()), &out);
    let json = std::fs::read(out.join("report.json")).unwrap();
    let back: StudyReport = serde_json::from_slice(&json).unwrap();
    assert_eq!(back, report);
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(value["models"][0]["harrell"]["lower"].is_number());
    assert!(value["permutation_null"]["harrell"].is_array());
    assert!(value["direction"]["leakage"][0]["conditional"].is_number());
    let gain = &value["increment"]["late_fusion_over_clinical"];
    assert!(gain["harrell"]["estimate"].is_number(), "{gain}");
    // Every curve of the page, and what it was made with.
    let curves = &value["curves"];
    let count = |name: &str| curves[name].as_array().map_or(0, Vec::len);
    assert_eq!(count("kaplan_meier"), 3);
    assert_eq!(count("roc"), 3 * 3, "models times horizons");
    assert_eq!((count("calibration"), count("decision")), (2 * 3, 3));
    assert!(count("brier_reference") > 3);
    assert!(curves["kaplan_meier"][0]["at_risk"][0]["value"].is_number());
    assert!(value["risk_groups"]["chi_squared"].is_number());
    assert_eq!(value["study"]["columns"]["patient"], "patient");
    let inputs: Vec<&str> = report.inputs.iter().map(|i| i.role.as_str()).collect();
    assert_eq!(inputs, ["table", "latents", "truth", "study file"]);
    let file = std::fs::read(folder.path().join("study.toml")).unwrap();
    assert_eq!(report.inputs[3].sha256, super::read::sha256(&file));
    assert!(!String::from_utf8_lossy(&json).contains(folder.path().to_str().unwrap()));
    let items = value["tripod_ai"].as_array().unwrap();
    assert!(items.len() > 35 && items.iter().any(|i| i["filled"].is_null()));
    // The latents were given without their generator, and the report says so.
    let lacking: Vec<ReportPart> = report.absent.iter().map(|a| a.part).collect();
    let parts = [
        ReportPart::Pictures,
        ReportPart::Saliency,
        ReportPart::Shortcut,
        ReportPart::Occlusion,
    ];
    assert_eq!(lacking, parts);
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    for why in [
        "There is no map of where it looks: ",
        "There is no test for shortcuts: ",
        "No photos were covered or swapped: ",
        "Where the model looks was not measured: ",
    ] {
        assert!(page.contains(why), "{why}");
    }
    // A concordance below chance is no finding, nor is one without limits.
    for (lower, upper) in [(Some(0.196), Some(0.49)), (None, None)] {
        let mut low = report.clone();
        for model in &mut low.models {
            model.harrell = Some(Interval {
                estimate: 0.342,
                lower,
                upper,
            });
        }
        let card = super::report::card::card(&low);
        let use_of = card
            .iter()
            .find(|line| line.item == "Intended use")
            .unwrap();
        assert!(
            use_of.text.contains("not told from chance"),
            "{}",
            use_of.text
        );
    }
    assert!(page.contains("Test of &lt;studies&gt;") && !page.contains("<studies>"));
    for elsewhere in ["<script", "src=", "href=\"http", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    #[cfg(feature = "plot")]
    assert!(
        page.matches("<svg").count() >= 9,
        "{}",
        page.matches("<svg").count()
    );
}

#[test]
fn columns_are_held_fixed_and_diagnoses_judged_as_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let path = folder.path().join("table.csv");
    let table = std::fs::read_to_string(&path).unwrap();
    let smile = |i: usize| match i {
        0 => "smile".to_owned(),
        // A value that is missing.
        9 => String::new(),
        i => noise::uniform(1, i).to_string(),
    };
    let lines = table.lines().enumerate();
    let lines: Vec<String> = lines
        .map(|(i, line)| format!("{line},{}", smile(i)))
        .collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let mut study = read(folder.path());
    study.columns.condition = Some(vec!["smile".into()]);
    study.columns.diagnosis = Some("sex".into());
    let out = folder.path().join("out");
    let (report, _) = run(&study, &out);
    assert_eq!(report.cohort.rows, 149);
    let direction = report.direction.as_ref().unwrap();
    assert_eq!(direction.condition, ["smile"]);
    let held: Vec<&str> = direction
        .leakage
        .iter()
        .filter(|l| l.held)
        .map(|l| l.name.as_str())
        .collect();
    assert_eq!((held, direction.leakage.len()), (vec!["smile"], 3));
    for name in ["", "_adjusted", "_conditional"] {
        let file = out.join(format!("health_direction{name}.safetensors"));
        latent_attribute::HealthDirection::load(file).unwrap();
    }
    let levels: Vec<&str> = report.diagnoses.iter().map(|d| d.level.as_str()).collect();
    assert_eq!(levels, ["female", "male"]);
    assert!(report.diagnoses.iter().all(|d| d.models.len() == 3));
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("Diagnoses"));
    let (again, resumed) = run(&study, &out);
    assert!(again == report && resumed.contains(&"3-diagnoses".to_owned()));
    // Nothing held fixed: what an earlier run left of it is gone.
    study.columns.condition = Some(vec![]);
    let (report, _) = run(&study, &out);
    assert_eq!(report.cohort.rows, 150);
    assert!(out.join("health_direction.safetensors").exists());
    assert!(!out.join("health_direction_adjusted.safetensors").exists());
}

#[test]
fn rows_without_photos_and_photos_without_rows_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let table = std::fs::read_to_string(folder.path().join("table.csv")).unwrap();
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    // A row without latents, a latent without a row, an age that is missing.
    lines.push("stranger,stranger,2.5,1,60,male".into());
    lines.remove(1);
    let cells: Vec<&str> = lines[1].split(',').collect();
    lines[1] = [cells[0], cells[1], cells[2], cells[3], "", cells[5]].join(",");
    std::fs::write(folder.path().join("table.csv"), lines.join("\n")).unwrap();
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for k in 2..=149 {
        std::fs::write(photos.join(format!("P{k:05}.jpg")), b"").unwrap();
    }
    for name in ["nobody.png", "stranger.JPG", "notes.txt"] {
        std::fs::write(photos.join(name), b"").unwrap();
    }
    let mut study = read(folder.path());
    study.data.photos = Some(photos);
    let (told, _) = run(&study, &folder.path().join("counts"));
    assert!(told.exclusions.iter().all(|e| e.examples.is_empty()));
    let page = std::fs::read_to_string(folder.path().join("counts/index.html")).unwrap();
    assert!(!page.contains("P00002") && !page.contains("stranger"));
    let all = std::fs::read_to_string(folder.path().join("counts/exclusions.csv")).unwrap();
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(
        lines[1],
        "P00002,a value is missing in a column that is used"
    );
    assert_eq!(lines[3], "nobody,photos without a row in the table");
    study.report.ids = true;
    let (report, _) = run(&study, &folder.path().join("out"));
    let steps: Vec<(usize, usize, &str)> = report
        .exclusions
        .iter()
        .map(|e| {
            (
                e.rows,
                e.left,
                e.examples.first().map_or("", String::as_str),
            )
        })
        .collect();
    assert_eq!(
        steps,
        [
            (1, 149, "P00002"),
            (1, 148, "P00150"),
            (1, 148, "nobody"),
            (1, 147, "stranger"),
            (1, 147, "P00001"),
        ]
    );
    assert_eq!(report.cohort.rows, 147);
}

#[test]
fn constant_covariates_and_impossible_studies_are_told() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let table = std::fs::read_to_string(folder.path().join("table.csv")).unwrap();
    let constant = table.replace(",female", ",male");
    std::fs::write(folder.path().join("table.csv"), &constant).unwrap();
    let (report, _) = run(&read(folder.path()), &folder.path().join("out"));
    assert!(
        report.notes.iter().any(|n| n.contains("sex")),
        "{:?}",
        report.notes
    );
    let mut nothing = read(folder.path());
    nothing.data.latents = None;
    nothing.columns = Columns::default();
    nothing.models.kinds.clear();
    let go = |_: StageEvent<'_>| ControlFlow::Continue(());
    let error = nothing
        .run(&folder.path().join("n"), &go)
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothing to model"), "{error}");
    // No event at all, then one patient's.
    let mut lines = table.lines();
    let header = lines.next().unwrap().to_owned();
    let censored: Vec<String> = std::iter::once(header)
        .chain(lines.map(|l| {
            let mut cells: Vec<&str> = l.split(',').collect();
            cells[3] = "0";
            cells.join(",")
        }))
        .collect();
    std::fs::write(folder.path().join("table.csv"), censored.join("\n")).unwrap();
    let error = read(folder.path())
        .run(&folder.path().join("e"), &go)
        .unwrap_err();
    assert!(error.to_string().contains("event"), "{error}");
    let one = censored.join("\n").replacen(",0,", ",1,", 1);
    std::fs::write(folder.path().join("table.csv"), one).unwrap();
    let error = read(folder.path())
        .run(&folder.path().join("f"), &go)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("table.csv") && error.contains("all events are of one of the 150"),
        "{error}"
    );
    assert!(!folder.path().join("f/1-predictions.json").exists());
}

#[test]
fn nothing_of_an_earlier_study_stays_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let out = folder.path().join("out");
    let study = read(folder.path());
    let (report, _) = run(&study, &out);
    let conditional = out.join("health_direction_conditional.safetensors");
    let unconditional = out.join("health_direction.safetensors");
    assert!(conditional.is_file() && unconditional.is_file());

    // A file that somebody has deleted comes back with the stage that is taken up.
    let bytes = std::fs::read(&unconditional).unwrap();
    std::fs::remove_file(&unconditional).unwrap();
    std::fs::remove_file(out.join("face_model.json")).unwrap();
    let (again, resumed) = run(&study, &out);
    assert!(resumed.contains(&"4-direction".to_owned()) && again == report);
    assert_eq!(std::fs::read(&unconditional).unwrap(), bytes);
    let model = FaceModel::read(out.join("face_model.json")).unwrap();
    assert_eq!((model.rows, model.horizons.len()), (150, 3));
    assert_eq!(model.time_unit, "years");

    // Without covariates there is no conditional direction, and no picture of what this run has not.
    std::fs::write(out.join("strip_conditional.png"), b"old").unwrap();
    let mut alone = study.clone();
    alone.columns.clinical.clear();
    (alone.columns.age, alone.columns.sex) = (None, None);
    alone.models.kinds = vec![ModelKind::FaceW];
    let (report, _) = run(&alone, &out);
    assert!(report.direction.is_some_and(|d| d.leakage.is_empty()));
    assert!(unconditional.is_file() && !conditional.exists());
    assert!(!out.join("strip_conditional.png").exists());

    // Without latents there is no direction at all.
    let mut clinical = study;
    clinical.data.latents = None;
    clinical.data.truth = None;
    clinical.models.kinds = vec![ModelKind::Clinical];
    let (report, _) = run(&clinical, &out);
    assert!(report.direction.is_none());
    let why = report
        .absent
        .iter()
        .find(|a| a.part == ReportPart::Direction);
    assert!(why.is_some_and(|a| a.reason.contains("no latents")));
    assert!(!unconditional.exists() && !out.join("face_model.json").exists());
}

#[test]
fn identifiers_count_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let path = folder.path().join("table.csv");
    let table = std::fs::read_to_string(&path).unwrap();
    // Photos 00001, 00002, ..; patients of 17 digits, of which double precision makes far fewer.
    let text: Vec<String> = table
        .lines()
        .map(|line| match line.split(',').collect::<Vec<_>>()[..] {
            [id, patient, ref rest @ ..] if id.starts_with('P') => {
                let (id, patient) = (&id[1..], patient.replace('P', "123456789012"));
                format!("{id},{patient},{}", rest.join(","))
            }
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(&path, text.join("\n")).unwrap();
    let latents = folder.path().join("latents.safetensors");
    let own = crate::LatentsReader::new().read(&latents).unwrap();
    let ids = own.ids().unwrap().iter().map(|id| id[1..].to_owned());
    let own = own.clone().with_ids(ids.collect()).unwrap();
    std::fs::write(&latents, own.to_safetensors("w")).unwrap();
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for k in 1..=150 {
        std::fs::write(photos.join(format!("{k:05}.png")), b"").unwrap();
    }
    let mut study = read(folder.path());
    study.data.photos = Some(photos);
    let cohort = super::read::cohort(&study, None, None).unwrap();
    assert_eq!((cohort.rows.len(), cohort.data.patients()), (150, 150));
    assert!(cohort.excluded.is_empty(), "{:?}", cohort.excluded);
}

#[test]
fn faults_of_the_table_are_told_before_photos_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let study = read(folder.path());
    let told = |change: &dyn Fn(&mut StudyFile)| {
        let mut study = study.clone();
        change(&mut study);
        check::check(&study).unwrap_err().to_string()
    };
    assert!(check::check(&study).is_ok());
    let missing = |name: &str| vec![name.to_owned()];
    let error = told(&|s| s.columns.clinical = missing("aeg"));
    assert!(
        error.contains("table.csv") && error.contains("did you mean `age`"),
        "{error}"
    );
    let error = told(&|s| s.columns.subgroups = missing("centre"));
    assert!(error.contains("no column `centre`"), "{error}");
    let error = told(&|s| s.columns.condition = Some(missing("smile")));
    assert!(error.contains("no column `smile`"), "{error}");
    let error = told(&|s| s.columns.patient = Some("person".into()));
    assert!(error.contains("no column `person`"), "{error}");
    let error = told(&|s| s.columns.categorical = missing("sxe"));
    assert!(error.contains("`sxe` is declared categorical"), "{error}");
    let error = told(&|s| s.validation.horizons = vec![1e9]);
    assert!(error.contains("lies outside follow-up"), "{error}");
    let error = told(&|s| s.proof.draws = 100);
    assert!(error.contains("proof.draws"), "{error}");
    let error = told(&|s| s.proof.masks = Some(folder.path().join("nowhere")));
    assert!(
        error.contains("proof.masks") && error.contains("nowhere"),
        "{error}"
    );
    // An age with decimal commas.
    let error = told(&|s| s.columns.age = Some("sex".into()));
    assert!(error.contains("`sex`, row 1 (line 2)"), "{error}");
}

#[test]
fn no_agreement_is_told_where_no_fold_fitted_the_face() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let mut study = read(folder.path());
    study.models.kinds = vec![ModelKind::Clinical];
    let out = folder.path().join("out");
    let (report, _) = run(&study, &out);
    assert_eq!(report.direction.unwrap().agreement, None);
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(!page.contains("depend on the choice of training"));
    assert!(!page.contains("depends on the choice of training"));
}

#[test]
fn levels_too_small_to_be_shown_are_in_no_other_figure() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let path = folder.path().join("table.csv");
    let table = std::fs::read_to_string(&path).unwrap();
    let lines = table.lines().enumerate();
    let site = |i: usize| match i {
        0 => "site",
        1..4 => "C",
        4..60 => "B",
        _ => "A",
    };
    let lines: Vec<String> = lines.map(|(i, l)| format!("{l},{}", site(i))).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let mut study = read(folder.path());
    study.columns.clinical = vec!["age".into(), "site".into()];
    study.columns.subgroups = vec!["site".into()];
    let out = folder.path().join("out");
    let (report, _) = run(&study, &out);
    let hidden = |level: &str| {
        let group = report.subgroups.iter().find(|g| g.level == level);
        group.unwrap().hidden.is_some()
    };
    assert!(!hidden("A") && hidden("B") && hidden("C"));
    for name in ["siteB", "siteC"] {
        let found = report.cohort.covariates.iter().find(|c| c.name == name);
        assert!(found.unwrap().mean.is_none() && found.unwrap().sd.is_none());
        assert!(report.clinical_model.iter().all(|h| h.name != name));
    }
    assert_eq!(report.clinical_model.len(), 1);
    assert!(report.notes.iter().any(|n| n.contains("siteB, siteC")));
    let data = report.model_card.iter().find(|c| c.item == "Data").unwrap();
    assert!(data.text.contains("siteC: too few."), "{}", data.text);
}
