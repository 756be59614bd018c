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
