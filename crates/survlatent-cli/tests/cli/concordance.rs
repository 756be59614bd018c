//! `concordance` against R's.

use crate::support::{agrees, data, golden_json, run};

/// Relative agreement with R.
const TOLERANCE: f64 = 1e-9;

#[test]
fn golden_concordances() {
    let results = golden_json("cli/results.json");
    let (lung, synth) = (data("lung"), data("synth_ties"));
    for (key, rest) in [
        ("age", format!("{lung} --score age")),
        ("karno", format!("{lung} --score ph_karno --protective")),
        ("tau", format!("{lung} --score age --tau 300")),
        ("weights", format!("{synth} --score x1 --weights w")),
        ("entry", format!("{synth} --score x1 --entry entry")),
        ("strata", format!("{synth} --score x1 --strata stratum")),
        ("cluster", format!("{synth} --score x1 --cluster cl")),
    ] {
        let got = run(&format!(
            "concordance --time time --event status --json {rest}"
        ))
        .json();
        agrees(&got, &results["concordance"][key], TOLERANCE, key);
        assert!(got.get("uno").is_none(), "only when asked for");
    }
}

#[test]
fn uno_is_r_s_with_its_weights() {
    let results = golden_json("cli/results.json");
    for (key, tau) in [("uno", ""), ("uno_tau", "--tau 300")] {
        let line = format!(
            "concordance {} --time time --event status --score age --uno {tau} --json",
            data("lung")
        );
        let got = run(&line).json();
        let want = &results["concordance"][key];
        agrees(&got["uno"], &want["concordance"], TOLERANCE, key);
        agrees(&got["uno_std_error"], &want["std_error"], TOLERANCE, key);
        assert!(got["uno_std_error_full"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn protective_turns_the_score_round() {
    let c = |flag: &str| {
        let line = format!(
            "concordance {} --time time --event status --score karno {flag} --uno --json",
            data("veteran")
        );
        run(&line).json()
    };
    let (risk, safe) = (c(""), c("--protective"));
    for key in ["concordance", "uno"] {
        let sum = risk[key].as_f64().unwrap() + safe[key].as_f64().unwrap();
        assert!((sum - 1.0).abs() < 1e-12, "{key}: {sum}");
    }
}
