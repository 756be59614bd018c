//! Pictures of studies whose latents were given.

use std::ops::ControlFlow;
use std::path::Path;

use super::super::{FaceModel, ReportPart, StageEvent, StudyFile, StudyReport};
use crate::error::Result;
use crate::proof::{FaceNetwork, Portraits as _};
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
