//! Bytes of any kind must load as a table or give a typed error; so must a cohort of its columns.
//!
//! `mkdir -p corpus/table && cargo +nightly fuzz run table corpus/table seeds/table`, from the folder
//! `crates/survlatent/fuzz`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use survlatent::{Roles, Table};

fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = Table::from_csv(bytes) else {
        return;
    };
    let names: Vec<&str> = table.columns().iter().map(|c| c.name()).collect();
    let [time, event, ..] = names[..] else {
        return;
    };
    let roles = Roles::new(time, event).strata(names.last().copied()).drop_missing(true);
    if let Ok(cohort) = roles.cohort(&table) {
        assert_eq!(cohort.surv().n() + cohort.dropped_rows(), table.n());
        let _ = cohort.covariates().expect("a cohort has its matrix");
    }
});
