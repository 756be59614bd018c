//! Faces cut out of photos: results, resumption, bad input.

use std::path::{Path, PathBuf};

use crate::support::{files, program, run_in};

fn orl() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/orl")
}

/// Photos of ORL under names of their own.
fn photos(folder: &Path, names: &[(&str, &str)]) {
    for (from, to) in names {
        let to = folder.join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(orl().join(format!("{from}.png")), to).unwrap();
    }
}

/// The table by file: a map from the columns' names.
fn table(path: &Path) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

#[test]
fn photos_become_faces_or_have_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(
        &dir.join("in"),
        &[("s01_01", "a.png"), ("s02_03", "ward 3/b.png")],
    );
    std::fs::write(dir.join("in/c.jpg"), "no picture").unwrap();
    let wall = image::RgbImage::from_pixel(90, 90, image::Rgb([90, 120, 80]));
    wall.save(dir.join("in/wall.bmp")).unwrap();
    let pair = crate::support::golden("mtcnn/pair.png");
    std::fs::copy(pair, dir.join("in/pair.png")).unwrap();

    let done = run_in(dir, "align in out --size 64 --json");
    let json = done.json();
    assert_eq!(json["photos"], 5);
    assert_eq!(
        (&json["aligned"], &json["unreadable"]),
        (&2.into(), &1.into())
    );
    assert_eq!(json["reasons"]["several_faces"], 1);
    assert_eq!(json["reasons"]["no_face"], 1);
    assert_eq!(
        files(&dir.join("out")),
        ["a.png", "aligned.csv", "aligned.json", "ward 3"]
    );
    let face = image::open(dir.join("out/ward 3/b.png")).unwrap();
    assert_eq!((face.width(), face.height()), (64, 64));

    let rows = table(&dir.join("out/aligned.csv"));
    let column = |name: &str| rows.iter().map(|r| r[name].as_str()).collect::<Vec<_>>();
    let files = ["a.png", "c.jpg", "pair.png", "wall.bmp", "ward 3/b.png"];
    assert_eq!(column("file"), files);
    let status = ["aligned", "unreadable", "set_aside", "set_aside", "aligned"];
    assert_eq!(column("status"), status);
    assert_eq!(column("output"), ["a.png", "", "", "", "ward 3/b.png"]);
    assert!(
        rows[1]["message"].contains("not a picture"),
        "{}",
        rows[1]["message"]
    );
    assert!(rows[2]["message"].contains("2 faces of similar size"));
    let eye: f64 = rows[0]["left_eye_x"].parse().unwrap();
    assert!((20.0..45.0).contains(&eye), "{eye}");

    // The larger of the two by choice.
    let done = run_in(dir, "align in larger --size 64 --take largest --json").json();
    assert_eq!(done["aligned"], 3);
}

/// What stands is kept; what is gone or has changed is done again, with the same bits.
#[test]
fn a_second_run_does_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(
        &dir.join("in"),
        &[
            ("s01_01", "a.png"),
            ("s02_03", "b.png"),
            ("s05_02", "c.png"),
        ],
    );
    assert_eq!(run_in(dir, "align in out --size 48").code, Some(0));
    let read = |file: &str| std::fs::read(dir.join("out").join(file)).unwrap();
    let (first, rows) = (read("b.png"), read("aligned.csv"));

    std::fs::remove_file(dir.join("out/b.png")).unwrap();
    let json = run_in(dir, "align in out --size 48 --json --threads 1").json();
    assert_eq!((&json["kept"], &json["aligned"]), (&2.into(), &3.into()));
    assert_eq!((read("b.png"), read("aligned.csv")), (first, rows));

    photos(&dir.join("in"), &[("s09_09", "c.png")]);
    let json = run_in(dir, "align in out --size 48 --json").json();
    assert_eq!(json["kept"], 2);

    run_in(dir, "align in out --size 64").fails(2, &["other settings", "another OUT_DIR"]);
    std::fs::write(dir.join("out/aligned.csv"), "file\na.png\n").unwrap();
    run_in(dir, "align in out --size 48").fails(1, &["aligned.csv", "delete it"]);
}

