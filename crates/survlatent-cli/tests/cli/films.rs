//! Mixing and films.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::AnimationDecoder as _;
use image::codecs::gif::GifDecoder;

use crate::support::{files, network, run_in};

#[test]
fn mixed_pictures_are_all_there_and_in_the_grid() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let network = network("rosinality_uncond32.pt");
    let mix = format!("style-mix --network {network} --rows 1,2 --cols 3 --out mix");
    let run = run_in(dir, &format!("{mix} --styles 0-3"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mix_folder = dir.join("mix");
    assert_eq!(
        files(&mix_folder),
        [
            "1-1.png", "1-3.png", "2-2.png", "2-3.png", "3-3.png", "grid.png"
        ]
    );
    let open = |name: &str| image::open(mix_folder.join(name)).unwrap().to_rgb8();
    let grid = open("grid.png");
    assert_eq!(grid.dimensions(), (64, 96));
    for (name, x, y) in [("3-3.png", 32, 0), ("1-1.png", 0, 32), ("2-3.png", 32, 64)] {
        let part = image::imageops::crop_imm(&grid, x, y, 32, 32).to_image();
        assert_eq!(part, open(name), "{name}");
    }
    // No layer mixed in: the row; every layer: the column.
    let run = run_in(dir, &format!("{mix} --styles 0-7"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(open("1-3.png"), open("3-3.png"));
    assert_ne!(open("1-1.png"), open("3-3.png"));
}

fn frames(path: &Path) -> Vec<image::Frame> {
    let file = BufReader::new(File::open(path).unwrap());
    let decoder = GifDecoder::new(file).unwrap();
    decoder.into_frames().collect_frames().unwrap()
}

#[test]
fn films_start_and_end_where_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let network = network("official_gray16_resnetG_skipD.pkl");
    let film = format!("interpolate --network {network} --frames 3 --fps 20");
    for space in ["w", "z"] {
        let line = format!("{film} --seeds 1,2,3 --space {space} --out open.gif");
        let run = run_in(dir, &line);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let open = frames(&dir.join("open.gif"));
        assert_eq!(open.len(), 7);
        assert_eq!(open[0].delay().numer_denom_ms(), (50, 1));
        let line = format!("{film} --seeds 1,2,3 --space {space} --loop --out loop.gif");
        assert_eq!(run_in(dir, &line).code, Some(0));
        let closed = frames(&dir.join("loop.gif"));
        assert_eq!(closed.len(), 9);
        assert_eq!(open[0].buffer(), closed[0].buffer());
        assert_ne!(open[0].buffer(), open[3].buffer());
        let line = format!("generate --network {network} --seeds 2 --out still");
        assert_eq!(run_in(dir, &line).code, Some(0));
        let still = image::open(dir.join("still/seed0002.png"))
            .unwrap()
            .to_luma8();
        for (a, b) in still.pixels().zip(open[3].buffer().pixels()) {
            // A palette of 256 colours holds every gray.
            assert!(a.0[0].abs_diff(b.0[0]) <= 4, "{a:?} and {b:?}");
        }
    }
    run_in(dir, &format!("{film} --seeds 1,2 --out film.avi")).fails(2, &[".gif or .mp4"]);
    run_in(dir, &format!("{film} --seeds 1 --out film.gif")).fails(2, &["two or more"]);
    run_in(dir, &format!("{film} --seeds 1,2 --out no/film.gif")).fails(1, &["no/film.gif"]);
    assert_eq!(files(dir), ["loop.gif", "open.gif", "still"]);
}

/// A stand-in for ffmpeg shows what it is given; the real one is not on every machine.
#[cfg(unix)]
#[test]
fn mp4_goes_through_ffmpeg_on_the_path() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let program = dir.join("bin/ffmpeg");
    std::fs::create_dir(dir.join("bin")).unwrap();
    let script = "#!/bin/sh\n[ \"$1\" = -version ] && exit 0\n\
        for last; do :; done\n/bin/cat > \"$last\"\necho \"$@\" > args\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let network = network("official_gray16_resnetG_skipD.pkl");
    let line = format!("interpolate --network {network} --seeds 1,2 --frames 2 --out film.mp4");
    let with_path = |path: &Path| {
        crate::support::program()
            .current_dir(dir)
            .env("PATH", path)
            .args(line.split_whitespace())
            .output()
            .unwrap()
    };
    let output = with_path(&dir.join("bin"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Three frames of 16 x 16 in RGB.
    assert_eq!(
        std::fs::read(dir.join("film.mp4")).unwrap().len(),
        3 * 16 * 16 * 3
    );
    let arguments = std::fs::read_to_string(dir.join("args")).unwrap();
    assert!(arguments.contains("-s 16x16 -r 25"), "{arguments}");
    std::fs::remove_file(dir.join("film.mp4")).unwrap();
    let output = with_path(dir);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("ffmpeg"), "{text}");
    std::fs::write(
        &program,
        "#!/bin/sh\n[ \"$1\" = -version ] && exit 0\nexit 3\n",
    )
    .unwrap();
    let output = with_path(&dir.join("bin"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(files(dir), ["args", "bin"], "no part of a film is left");
}
