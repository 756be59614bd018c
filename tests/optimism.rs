//! The optimism of a Cox model's concordance against R on the same bootstrap samples
//! (`golden/optimism/make.R`).

use std::path::Path;

use cox_survival::{Covariates, CoxPh, Optimism, Resampling, Surv, concordance};
use survlatent_tests::golden::{json, number};

const SEED: u64 = 11;
const REPLICATES: usize = 25;

#[test]
fn the_optimism_is_that_of_r_on_the_same_samples() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/survival/data/veteran.csv");
    let mut table = csv::Reader::from_path(path).expect("veteran");
    let rows: Vec<Vec<f64>> = table
        .deserialize()
        .map(|row| row.expect("numbers"))
        .collect();
    let n = rows.len();
    let time: Vec<f64> = rows.iter().map(|r| r[0]).collect();
    let event: Vec<bool> = rows.iter().map(|r| r[1] > 0.5).collect();
    let surv = Surv::new(&time, &event).expect("outcome");
    // trt, karno, diagtime, age, prior
    let x: Vec<f64> = rows.iter().flat_map(|r| r[2..7].to_vec()).collect();
    let x = Covariates::from_rows(&x, n, 5).expect("covariates");
    let resampling = Resampling::rows(n).within(&event).expect("strata");
    if std::env::var_os("UPDATE_DRAWS").is_some() {
        let draws: Vec<Vec<usize>> = (0..REPLICATES as u64)
            .map(|r| resampling.draw(SEED, r))
            .collect();
        let text = serde_json::to_string(&draws).expect("JSON");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/optimism/draws.json");
        std::fs::write(path, text).expect("draws.json");
    }
    let draws = json("optimism/draws.json");
    for (r, draw) in draws.as_array().expect("draws").iter().enumerate() {
        let rows = draw.as_array().expect("rows").iter();
        let want: Vec<usize> = rows.map(|v| v.as_u64().expect("a row") as usize).collect();
        assert_eq!(resampling.draw(SEED, r as u64), want, "draw {r}");
    }
    let fit = Optimism::new(REPLICATES)
        .seed(SEED)
        .run(
            &resampling,
            |rows| CoxPh::new().fit(&surv.subset(rows)?, &x.select(rows)?),
            |fit, rows| {
                let score = fit.predict(&x.select(rows)?)?;
                Ok(concordance(&surv.subset(rows)?, &score)?.concordance())
            },
        )
        .expect("fit");
    let want = json("optimism/optimism.json");
    let close = |found: f64, key: &str| {
        let want = number(&want[key]).expect("a number");
        assert!(
            (found - want).abs() <= 1e-9,
            "{key}: {found} instead of {want}"
        );
    };
    close(fit.apparent(), "apparent");
    close(fit.optimism(), "optimism");
    close(fit.corrected(), "corrected");
    close(fit.out_of_bag(), "out_of_bag");
    close(fit.estimate_632(), "e632");
    close(fit.estimate_632_plus(), "e632plus");
}
