//! Every kind of bad input: exit code, a message with the place, nothing on standard output.

use std::fmt::Write as _;

use crate::support::{Run, data, run, run_in, run_on};

const GOOD: &str =
    "time,status,age,arm\n5,1,61,2\n8,0,44,1\n13,1,59,1\n9,1,58,2\n11,1,71,1\n20,0,52,2\n";

#[track_caller]
fn cox(csv: &str, code: i32, words: &[&str]) {
    run_on(csv, "cox {} --time time --event status --json").fails(code, words);
}

/// `GOOD` with one line replaced.
fn with_line(line: usize, text: &str) -> String {
    let mut lines: Vec<&str> = GOOD.lines().collect();
    lines[line - 1] = text;
    lines.join("\n") + "\n"
}

#[test]
fn the_good_table_is_good() {
    assert_eq!(
        run_on(GOOD, "cox {} --time time --event status --json").json()["n"],
        6
    );
}

#[test]
fn files_that_are_no_tables() {
    run("cox /no/such/file.csv --time time --event status").fails(1, &["/no/such/file.csv"]);
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), "cox . --time time --event status").fails(1, &[".: ", "directory"]);
    cox("", 1, &["data.csv", "no header"]);
    cox("time,status,age\n", 1, &["data.csv", "no data rows"]);
    cox(
        &with_line(4, "13,1,59"),
        1,
        &["data.csv", "row 3 (line 4)", "3 cells", "4"],
    );
    cox(
        &with_line(1, "time,status,age,age"),
        1,
        &["column 3 and column 4", "`age`"],
    );
    // Marks that swallow rows, in every verb that reads a table.
    let open = with_line(4, "13,1,59,\"1");
    cox(&open, 1, &["data.csv", "line 4", "no other closes"]);
    run_on(&open, "km {} --time time --event status").fails(1, &["data.csv", "line 4"]);
    let two = open.replace("71,1\n", "71,\"1\n");
    cox(&two, 1, &["data.csv", "line 4", "goes on to line 6"]);
    std::fs::write(folder.path().join("latin1.csv"), b"time,status\n1,\xe9\n").unwrap();
    run_in(folder.path(), "cox latin1.csv --time time --event status")
        .fails(1, &["latin1.csv", "line 2", "UTF-8"]);
    std::fs::write(
        folder.path().join("bytes.csv"),
        b"\x93NUMPY\x01\0\xff\xfe\0\0",
    )
    .unwrap();
    run_in(folder.path(), "km bytes.csv --time time --event status").fails(1, &["bytes.csv"]);
}

#[test]
fn unknown_columns_offer_the_nearest() {
    let flags = [
        "cox {} --time tme --event status",
        "cox {} --time time --event statu",
        "cox {} --time time --event status --features agee",
        "cox {} --time time --event status --strata armm",
        "cox {} --time time --event status --weights agee",
        "cox {} --time time --event status --entry agee",
        "cox {} --time time --event status --cluster armm",
        "cox {} --time time --event status --categorical armm",
        "cox {} --time time --event status --path --foldid armm",
        "km {} --time time --event status --by armm",
        "concordance {} --time time --event status --score agee",
    ];
    for line in flags {
        run_on(GOOD, line).fails(1, &["there is no column", "did you mean `"]);
    }
    let german = GOOD.replace(',', ";");
    cox(&german, 1, &["semicolons", "commas"]);
}

