//! `cox --path` against glmnet.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::Value;

use crate::support::{agrees, data, golden_json, run, run_in, run_on};

fn features() -> String {
    let names: Vec<String> = (1..=50).map(|j| format!("x{j}")).collect();
    names.join(",")
}

fn line(rest: &str) -> String {
    format!(
        "cox {} --time time --event status --features {} --path --json {rest}",
        data("enet_n300_p50"),
        features()
    )
}

fn dense(sparse: &Value, p: usize) -> Vec<f64> {
    let list = |v: &Value| -> Vec<f64> {
        match v {
            Value::Array(items) => items.iter().map(|x| x.as_f64().unwrap()).collect(),
            one => vec![one.as_f64().unwrap()],
        }
    };
    let mut beta = vec![0.0; p];
    for (i, v) in list(&sparse["i"]).into_iter().zip(list(&sparse["v"])) {
        beta[format!("{i}").parse::<usize>().expect("a place")] = v;
    }
    beta
}

/// Coefficients to 1e-5, as glmnet's at thresh 1e-14.
#[track_caller]
fn path_as_glmnet(key: &str, rest: &str) {
    let golden = golden_json("survival/results/glmnet_paths.json");
    let want = &golden[key];
    let got = run(&line(rest)).json();
    // glmnet's sequence carries a single-precision exponent.
    agrees(
        &got["lambda"],
        &want["lambda"],
        2e-7,
        &format!("{key}.lambda"),
    );
    agrees(
        &got["nulldev"],
        &want["nulldev"],
        1e-9,
        &format!("{key}.nulldev"),
    );
    agrees(
        &got["dev_ratio"],
        &want["dev_ratio"],
        1e-5,
        &format!("{key}.dev_ratio"),
    );
    assert_eq!(
        got["beta"].as_array().unwrap().len(),
        got["lambda"].as_array().unwrap().len()
    );
    let at = want["beta_at"].as_array().unwrap();
    for (k, want) in at.iter().zip(want["beta"].as_array().unwrap()) {
        let k = k.as_u64().unwrap() as usize;
        let (got, want) = (dense(&got["beta"][k], 50), dense(want, 50));
        for j in 0..50 {
            assert!(
                (got[j] - want[j]).abs() <= 1e-5 * want[j].abs().max(1.0),
                "{key}: lambda {k}, column {j}: {} against {}",
                got[j],
                want[j]
            );
        }
    }
}

#[test]
fn golden_paths() {
    path_as_glmnet("A/alpha1", "");
    path_as_glmnet("A/alpha0.5", "--alpha 0.5");
    path_as_glmnet("A/alpha1/nostd", "--nlambda 50 --standardize false");
    path_as_glmnet("A/alpha0.5/weights", "--alpha 0.5 --nlambda 50 --weights w");
    path_as_glmnet(
        "A/alpha0.5/strata",
        "--alpha 0.5 --nlambda 30 --strata stratum",
    );
    path_as_glmnet("A/alpha0.5/entry", "--alpha 0.5 --nlambda 30 --entry entry");
    let factors: Vec<&str> = (0..50)
        .map(|j| if j < 2 { "0" } else { ["1", "2"][j % 2] })
        .collect();
    let rest = format!(
        "--alpha 0.5 --nlambda 50 --penalty-factor {}",
        factors.join(",")
    );
    path_as_glmnet("A/alpha0.5/penaltyfactor", &rest);
    let golden = golden_json("survival/results/glmnet_paths.json");
    let lambda: Vec<String> = golden["A/alpha0"]["lambda"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    path_as_glmnet(
        "A/alpha0",
        &format!("--alpha 0 --lambda {}", lambda.join(",")),
    );
}

#[test]
fn golden_cross_validation() {
    let golden = golden_json("survival/results/glmnet_paths.json");
    for (key, measure) in [
        ("A/cv_alpha0.95/deviance/groupedTRUE", "deviance"),
        ("A/cv_alpha0.95/deviance/groupedFALSE", "deviance-ungrouped"),
        ("A/cv_alpha0.95/C", "c"),
    ] {
        let rest = format!("--alpha 0.95 --nlambda 50 --foldid foldid --measure {measure}");
        let got = run(&line(&rest)).json();
        // glmnet ran at thresh 1e-12 here, and its sequence carries a single-precision exponent.
        for (name, tolerance) in [
            ("lambda", 2e-7),
            ("cvm", 2e-5),
            ("cvsd", 2e-5),
            ("lambda_min", 2e-7),
            ("lambda_1se", 2e-7),
        ] {
            let what = format!("{key}.{name}");
            agrees(&got[name], &golden[key][name], tolerance, &what);
        }
        let fold = got["foldid"].as_array().unwrap();
        assert_eq!(fold.len(), 300);
        assert!(fold.iter().all(|f| (1..=10).contains(&f.as_u64().unwrap())));
    }
}

#[test]
fn folds_follow_the_seed_and_keep_clusters_together() {
    let seeded = |seed: u64| run(&line(&format!("--nlambda 5 --cv 4 --seed {seed}"))).json();
    let (a, b, c) = (seeded(1), seeded(1), seeded(2));
    assert_eq!(a, b, "the same seed gives the same bits");
    assert_ne!(a["foldid"], c["foldid"]);
    let grouped = run(&line("--nlambda 5 --cv 3 --cluster w")).json();
    let table = std::fs::read_to_string(data("enet_n300_p50")).unwrap();
    let mut fold_of = std::collections::HashMap::new();
    for (row, fold) in table
        .lines()
        .skip(1)
        .zip(grouped["foldid"].as_array().unwrap())
    {
        let cluster = row.split(',').nth(3).unwrap().to_owned();
        assert_eq!(fold_of.entry(cluster).or_insert(fold), &fold);
    }
    let threads = run(&line("--nlambda 5 --cv 4 --seed 1 --threads 1")).json();
    assert_eq!(a, threads, "whatever the number of threads");
}

#[test]
fn a_features_file_gives_the_same_path() {
    let table = std::fs::read_to_string(data("enet_n300_p50")).unwrap();
    let rows: Vec<Vec<f64>> = table
        .lines()
        .skip(1)
        .map(|row| row.split(',').map(|c| c.parse().unwrap()).collect())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let mut outcome = String::from("time,status\n");
    for row in &rows {
        writeln!(outcome, "{},{}", row[0], row[1]).unwrap();
    }
    std::fs::write(folder.path().join("outcome.csv"), outcome).unwrap();
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (300, 50), }\n";
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    for row in &rows {
        row[6..].iter().for_each(|v| npy.extend(v.to_le_bytes()));
    }
    // The extension plays no part.
    let mut file = std::fs::File::create(folder.path().join("latents.dat")).unwrap();
    file.write_all(&npy).unwrap();
    let from_file = run_in(
        folder.path(),
        "cox outcome.csv --time time --event status --features-file latents.dat --path --nlambda 20 --json",
    );
    let direct = run(&line("--nlambda 20"));
    assert_eq!(from_file.json(), direct.json());

    let by_name = run(&line("--nlambda 20 --penalty-factor x1=0,x3=2.5")).json();
    let mut factors = vec!["1"; 50];
    (factors[0], factors[2]) = ("0", "2.5");
    let by_place = run(&line(&format!(
        "--nlambda 20 --penalty-factor {}",
        factors.join(",")
    )));
    assert_eq!(by_name, by_place.json());
}

