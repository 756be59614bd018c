//! Photos on their way to latents.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::super::{StageEvent, StudyFile};
use super::*;

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn go(_: StageEvent<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Photos of two people, a wall, a file that is no photo, a row without photo, a photo without row.
fn study(folder: &Path) -> StudyFile {
    let photos = folder.join("photos");
    std::fs::create_dir(&photos).unwrap();
    let mut table = String::from("id,time,status\n");
    for (k, name) in ["s01_01", "s02_01", "s01_02", "s02_02"].iter().enumerate() {
        let from = golden(&format!("examples/data/orl/{name}.png"));
        std::fs::copy(from, photos.join(format!("{name}.png"))).unwrap();
        let _ = writeln!(table, "{name}.png,{},1", k + 1);
    }
    let wall = latent_inversion::Photo::from_rgb(96, 96, vec![200; 96 * 96 * 3]).unwrap();
    wall.save_png(photos.join("wall.png")).unwrap();
    std::fs::write(photos.join("broken.jpg"), b"no photo").unwrap();
    std::fs::write(photos.join("stranger.png"), b"").unwrap();
    table.push_str("wall,7,0\nbroken,8,0\nnobody,9,1\n");
    std::fs::write(folder.join("table.csv"), table).unwrap();
    let text = format!(
        "[data]\ntable = '{}'\nphotos = '{}'\n[photos]\nnetwork = '{}'\nsteps = 2\n",
        folder.join("table.csv").display(),
        photos.display(),
        golden("tests/golden/stylegan2/official_uncond32.pkl").display()
    );
    StudyFile::parse(&text, &[]).unwrap()
}

#[test]
fn faces_are_cut_out_and_faults_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = study(folder.path());
    let run = folder.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let first = latents(&mut file, &run, &go).unwrap().unwrap();
    let reasons: Vec<(&str, Vec<&String>)> = first
        .set_aside
        .iter()
        .map(|(reason, ids)| (reason.as_str(), ids.iter().collect()))
        .collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    for (reason, id) in [
        ("no face was found", "wall"),
        ("the photo cannot be read", "broken"),
    ] {
        assert!(
            reasons.iter().any(|(r, ids)| *r == reason && ids == &[id]),
            "{reasons:?}"
        );
    }
    assert_eq!((first.figures.photos, first.figures.inverted), (4, 4));
    assert!(
        first
            .figures
            .lpips_w
            .median
            .is_some_and(|v| v > 0.0 && v < 2.0)
    );
    let path = file.data.latents.clone().unwrap();
    let bytes = std::fs::read(&path).unwrap();

    // Nothing is done again; another number of steps is another run, the faces are the same.
    let events = std::sync::Mutex::new(Vec::new());
    let observer = |event: StageEvent<'_>| {
        if let StageEvent::Resumed { stage } = event {
            events.lock().unwrap().push(stage.to_owned());
        }
        ControlFlow::Continue(())
    };
    file.data.latents = None;
    let again = latents(&mut file, &run, &observer).unwrap().unwrap();
    assert_eq!(*events.lock().unwrap(), ["0-faces", "0-latents"]);
    assert_eq!(
        (again.figures, again.inputs),
        (first.figures, first.inputs.clone())
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    file.data.latents = None;
    file.photos.steps = Some(3);
    events.lock().unwrap().clear();
    let other = latents(&mut file, &run, &observer).unwrap().unwrap();
    assert_eq!(*events.lock().unwrap(), ["0-faces"]);
    assert!(other.inputs != first.inputs && file.data.latents != Some(path));

    // A photo with other bytes is another cohort.
    file.data.latents = None;
    let wall = file.data.photos.clone().unwrap().join("wall.png");
    let broken = wall.with_file_name("broken.jpg");
    std::fs::copy(wall, broken).unwrap();
    events.lock().unwrap().clear();
    let other = latents(&mut file, &run, &observer).unwrap().unwrap();
    assert!(events.lock().unwrap().is_empty());
    assert_eq!(other.set_aside.len(), 1);
}

#[test]
fn what_cannot_be_is_refused_before_photos_are_touched() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = study(folder.path());
    let fault = |file: &StudyFile| {
        let mut file = file.clone();
        let Err(error) = latents(&mut file, folder.path(), &go) else {
            panic!("it is refused");
        };
        error.to_string()
    };
    file.photos.align = false;
    file.photos.method = Some(PhotoMethod::Default);
    assert!(fault(&file).contains("photos.train_encoder"));
    file.columns.id = "time".into();
    assert!(fault(&file).contains("no photo has the id"));
    file.photos.network = Some(folder.path().join("table.csv"));
    assert!(fault(&file).contains("table.csv"));
}

