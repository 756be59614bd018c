//! Pictures of studies whose latents were given.

use std::ops::ControlFlow;
use std::path::Path;

use super::super::{
    Design, FaceModel, ProofSettings, ReportPart, StageEvent, StudyData, StudyFile, StudyReport,
};
use super::stages::shortcut;
use crate::error::Result;
use crate::proof::{FaceNetwork, Picture, Portraits as _, Thumbnails};
use crate::simulate::{Draws, PortraitSurv};

const NETWORK: &str = "tests/golden/stylegan2/official_uncond32.pkl";

/// Latents of a generator's mapping network.
struct Mapped(FaceNetwork);

impl Draws for Mapped {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn draws(&self, first: u64, count: usize) -> Result<Vec<f32>> {
        self.0.draws(3, first, count)
    }
}

const STUDY: &str = r#"
seed = 7
[data]
table = "table.csv"
latents = "latents.safetensors"
[columns]
clinical = ["age"]
[models]
use = ["clinical", "face_w"]
alphas = [0.0]
n_lambda = 5
[validation]
outer_folds = 2
inner_folds = 2
repeats = 1
bootstraps = 10
calibration_bootstraps = 0
permutations = 0
[proof]
replicates = 2
"#;

fn run(study: &StudyFile, out: &Path) -> StudyReport {
    study
        .run(out, &|_: StageEvent<'_>| ControlFlow::Continue(()))
        .unwrap()
}

#[test]
fn given_latents_have_pictures_where_their_generator_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(NETWORK);
    let settings = PortraitSurv {
        n: 60,
        true_c: 0.8,
        age_log_hr: 0.4,
        ..PortraitSurv::default()
    };
    let cohort = settings.simulate_from(&Mapped(FaceNetwork::open(&path).unwrap()));
    cohort.unwrap().write(folder.path()).unwrap();
    std::fs::write(folder.path().join("study.toml"), STUDY).unwrap();
    let set = format!("photos.network='{}'", path.display());
    let study = StudyFile::read(&folder.path().join("study.toml"), &[set]).unwrap();
    let out = folder.path().join("out");
    let report = run(&study, &out);
    let saliency = report.saliency.as_ref().unwrap();
    assert!(saliency.face_share > 0.0 && saliency.face_share < 1.0);
    assert!(!saliency.landmarks && !saliency.masks && report.pictures.is_some());
    let parts: Vec<ReportPart> = report.absent.iter().map(|a| a.part).collect();
    assert_eq!(parts, [ReportPart::Shortcut, ReportPart::Occlusion]);
    let network = report.inputs.iter().find(|i| i.role == "network").unwrap();
    assert_eq!(network.name, "official_uncond32.pkl");
    let model = FaceModel::read(out.join("face_model.json")).unwrap();
    assert!(model.network.is_some_and(|n| n.contains(&network.sha256)));
    for name in [
        "strip.png",
        "strip_conditional.png",
        "saliency.png",
        "traversal.gif",
    ] {
        assert!(out.join(name).is_file(), "{name}");
    }
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("lies inside the face, which takes"));
    assert!(page.contains("S is the probability of survival to"));

    // Without covariates: no conditional strip, in the page or in the folder.
    let mut alone = study.clone();
    alone.columns.clinical.clear();
    alone.models.kinds = vec![super::super::ModelKind::FaceW];
    let without = run(&alone, &out);
    assert!(without.saliency.is_some());
    assert!(out.join("strip.png").is_file() && !out.join("strip_conditional.png").exists());

    // Nor any where the generator is not known.
    let mut unknown = study.clone();
    unknown.photos.network = None;
    let without = run(&unknown, &out);
    assert!(without.saliency.is_none() && without.direction == report.direction);
    assert_eq!(without.absent.len(), 4);
    assert!(without.absent[0].reason.contains("photos.network"));
    assert!(!out.join("strip.png").exists() && !out.join("saliency.png").exists());
    // One of another width is refused before anything is fitted.
    let mut other = study;
    other.photos.network = Some("shipped".into());
    let error = other
        .run(&out, &|_: StageEvent<'_>| ControlFlow::Break(()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("photos.network"), "{error}");
}

#[test]
fn a_test_for_shortcuts_that_cannot_be_made_stops_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(NETWORK);
    let net = FaceNetwork::open(path).unwrap();
    let (n, side) = (120, net.side());
    let w = net.draws(5, 0, n).unwrap();
    let mut photos = Thumbnails::new(4);
    for (i, latent) in w.chunks_exact(net.dim()).enumerate() {
        let mut rgb = Picture::of(&net, latent).unwrap().rgb().to_vec();
        if i % 2 == 0 {
            // Something that no generated portrait has.
            rgb[..3 * side * side / 4].fill(255);
        }
        photos.push(&rgb, side, side).unwrap();
    }
    let time: Vec<f64> = (0..n).map(|i| 1.0 + (i * 37 % 101) as f64).collect();
    let event: Vec<bool> = (0..n).map(|i| i % 4 > 0).collect();
    let age: Vec<f64> = (0..n).map(|i| (i * 7 % 31) as f64).collect();
    let twice = age.iter().map(|v| 2.0 * v).collect();
    let columns = vec![("age".into(), age), ("age_twice".into(), twice)];
    let mut data = StudyData {
        surv: cox_survival::Surv::new(&time, &event).unwrap(),
        patient: (0..n as u32).collect(),
        w: None,
        w_plus: None,
        clinical: Some(Design::new(n, columns).unwrap()),
        age_sex: None,
        condition: None,
        subgroups: vec![],
        diagnosis: None,
    };
    let mut study = StudyFile::parse(STUDY, &[]).unwrap().study();
    study.models.components = vec![2];
    let settings = ProofSettings {
        draws: 240,
        ..ProofSettings::default()
    };
    let step = || Ok(());
    let drawn = shortcut(&study, &settings, &data, &net, &photos, None, &step).unwrap();
    let found = drawn.figures;
    assert!(found.test.is_none() && drawn.shown.is_empty());
    let why = found.why_no_test.unwrap();
    assert!(why.contains("age"), "{why}");
    assert!(found.models.whole.is_some());

    // Where it can be made, what goes with death is an alarm.
    let time: Vec<f64> = (0..n)
        .map(|i| if i % 2 == 0 { 1.0 } else { 200.0 } + (i * 37 % 101) as f64)
        .collect();
    data.surv = cox_survival::Surv::new(&time, &vec![true; n]).unwrap();
    data.clinical = None;
    let drawn = shortcut(&study, &settings, &data, &net, &photos, None, &step).unwrap();
    let test = drawn.figures.test.unwrap();
    assert!(
        test.alarm && test.novel > 0 && test.p.is_some_and(|p| p < 0.01),
        "{test:?}"
    );
    assert!(drawn.figures.why_no_test.is_none() && drawn.shown.len() == 1);
}
