//! Cox fits and concordance of the crate `survival`, as they come: prints CPU seconds and what was found.
//!
//! usage: rust-survival TASK FOLDER N P      TASK: cox, concordance or concordance_var
//! FOLDER holds x, time and event as doubles, x by columns. Reading and start-up are not timed.

use std::error::Error;

use cpu_time::ProcessTime;
use ndarray::{Array2, ShapeBuilder};
use survival::concordance::{ConcordanceOptions, concordancefit};
use survival::core::strata_order::SurvResponse;
use survival::data_types::SurvivalData;
use survival::regression::{CoxPHFit, CoxphData, CoxphOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, task, folder, n, p] = arguments.as_slice() else {
        return Err("usage: rust-survival TASK FOLDER N P".into());
    };
    let (n, p): (usize, usize) = (n.parse()?, p.parse()?);
    let read = |name: &str| -> Result<Vec<f64>, Box<dyn Error>> {
        let bytes = std::fs::read(format!("{folder}/{name}"))?;
        let values = bytes.as_chunks::<8>().0;
        Ok(values.iter().map(|b| f64::from_le_bytes(*b)).collect())
    };
    let (time, x) = (read("time")?, read("x")?);
    let status: Vec<i32> = read("event")?.iter().map(|e| i32::from(*e > 0.0)).collect();
    let (start, said);
    if task == "cox" {
        // By rows, as the crate's own examples hand it over.
        let columns = Array2::from_shape_vec((n, p).f(), x)?;
        let x = columns.as_standard_layout().into_owned();
        let data = CoxphData::try_new(time, None, status, x, None, None, None)?;
        start = ProcessTime::now();
        let fit = CoxPHFit::fit(data, CoxphOptions::default())?;
        said = format!("{:.9}", fit.coefficients[0]);
    } else {
        let data = SurvivalData::try_new(time, status)?;
        let score = Array2::from_shape_vec((n, 1), x[..n].to_vec())?;
        let options = ConcordanceOptions {
            reverse: true,
            std_err: task == "concordance_var",
            ..ConcordanceOptions::default()
        };
        start = ProcessTime::now();
        let response = SurvResponse::Right(&data);
        let fit = concordancefit(response, score.view(), None, None, None, &options)?;
        said = format!("{:.9}", fit.concordance[0]);
    }
    println!("{} | {said}", start.elapsed().as_secs_f64());
    Ok(())
}