#[test]
fn cells_are_named_by_column_and_row() {
    let cases = [
        (
            "9,1,old,2",
            &["column `age`, row 4 (line 5)", "`old` is not a number"][..],
        ),
        ("9,1,inf,2", &["column `age`, row 4 (line 5)", "inf"]),
        ("9,1,1e999,2", &["column `age`, row 4 (line 5)", "inf"]),
        ("soon,1,58,2", &["column `time`, row 4 (line 5)", "`soon`"]),
        (
            "-9,1,58,2",
            &["column `time`, row 4 (line 5)", "-9 is negative"],
        ),
        ("inf,1,58,2", &["column `time`, row 4 (line 5)", "inf"]),
        (
            "9,2,58,2",
            &[
                "column `status`, row 4 (line 5)",
                "`2`",
                "0, 1, true and false",
            ],
        ),
        (
            "9,dead,58,2",
            &["column `status`, row 4 (line 5)", "`dead`"],
        ),
        (
            "9,1,NaN,2",
            &[
                "1 of 6 row(s) have missing values",
                "`age`: 1",
                "--drop-missing",
            ],
        ),
        ("9,1,,", &["1 of 6 row(s)", "`age`: 1", "`arm`: 1"]),
        ("9,,58,2", &["`status`: 1"]),
    ];
    for (line, words) in cases {
        cox(&with_line(5, line), 1, words);
    }
    assert_eq!(
        run_on(
            &with_line(5, "0,1,58,2"),
            "cox {} --time time --event status --json"
        )
        .code,
        Some(0),
        "time zero is accepted"
    );
    let entry = "time,status,start,w\n5,1,0,1\n8,1,9,1\n9,0,1,-1\n";
    run_on(entry, "km {} --time time --event status --entry start").fails(
        1,
        &[
            "column `start`, row 2 (line 3)",
            "9 is not before the time 8",
            "`time`",
        ],
    );
    run_on(entry, "km {} --time time --event status --weights w")
        .fails(1, &["column `w`, row 3 (line 4)", "-1 is negative"]);
    let score = "time,status,s\n5,1,1\n8,1,high\n";
    run_on(score, "concordance {} --time time --event status --score s")
        .fails(1, &["column `s`, row 2 (line 3)", "`high`"]);
}

#[test]
fn data_without_an_answer() {
    let all_censored = GOOD.replace(",1,", ",0,");
    cox(&all_censored, 1, &["no event"]);
    cox("time,status,age\n5,1,3\n", 1, &["1 row", "at least 2"]);
    cox(
        "time,status\n5,1\n6,0\n7,1\n",
        1,
        &["no covariate", "p = 0"],
    );
    let constant = GOOD
        .replace(",61,", ",3,")
        .replace(",44,", ",3,")
        .replace(",59,", ",3,")
        .replace(",58,", ",3,")
        .replace(",71,", ",3,")
        .replace(",52,", ",3,");
    cox(&constant, 1, &["column `age` is constant"]);
    run_on(
        "time,status,x,c\n1,1,3,a\n2,1,4,a\n3,1,1,a\n4,0,2,a\n",
        "cox {} --time time --event status --features x,c",
    )
    .fails(1, &["column `c` is constant"]);
    let twice = "time,status,a,b\n5,1,1,2\n6,1,3,6\n7,1,2,4\n9,0,5,10\n10,1,4,8\n";
    cox(twice, 1, &["`b`", "`a`", "linear combination"]);
    let wide = "time,status,a,b,c\n5,1,1,2,0\n6,1,3,1,1\n7,1,2,4,5\n";
    cox(wide, 1, &["path"]);
    run_on(
        "t,e,x\n,1,1\n2,1,\n",
        "cox {} --time t --event e --drop-missing",
    )
    .fails(1, &["every one of the 2 rows"]);
}