/// ORL's photos of 20 people and a wall, with latents from elsewhere, and a table without age and sex.
#[cfg(feature = "age-sex")]
fn without_age(folder: &Path) -> StudyFile {
    let photos = folder.join("photos");
    std::fs::create_dir(&photos).unwrap();
    let mut table = String::from("id,time,status,centre\n");
    let mut latents = String::from("id,z1,z2\n");
    let mut add = |id: &str, k: u32| {
        let (a, b) = (k * 7 % 41, k * 11 % 37);
        let _ = writeln!(
            table,
            "{id},{},{},{}",
            1 + a,
            u32::from(!k.is_multiple_of(5)),
            k % 3
        );
        let _ = writeln!(latents, "{id},{},{}", a + k % 4, b);
    };
    for k in 0..40 {
        let id = format!("s{:02}_{:02}", 1 + k / 2, 1 + k % 2);
        let from = golden(&format!("examples/data/orl/{id}.png"));
        std::fs::copy(from, photos.join(format!("{id}.png"))).unwrap();
        add(&id, k);
    }
    let wall = latent_inversion::Photo::from_rgb(96, 96, vec![200; 96 * 96 * 3]).unwrap();
    wall.save_png(photos.join("wall.png")).unwrap();
    add("wall", 40);
    std::fs::write(folder.join("table.csv"), table).unwrap();
    std::fs::write(folder.join("latents.csv"), latents).unwrap();
    let text = r#"
[data]
table = "table.csv"
latents = "latents.csv"
photos = "photos"
[photos]
estimate = ["sex", "age"]
[models]
use = ["age_sex", "face_w"]
n_lambda = 5
[validation]
outer_folds = 2
inner_folds = 2
repeats = 1
bootstraps = 10
calibration_bootstraps = 2
permutations = 0
"#;
    std::fs::write(folder.join("study.toml"), text).unwrap();
    StudyFile::read(&folder.join("study.toml"), &[]).unwrap()
}

#[cfg(feature = "age-sex")]
#[test]
fn age_and_sex_that_the_table_lacks_are_estimated_and_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = without_age(folder.path());
    file.report.ids = true;
    (file.validation.min_patients, file.validation.min_events) = (1, 1);
    let out = folder.path().join("run");
    let report = file.run(&out, &go).unwrap();
    let of = |name: &str| {
        let found = report.cohort.covariates.iter().find(|c| c.name == name);
        found.unwrap_or_else(|| panic!("{name}: {:?}", report.cohort.covariates))
    };
    let (age, male) = (of("age_estimated"), of("male_estimated"));
    assert!(
        age.mean.is_some_and(|m| m > 20.0 && m < 45.0) && !age.indicator,
        "{age:?}"
    );
    assert!(
        male.mean.is_some_and(|m| m > 0.6 && m < 1.0) && male.indicator,
        "{male:?}"
    );
    assert_eq!(report.cohort.rows, 40);
    let gone = report.exclusions.iter().find(|e| e.examples == ["wall"]);
    assert!(
        gone.unwrap().reason.contains("no face"),
        "{:?}",
        report.exclusions
    );
    let columns: Vec<&str> = report.estimated.iter().map(|e| e.column.as_str()).collect();
    assert_eq!(columns, ["age_estimated", "male_estimated"]);
    let card = report
        .model_card
        .iter()
        .find(|c| c.item.starts_with("Estimated"));
    assert!(card.unwrap().text.contains("dnn_age_predictor_v1"));
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("age_estimated is estimated from the photos by the networks"));

    // A later run takes the estimates up; other settings of photos make others.
    let resumed = std::sync::Mutex::new(Vec::new());
    let observer = |event: StageEvent<'_>| {
        if let StageEvent::Resumed { stage } = event {
            resumed.lock().unwrap().push(stage.to_owned());
        }
        ControlFlow::Continue(())
    };
    assert_eq!(file.run(&out, &observer).unwrap(), report);
    assert_eq!(resumed.lock().unwrap()[0], "0-estimates");
    resumed.lock().unwrap().clear();
    // Another covariate is another study, of the same estimates.
    file.photos.estimate = vec![PhotoEstimate::Sex];
    let sex = file.run(&out, &observer).unwrap();
    assert_eq!(*resumed.lock().unwrap(), ["0-estimates"]);
    assert_eq!(sex, file.run(&folder.path().join("sex"), &go).unwrap());
    resumed.lock().unwrap().clear();
    file.photos.align = false;
    file.photos.estimate = vec![PhotoEstimate::Sex];
    let other = file.run(&out, &observer).unwrap();
    assert!(resumed.lock().unwrap().is_empty());
    // In pictures that were aligned before, a face is where it belongs, seen or not.
    assert_eq!((other.cohort.rows, other.estimated.len()), (41, 1));
}

#[cfg(feature = "age-sex")]
#[test]
fn estimates_of_what_is_known_or_without_photos_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = without_age(folder.path());
    let fault = |change: &dyn Fn(&mut StudyFile)| {
        let mut file = file.clone();
        change(&mut file);
        file.run(&folder.path().join("run"), &go)
            .unwrap_err()
            .to_string()
    };
    let error = fault(&|file| file.data.photos = None);
    assert!(
        error.contains("photos.estimate: needs data.photos"),
        "{error}"
    );
    let error = fault(&|file| file.columns.age = Some("centre".into()));
    assert!(
        error.contains("columns.age is the table's `centre`"),
        "{error}"
    );
    let error = fault(&|file| {
        file.simulate = Some(crate::simulate::PortraitSurv::default());
        file.data = super::super::DataFiles::default();
    });
    assert!(error.contains("simulated"), "{error}");
    let table = folder.path().join("table.csv");
    let text = std::fs::read_to_string(&table).unwrap();
    std::fs::write(&table, text.replace("centre", "Sex")).unwrap();
    let error = fault(&|_| {});
    assert!(
        error.contains("table.csv") && error.contains("a column `Sex`; set columns.sex"),
        "{error}"
    );
    let error = StudyFile::parse(
        "[data]\ntable = 't'\n[photos]\nestimate = ['height']\n",
        &[],
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("line 4") && error.contains("height"),
        "{error}"
    );
}