/// Whoever takes the folder takes every picture in it: no face stays of a photo that is gone, or is none now.
#[test]
fn faces_of_an_earlier_run_do_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(
        &dir.join("in"),
        &[
            ("s01_01", "a.png"),
            ("s02_03", "ward/b.png"),
            ("s05_02", "c.png"),
        ],
    );
    assert_eq!(run_in(dir, "align in out --size 48").code, Some(0));
    let wall = image::RgbImage::from_pixel(90, 90, image::Rgb([90, 120, 80]));
    wall.save(dir.join("in/a.png")).unwrap();
    std::fs::remove_file(dir.join("in/ward/b.png")).unwrap();
    // In no table: not ours to remove.
    std::fs::write(dir.join("out/notes.txt"), "kept").unwrap();
    let json = run_in(dir, "align in out --size 48 --json").json();
    assert_eq!(
        (&json["photos"], &json["aligned"], &json["kept"]),
        (&2.into(), &1.into(), &1.into())
    );
    let left = ["aligned.csv", "aligned.json", "c.png", "notes.txt", "ward"];
    assert_eq!(files(&dir.join("out")), left);
    assert!(files(&dir.join("out/ward")).is_empty());

    // What a killed run drew and did not write down is none of a photo that is set aside.
    std::fs::copy(dir.join("out/c.png"), dir.join("out/d.png")).unwrap();
    wall.save(dir.join("in/d.png")).unwrap();
    assert_eq!(run_in(dir, "align in out --size 48").code, Some(0));
    assert_eq!(files(&dir.join("out")), left);
}

/// A picture that no table lists is neither overwritten nor left among the faces.
#[test]
fn a_folder_with_pictures_of_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(&dir.join("in"), &[("s01_01", "a.png")]);
    photos(&dir.join("out"), &[("s02_03", "ward/A.PNG")]);
    let before = std::fs::read(dir.join("out/ward/A.PNG")).unwrap();
    run_in(dir, "align in out --size 48").fails(2, &["A.PNG", "another OUT_DIR"]);
    assert_eq!(files(&dir.join("out")), ["ward"]);
    assert!(std::fs::read(dir.join("out/ward/A.PNG")).unwrap() == before);

    // The tables are gone: nobody knows what the faces are of.
    assert_eq!(run_in(dir, "align in faces --size 48").code, Some(0));
    for table in ["aligned.csv", "aligned.json"] {
        std::fs::remove_file(dir.join("faces").join(table)).unwrap();
    }
    run_in(dir, "align in faces --size 64").fails(2, &["a.png", "another OUT_DIR"]);
    // The photos may lie below the results.
    assert_eq!(run_in(&dir.join("in"), "align . ../new").code, Some(0));
    std::fs::create_dir(dir.join("top")).unwrap();
    std::fs::rename(dir.join("in"), dir.join("top/in")).unwrap();
    assert_eq!(
        run_in(&dir.join("top"), "align in . --size 48").code,
        Some(0)
    );
}

