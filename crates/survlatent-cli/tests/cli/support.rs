//! Running the program and comparing what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The JSON of a run that must have succeeded.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).expect("one JSON object on standard output")
    }

    /// Asserts exit code `code`, a message that holds every word, and an empty standard output.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(self.stdout, "", "nothing on standard output");
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "`{word}` is missing in: {}",
                self.stderr
            );
        }
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_survlatent"));
    command.stdin(Stdio::null());
    command
}

/// Runs the program with arguments separated by spaces.
pub(crate) fn run(line: &str) -> Run {
    run_in(Path::new("."), line)
}

/// Runs the program in a folder.
pub(crate) fn run_in(folder: &Path, line: &str) -> Run {
    let output = program()
        .current_dir(folder)
        .args(line.split_whitespace())
        .output()
        .expect("the program starts");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Runs the program in a folder where no file may grow beyond `blocks` of 512 bytes: what the system says
/// then is as good as a full disk.
#[cfg(unix)]
pub(crate) fn run_limited(folder: &Path, blocks: usize, line: &str) -> Run {
    // The signal that goes with it would end the program.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let output = Command::new("sh")
        .current_dir(folder)
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_survlatent")])
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("a shell starts");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Runs the program on a table made for the occasion: `{}` in the line is its file.
pub(crate) fn run_on(csv: &str, line: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("data.csv"), csv).expect("a file");
    run_in(folder.path(), &line.replace("{}", "data.csv"))
}

pub(crate) fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden")
        .join(path)
}

/// A data set of the golden survival case.
pub(crate) fn data(name: &str) -> String {
    let path = golden(&format!("survival/data/{name}.csv"));
    path.to_str().expect("a UTF-8 path").to_owned()
}

pub(crate) fn golden_json(path: &str) -> Value {
    let text = std::fs::read_to_string(golden(path)).expect("a golden file");
    serde_json::from_str(&text).expect("golden JSON")
}

/// Asserts that every key of `want` is in `got` with the same value, numbers to a relative
/// tolerance; what R writes as NA or an absent list is null.
#[track_caller]
pub(crate) fn agrees(got: &Value, want: &Value, tolerance: f64, what: &str) {
    match (got, want) {
        (Value::Object(got), Value::Object(want)) => {
            for (key, value) in want {
                let found = got
                    .get(key)
                    .unwrap_or_else(|| panic!("{what}: key {key} is missing"));
                agrees(found, value, tolerance, &format!("{what}.{key}"));
            }
        }
        (Value::Array(got), Value::Array(want)) => {
            assert_eq!(got.len(), want.len(), "{what}: length");
            for (k, (g, w)) in got.iter().zip(want).enumerate() {
                agrees(g, w, tolerance, &format!("{what}[{k}]"));
            }
        }
        // R's JSON has no lists of one element.
        (Value::Array(got), want) if got.len() == 1 => agrees(&got[0], want, tolerance, what),
        (Value::Number(got), Value::Number(want)) => {
            let (g, w) = (got.as_f64().unwrap(), want.as_f64().unwrap());
            let scale = w.abs().max(if tolerance > 1e-6 { 1.0 } else { 1e-6 });
            assert!(
                (g - w).abs() <= tolerance * scale,
                "{what}: {g} against {w}"
            );
        }
        // R writes infinity as a word where JSON has none.
        (Value::Null, Value::String(word)) if matches!(word.as_str(), "Inf" | "NaN" | "NA") => {}
        _ => assert_eq!(got, want, "{what}"),
    }
}

/// A network of the golden case, as a path for the command line.
pub(crate) fn network(file: &str) -> String {
    let path = golden(&format!("stylegan2/{file}"));
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// A golden tensor of the networks.
pub(crate) fn tensor(file: &str, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(golden(&format!("stylegan2/{file}"))).expect("a golden file");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let view = file.tensor(name).expect("a golden tensor");
    match view.dtype() {
        safetensors::Dtype::U8 => view.data().iter().map(|&v| f32::from(v)).collect(),
        safetensors::Dtype::F32 => {
            let (chunks, _) = view.data().as_chunks::<4>();
            chunks.iter().map(|&b| f32::from_le_bytes(b)).collect()
        }
        other => panic!("{name} holds {other:?}"),
    }
}

/// The values of a `.npy` file, read by another crate than the one that wrote it.
pub(crate) fn npy(path: &Path) -> (Vec<u64>, Vec<f32>) {
    let file = std::fs::File::open(path).expect("a file");
    let file = npyz::NpyFile::new(file).expect("npy");
    (file.shape().to_vec(), file.into_vec().expect("floats"))
}

pub(crate) fn write_npy(path: &Path, shape: &[u64], values: &[f32]) {
    use npyz::WriterBuilder as _;
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(shape)
        .writer(file)
        .begin_nd()
        .expect("a header");
    writer.extend(values).expect("values");
    writer.finish().expect("an end");
}

/// The largest difference.
#[track_caller]
pub(crate) fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "as many values");
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// Names of the files in a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort_unstable();
    names
}