#[test]
fn features_files_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    file("data.csv", GOOD.as_bytes());
    file("short.csv", b"z1,z2\n1,2\n3,4\n");
    file("double.csv", b"id,z1\np,1\nq,2\np,3\n");
    file("nan.csv", b"z1\n1\n2\n3\ninf\n5\n6\n");
    let npy = |shape: &str, data: &[f32]| -> Vec<u8> {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data.iter().flat_map(|v| v.to_le_bytes()));
        bytes
    };
    file(
        "nan.npy",
        &npy("(6, 1)", &[1.0, 2.0, f32::NAN, 4.0, 5.0, 6.0]),
    );
    file("flat.npy", &npy("(6,)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    file("huge.npy", &npy("(4000000000000000000, 4)", &[1.0]));
    file("cut.npy", &npy("(6, 1)", &[1.0]));
    file("noise.bin", &[0, 159, 146, 150, 0, 1]);
    let cox = |features: &str| -> Run {
        let line = format!(
            "cox data.csv --time time --event status --features-file {features} --path --json"
        );
        run_in(folder.path(), &line)
    };
    cox("short.csv").fails(1, &["2 rows of latents", "6 rows of survival data"]);
    cox("double.csv").fails(1, &["double.csv", "id `p` is in row 1 and in row 3"]);
    cox("nan.csv").fails(1, &["nan.csv", "column `z1`, row 4 (line 5)"]);
    cox("nan.npy").fails(1, &["nan.npy", "column `x1`, row 3", "NaN"]);
    cox("flat.npy").fails(1, &["flat.npy", "shape [6]"]);
    cox("huge.npy").fails(1, &["huge.npy", "more values than can be counted"]);
    cox("cut.npy").fails(1, &["cut.npy", "needs 24 bytes of data, the file has 4"]);
    cox("noise.bin").fails(1, &["noise.bin"]);
    for unnamed in ["short.csv", "flat.npy"] {
        let named = format!("{unnamed} --features-array zz");
        cox(&named).fails(1, &[unnamed, "array `zz` was asked for"]);
    }
    cox("absent.npy").fails(1, &["absent.npy"]);
}

#[test]
fn bad_usage_is_exit_code_2() {
    let veteran = data("veteran");
    for (rest, word) in [
        ("--ties exactly", "--ties"),
        ("--alpha 0.5", "--path"),
        ("--path --alpha 1.5", "[0, 1]"),
        ("--path --alpha x", "not a number"),
        ("--path --nlambda 0", "at least 1"),
        ("--path --lambda-min-ratio 1", "between 0 and 1"),
        ("--path --lambda 0.1,0.2", "decrease"),
        ("--path --lambda=-0.1", "at least 0"),
        ("--path --lambda 0.1 --nlambda 3", "cannot be used with"),
        ("--path --cv 1", "at least 2"),
        ("--path --cv 138", "at most the number of rows"),
        ("--path --cv 5 --foldid prior", "holds 2 folds"),
        ("--path --robust", "cannot be used with"),
        ("--path --cluster age", "--cv"),
        ("--path --penalty-factor 1,2", "2 factors for 8"),
        ("--path --penalty-factor agee=1", "did you mean `age`"),
        ("--path --baseline", "needs a lambda"),
        ("--path --baseline --relax", "--cv K or --foldid COL"),
        ("--path --measure c", "--foldid"),
        ("--path --seed 1", "--adaptive"),
        ("--path --foldid prior --seed 1", "--adaptive"),
        ("--path --relax --gamma 0.5", "--cv"),
        ("--path --at 0.1", "--baseline"),
        ("--path --baseline --at 0.1 --relax", "cannot be used with"),
        ("--path --standardize maybe", "maybe"),
        ("--path --exclude agee", "did you mean `age`"),
        ("--path --lower-limits 0.1", "lower limit 0.1"),
        ("--path --lower-limits x", "not a number"),
        (
            "--path --upper-limits age=-1",
            "column `age`: the upper limit -1",
        ),
        ("--path --upper-limits 1,2", "2 limits for 8"),
        ("--path --adaptive=0", "above 0"),
        ("--relax", "--path"),
        ("--path --gamma 0.5", "--relax"),
        ("--path --relax --gamma 1.5", "[0, 1]"),
        ("--path --group layer", "LAYER.COLUMN"),
        ("--path --group agee=a,trt=b", "did you mean `age`"),
        ("--path --group a,b", "2 groups for 8"),
        ("--path --group layer --adaptive", "cannot be used with"),
        ("--format csv --zph", "cannot be used with"),
        ("--format csv --residuals score", "cannot be used with"),
        (
            "--path --cv 3 --baseline --format csv",
            "cannot be used with",
        ),
        ("--level 95", "between 0 and 1"),
        ("--features-array w", "--features-file"),
        ("--no-such-flag", "--no-such-flag"),
        ("--threads 0", "at least 1"),
    ] {
        run(&format!("cox {veteran} --time time --event status {rest}")).fails(2, &[word]);
    }
    run(&format!("cox {veteran} --event status")).fails(2, &["--time"]);
    run("cox").fails(2, &["--time"]);
    run("no-such-verb").fails(2, &["no-such-verb"]);
    run("").fails(2, &["Usage"]);
    run(&format!(
        "km {veteran} --time time --event status --conf-type exact"
    ))
    .fails(2, &["log-log"]);
    run(&format!(
        "concordance {veteran} --time time --event status --score age --tau 0"
    ))
    .fails(2, &["above 0"]);
}

#[test]
fn folds_without_an_event_and_clusters_in_two_folds() {
    let mut csv = String::from("t,e,x,z,f,id\n");
    for i in 0..30 {
        // Fold 3 holds no event; patients come twice.
        let (fold, event) = (i % 3 + 1, u8::from(i % 3 < 2));
        let (x, z) = (i * 7 % 11, i * i % 13);
        writeln!(csv, "{},{event},{x},{z},{fold},{}", 1 + i * 11 % 30, i / 6).unwrap();
    }
    let line = "cox {} --time t --event e --features x,z --path";
    for measure in ["deviance", "deviance-ungrouped", "c"] {
        let line = format!("{line} --foldid f --measure {measure}");
        run_on(&csv, &line).fails(1, &["fold 3", "no event"]);
    }
    let parted = "it parts rows that belong together";
    run_on(&csv, &format!("{line} --foldid f --cluster id")).fails(1, &["fold 2", parted]);
    let formula = "cox {} --time t --event e --path --formula x+z+cluster(id)";
    run_on(&csv, &format!("{formula} --foldid f")).fails(1, &["fold 2", parted]);
    run_on(&csv, formula).fails(2, &["a cluster", "--cv", "--foldid"]);
    let twice = format!("{formula} --foldid id --cluster z");
    run_on(&csv, &twice).fails(2, &["the cluster", "`z`", "`id`"]);
    // Folds that keep them together are used, and named by the flag or by the formula they are the same.
    let flagged = run_on(&csv, &format!("{line} --foldid id --cluster id --json")).json();
    let written = run_on(&csv, &format!("{formula} --foldid id --json")).json();
    assert_eq!(flagged, written);
    assert_eq!(flagged["foldid"].as_array().unwrap().len(), 30);
    let seeded = run_on(&csv, &format!("{formula} --cv 3 --json")).json();
    let fold = seeded["foldid"].as_array().unwrap();
    assert!(fold.chunks(6).all(|six| six.iter().all(|f| f == &six[0])));
}

#[test]
fn a_fold_whose_training_rows_cannot_be_fitted_is_named() {
    let mut csv = String::from("t,e,x,f\n");
    for i in 0..20 {
        // All that varies is in the second fold.
        let (fold, x) = (i % 2 + 1, if i % 2 == 0 { 3 } else { i });
        writeln!(csv, "{},1,{x},{fold}", 1 + i * 7 % 20).unwrap();
    }
    let line = "cox {} --time t --event e --features x --path --foldid f";
    run_on(&csv, line).fails(1, &["without fold 2", "column `x` is constant"]);
}

#[test]
fn a_number_that_is_too_large_is_named_by_column_and_row() {
    let huge = GOOD.replacen(",44,", ",1e308,", 1);
    let place = ["column `age`", "row", "1e308"];
    cox(&huge, 1, &place);
    run_on(&huge, "cox {} --time time --event status --path").fails(1, &place);
}

#[test]
fn rows_that_were_dropped_or_repeated_count_in_an_error_of_a_fit() {
    let csv = "t,e,x,k\n5,1,,1\n8,1,44,3\n13,1,59,2\n9,1,1e300,1\n11,1,71,1\n20,0,52,1\n6,1,50,1\n7,0,41,1\n";
    let place = ["column `x`, row 4 (line 5)", "1e300 is too large"];
    let mut verbs = vec![
        "cox",
        "cox --path",
        "cox --path --cv 2",
        "cox --path --relax",
        "cox --path --relax --cv 2",
    ];
    if cfg!(feature = "deep") {
        verbs.push("deepsurv");
    }
    for verb in verbs {
        let line = format!("{verb} {{}} --time t --event e --features x --drop-missing");
        run_on(csv, &line).fails(1, &place);
        run_on(csv, &format!("{line} --frequencies k")).fails(1, &place);
    }
}

#[test]
fn columns_have_one_part() {
    let line = "cox {} --time time --event status --features age,time";
    run_on(GOOD, line).fails(1, &["`time` cannot be both the time and a feature"]);
    let line = "cox {} --time time --event status --features age,age";
    run_on(GOOD, line).fails(1, &["`age`", "a feature again"]);
    let line = "cox {} --time time --event status --features age --categorical arm";
    run_on(GOOD, line).fails(1, &["`arm`", "not among the features"]);
}