#[test]
fn constant_columns_are_mentioned_and_stay_at_zero() {
    let mut csv = String::from("time,status,a,b,k\n");
    for i in 0..30u32 {
        let (time, status) = (1 + i * 7 % 30, u32::from(i % 3 > 0));
        writeln!(csv, "{time},{status},{},{},7", i * i % 11, i % 5).unwrap();
    }
    let run = run_on(
        &csv,
        "cox {} --time time --event status --path --cv 3 --json",
    );
    let json = run.json();
    assert!(
        run.stderr.contains("column `k` is constant"),
        "{}",
        run.stderr
    );
    assert_eq!(json["names"].as_array().unwrap().len(), 3);
    for beta in json["beta"].as_array().unwrap() {
        assert!(!beta["i"].as_array().unwrap().contains(&Value::from(2)));
    }
}

/// The heavily tied set with a column of offsets, in a folder of its own.
fn with_offset() -> tempfile::TempDir {
    let table = std::fs::read_to_string(data("enet_n300_p50")).unwrap();
    let mut csv = String::new();
    for (row, line) in table.lines().enumerate() {
        if row == 0 {
            writeln!(csv, "{line},off").unwrap();
        } else {
            let row = row as f64;
            writeln!(csv, "{line},{}", 0.3 * row.sin() + 0.002 * row).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.csv"), csv).unwrap();
    folder
}

/// A path of the columns x1 to x50 of that set.
fn on_path(folder: &tempfile::TempDir, rest: &str) -> Value {
    let features = features();
    let line =
        format!("cox data.csv --time time --event status --features {features} --path --json");
    run_in(folder.path(), &format!("{line} {rest}")).json()
}

/// At the top stands what the path itself is worth, with refits beside it or without.
fn agrees_at_the_top(got: &Value, unrelaxed: &Value) {
    for name in ["cvm", "cvsd", "lambda_min", "lambda_1se", "foldid"] {
        assert_eq!(got[name], unrelaxed[name], "{name}");
    }
}

#[test]
fn offset_limits_and_relaxed_fits() {
    let folder = with_offset();
    let on = |rest: &str| on_path(&folder, rest);
    let golden = golden_json("penalised/golden.json");
    let got = on("--offset off --alpha 0.5 --nlambda 25 --lambda-min-ratio 0.02");
    agrees(&got["lambda"], &golden["offset"]["lambda"], 2e-7, "offset");
    agrees(
        &got["dev_ratio"],
        &golden["offset"]["dev_ratio"],
        1e-5,
        "offset",
    );

    let some = on("--nlambda 8 --lower-limits x1=-0.02,x5=0 --upper-limits 0.03 --exclude x2,x9");
    let mut lower = vec!["-inf"; 50];
    (lower[0], lower[4]) = ("-0.02", "0");
    let upper = vec!["0.03"; 50].join(",");
    let lower = lower.join(",");
    let same = on(&format!(
        "--nlambda 8 --lower-limits={lower} --upper-limits {upper} --exclude x9,x2"
    ));
    assert_eq!(some, same);
    let last = dense(&some["beta"][7], 50);
    assert!(last.iter().all(|&b| b <= 0.03) && last[0] >= -0.02 && last[4] >= 0.0);
    assert!(last[1].abs() < 1e-300 && last[8].abs() < 1e-300);
    let adaptive = on("--nlambda 8 --adaptive");
    assert_eq!(adaptive, on("--nlambda 8 --adaptive=1 --seed 0"));
    assert_ne!(
        adaptive["beta"],
        on("--nlambda 8 --adaptive --seed 1")["beta"]
    );
    assert_ne!(adaptive["beta"], on("--nlambda 8")["beta"]);

    let want = &golden["relaxed_cv"];
    let lambda: Vec<String> = want["lambda"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    let lambda = lambda.join(",");
    let rest = format!("--offset off --alpha 0.9 --lambda {lambda} --relax");
    let got = on(&format!("{rest} --foldid foldid"));
    let relaxed = &got["relaxed"];
    for name in [
        "lambda_min",
        "gamma_min",
        "lambda_1se",
        "gamma_1se",
        "gamma",
    ] {
        agrees(&relaxed[name], &want[name], 1e-12, name);
    }
    for (g, gamma) in ["g:0", "g:0.25", "g:0.5", "g:0.75", "g:1"]
        .iter()
        .enumerate()
    {
        agrees(&relaxed["cvm"][g], &want["cvm"][gamma], 2e-5, gamma);
        agrees(&relaxed["cvsd"][g], &want["cvsd"][gamma], 2e-5, gamma);
    }
    assert_eq!(relaxed["foldid"].as_array().unwrap().len(), 300);
    let unrelaxed = on(&format!(
        "--offset off --alpha 0.9 --lambda {lambda} --foldid foldid"
    ));
    agrees_at_the_top(&got, &unrelaxed);
    let plain = on(&rest);
    assert_eq!(plain["relaxed"]["beta"], relaxed["beta"]);
    assert!(plain["relaxed"].get("cvm").is_none());
}

#[test]
fn groups_enter_together() {
    let folder = with_offset();
    let on = |rest: &str| on_path(&folder, rest);
    let group = |j: usize| ["early", "middle", "late"][j / 20];
    let names: Vec<&str> = (0..50).map(group).collect();
    let mut file = String::from("feature,group\n");
    for (j, name) in names.iter().enumerate() {
        writeln!(file, "x{},{name}", j + 1).unwrap();
    }
    std::fs::write(folder.path().join("groups.csv"), file).unwrap();
    let by_file = on("--nlambda 12 --lambda-min-ratio 0.1 --group groups.csv");
    let by_place = on(&format!(
        "--nlambda 12 --lambda-min-ratio 0.1 --group {}",
        names.join(",")
    ));
    assert_eq!(by_file, by_place);
    assert_eq!(by_file["group"][25], "middle");
    for (df, active) in by_file["df"]
        .as_array()
        .unwrap()
        .iter()
        .zip(by_file["active_groups"].as_array().unwrap())
    {
        let sizes: &[u64] = match active.as_u64().unwrap() {
            0 => &[0],
            1 => &[10, 20],
            2 => &[30, 40],
            _ => &[50],
        };
        assert!(sizes.contains(&df.as_u64().unwrap()), "{df} {active}");
    }
    let alone = on("--nlambda 6 --group x1=a,x2=a");
    assert_eq!(
        (&alone["group"][0], &alone["group"][2]),
        (&"a".into(), &"x3".into())
    );
}

#[test]
fn a_baseline_hazard_anywhere_on_the_path() {
    let table = data("veteran");
    let on = |rest: &str| {
        let line = format!("cox {table} --time time --event status --features trt,karno {rest}");
        run(&line)
    };
    let cv = on("--path --cv 5 --baseline --json").json();
    assert_eq!(cv["baseline"]["lambda"], cv["lambda_min"]);
    // Where the penalty is as good as none, it is that of the model without one.
    let path = on("--path --lambda 1e-3,1e-12 --baseline --at 1e-12 --json").json();
    let plain = on("--ties breslow --baseline --json").json();
    for key in ["time", "hazard"] {
        agrees(&path["baseline"][key], &plain["baseline"][key], 1e-6, key);
    }
    assert_eq!(path["baseline"]["strata"], plain["baseline"]["strata"]);
    let relaxed = on("--path --nlambda 20 --cv 5 --relax --baseline --json").json();
    let (found, chosen) = (&relaxed["baseline"], &relaxed["relaxed"]);
    assert_eq!(found["lambda"], chosen["lambda_min"]);
    assert_eq!(found["gamma"], chosen["gamma_min"]);
    let text = on("--path --baseline --at 0.01").stdout;
    assert!(
        text.contains("\nAt lambda 0.01\nBaseline hazard\nstrata,time,hazard\n"),
        "{text}"
    );
}
