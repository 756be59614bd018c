//! The help texts, kept as files: a change of the command line shows in a diff.
//!
//! After an intended change: `UPDATE_HELP=1 cargo test -p survlatent-cli help`.

use std::path::Path;

use crate::support::run;

#[test]
fn help_texts_are_as_written() {
    for (file, line) in [
        ("survlatent", "--help"),
        ("cox", "cox --help"),
        ("concordance", "concordance --help"),
        ("km", "km --help"),
        ("logrank", "logrank --help"),
        ("metrics", "metrics --help"),
        ("deepsurv", "deepsurv --help"),
        ("generate", "generate --help"),
        ("style-mix", "style-mix --help"),
        ("interpolate", "interpolate --help"),
        ("discriminate", "discriminate --help"),
        ("convert", "convert --help"),
        ("inspect", "inspect --help"),
        ("fd", "fd --help"),
        ("train", "train --help"),
        ("align", "align --help"),
        ("simulate", "simulate --help"),
        ("run", "run --help"),
        ("edit", "edit --help"),
        ("invert", "invert --help"),
        ("gather", "gather --help"),
        ("train-encoder", "train-encoder --help"),
    ] {
        let help = run(line);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/help/{file}.txt"));
        if std::env::var_os("UPDATE_HELP").is_some() {
            std::fs::write(&path, &help.stdout).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help.stdout, kept, "{}", path.display());
    }
}