/// Our own table as the table of landmarks: a photo in which no face was found has none.
#[test]
fn an_own_table_gives_the_landmarks() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(&dir.join("in"), &[("s01_01", "a.png")]);
    let wall = image::RgbImage::from_pixel(90, 90, image::Rgb([90, 120, 80]));
    wall.save(dir.join("in/wall.bmp")).unwrap();
    std::fs::write(dir.join("in/c.jpg"), "no picture").unwrap();
    assert_eq!(run_in(dir, "align in out --size 48").code, Some(0));
    let line = "align in again --size 48 --landmarks out/aligned.csv --json";
    let done = run_in(dir, line).json();
    assert_eq!(
        (&done["aligned"], &done["reasons"]["landmarks"]),
        (&1.into(), &1.into())
    );
    let rows = table(&dir.join("again/aligned.csv"));
    assert!(rows[2]["message"].contains("no landmarks"), "{:?}", rows[2]);
    // A row that is empty in part is a mistake.
    std::fs::write(
        dir.join("part.csv"),
        "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,mouth_left_x,mouth_left_y,\
         mouth_right_x,mouth_right_y\na.png,1,2,,4,5,6,7,8,9,10\n",
    )
    .unwrap();
    let line = "align in part --size 48 --landmarks part.csv";
    run_in(dir, line).fails(1, &["line 2", "right_eye_x"]);
    // A quotation mark astray would take the photos behind it.
    let own = std::fs::read_to_string(dir.join("out/aligned.csv")).unwrap();
    let notes = ["note", "x", "\"y", "z"];
    let lines = own
        .lines()
        .zip(notes)
        .map(|(line, note)| format!("{line},{note}\n"));
    std::fs::write(dir.join("part.csv"), lines.collect::<String>()).unwrap();
    run_in(dir, line).fails(1, &["part.csv", "line 3", "quotation mark"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let names: Vec<String> = (0..120).map(|k| format!("{k:03}.png")).collect();
    let copies: Vec<(&str, &str)> = names.iter().map(|n| ("s07_01", n.as_str())).collect();
    photos(&dir.join("in"), &copies);
    let mut child = program()
        .current_dir(dir)
        .args(["align", "in", "out", "--size", "64", "--threads", "1"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    while !dir.join("out/000.png").exists() {
        assert!(begun.elapsed().as_secs() < 60, "the run never began");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let before = table(&dir.join("out/aligned.csv")).len();
    assert!((1..120).contains(&before), "{before}");
    let json = run_in(dir, "align in out --size 64 --json").json();
    assert_eq!(
        (&json["kept"], &json["photos"]),
        (&before.into(), &120.into())
    );
}

#[test]
fn landmarks_from_elsewhere_give_the_same_faces() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(
        &dir.join("in"),
        &[
            ("s01_01", "a.png"),
            ("s02_03", "b.png"),
            ("s05_02", "c.png"),
        ],
    );
    assert_eq!(run_in(dir, "align in found --size 48").code, Some(0));
    // Its own table is one of landmarks; one line is left out.
    let mut lines: Vec<String> = std::fs::read_to_string(dir.join("found/aligned.csv"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), 4);
    lines.remove(2);
    std::fs::write(dir.join("points.csv"), lines.join("\n")).unwrap();
    let json = run_in(
        dir,
        "align in given --size 48 --landmarks points.csv --json",
    )
    .json();
    assert_eq!(
        (&json["aligned"], &json["reasons"]["landmarks"]),
        (&2.into(), &1.into())
    );
    for face in ["a.png", "c.png"] {
        let read = |run: &str| std::fs::read(dir.join(run).join(face)).unwrap();
        assert_eq!(read("found"), read("given"));
    }
    let again = run_in(
        dir,
        "align in given --size 48 --landmarks points.csv --json",
    )
    .json();
    assert_eq!(again["kept"], 3);

    std::fs::write(dir.join("bad.csv"), "file,x1\na.png,3\n").unwrap();
    run_in(dir, "align in no --landmarks bad.csv").fails(1, &["bad.csv", "left_eye_x"]);
    let (header, line) = (&lines[0], &lines[1]);
    let spoilt = format!("{header}\n{line}\n{line}\n");
    std::fs::write(dir.join("twice.csv"), spoilt).unwrap();
    run_in(dir, "align in no --landmarks twice.csv").fails(1, &["line 3", "`a.png`", "twice"]);
}

#[test]
fn impossible_runs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(&dir.join("in"), &[("s01_01", "a.png")]);
    std::fs::create_dir(dir.join("empty")).unwrap();
    run_in(dir, "align nowhere out").fails(1, &["nowhere", "folder of photos"]);
    run_in(dir, "align empty out").fails(1, &["no photos", "png, jpg"]);
    run_in(dir, "align in in").fails(2, &["another OUT_DIR"]);
    run_in(dir, "align in out --size 5000").fails(2, &["size", "2048"]);
    run_in(dir, "align in out --max-yaw 120").fails(2, &["max_yaw"]);
    run_in(dir, "align in out --min-face-size 2").fails(2, &["min_face_size"]);
    run_in(dir, "align in in/a.png").fails(1, &["in/a.png"]);
    assert_eq!(files(&dir.join("in")), ["a.png"]);
    // Results below the photos are not taken for photos.
    assert_eq!(run_in(dir, "align in in/faces").code, Some(0));
    assert_eq!(run_in(dir, "align in in/faces --json").json()["photos"], 1);
}
