//! Rows that take part: those of weight 0 are as if they were absent.

use crate::covariates::Covariates;
use crate::error::{Error, Result};
use crate::surv::Surv;

/// The rows with weight, where not all have some.
pub(crate) fn used_rows(surv: &Surv) -> Option<Vec<usize>> {
    let weights = surv.weights()?;
    let rows: Vec<usize> = (0..surv.n()).filter(|&i| weights[i] > 0.0).collect();
    (rows.len() < surv.n()).then_some(rows)
}

/// What `fit` makes of `rows` alone; an error counts its row among all of them.
pub(crate) fn among<'a, T>(
    rows: &[usize],
    surv: &Surv,
    x: &Covariates<'a>,
    fit: impl FnOnce(&Surv, &Covariates<'a>) -> Result<T>,
) -> Result<T> {
    let located = |mut error: Error| {
        error.place(rows);
        error
    };
    fit(&surv.subset(rows)?, &x.select(rows)?).map_err(located)
}

#[cfg(test)]
mod tests {
    use crate::cox::twins::{Data, cohort};
    use crate::test_data::close;
    use crate::{
        AdaptiveWeights, Covariates, CoxPath, CoxPh, Error, SparseColumns, Ties, ZphTransform,
    };

    /// Rows of which every sixth has weight 0, an event and values far from all others, and the rest alone.
    fn with_and_without(n: usize, p: usize, wild: f64) -> (Data, Data, Vec<usize>) {
        let mut all = cohort(n, p, 21, true, false);
        let weights: Vec<f64> = (0..n)
            .map(|i| [0.0, 1.0, 0.5, 2.0, 1.0, 1.5][i % 6])
            .collect();
        for i in (0..n).step_by(6) {
            all.event[i] = true;
            for (j, x) in all.x[i * p..(i + 1) * p].iter_mut().enumerate() {
                *x = if j % 2 == 0 { wild } else { -3.0 * wild };
            }
        }
        let used: Vec<usize> = (0..n).filter(|&i| weights[i] > 0.0).collect();
        all.weights = Some(weights);
        let alone = all.permuted(&used);
        (all, alone, used)
    }

    #[test]
    fn a_path_is_that_of_the_rows_with_weight() {
        // Of the last, the square overflows.
        for (n, p, wild) in [(72, 3, 1e6), (36, 50, 1e6), (72, 4, 1e200)] {
            let (all, alone, used) = with_and_without(n, p, wild);
            let offset: Vec<f64> = (0..n)
                .map(|i| {
                    if i % 6 == 0 {
                        1e5
                    } else {
                        0.1 * (i % 4) as f64
                    }
                })
                .collect();
            let clusters: Vec<u32> = (0..n as u32).map(|i| i / 2).collect();
            let base = CoxPath::new().n_lambda(8).lambda_min_ratio(0.1);
            let variants = [
                base.clone(),
                base.clone()
                    .standardize(false)
                    .ties(Ties::Efron)
                    .offset(offset),
                base.clone().alpha(0.0),
                base.clone()
                    .alpha(0.5)
                    .clusters(clusters)
                    .adaptive(AdaptiveWeights::ridge_cv(4, 1)),
                base.clone().groups((0..p).map(|j| j / 2).collect()),
            ];
            let (surv, only) = (all.surv().unwrap(), alone.surv().unwrap());
            for settings in variants {
                let fit = settings.fit(&surv, &all.covariates()).unwrap();
                let want = settings.for_rows(&used).fit(&only, &alone.covariates());
                assert_eq!(fit, want.unwrap(), "{settings:?}");
                assert!(fit.to_string().contains(&format!("n = {},", used.len())));
            }
            let fit = base.fit_relaxed(&surv, &all.covariates()).unwrap();
            assert_eq!(fit, base.fit_relaxed(&only, &alone.covariates()).unwrap());
        }
    }

    #[test]
    fn neither_precision_nor_zeros_bring_rows_without_weight_back() {
        let (n, p) = (72, 3);
        let (all, alone, _) = with_and_without(n, p, 1e6);
        let (surv, only) = (all.surv().unwrap(), alone.surv().unwrap());
        let settings = CoxPath::new().n_lambda(8).lambda_min_ratio(0.1);
        let want = settings.fit(&only, &alone.covariates()).unwrap();
        let by_column = |j: usize| (0..n).map(move |i| i * p + j);
        let places: Vec<usize> = (0..p).flat_map(by_column).collect();
        let values: Vec<f64> = places.iter().map(|&k| all.x[k]).collect();
        let single: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        let starts: Vec<usize> = (0..=p).map(|j| j * n).collect();
        let rows: Vec<u32> = (0..p).flat_map(|_| 0..n as u32).collect();
        let sparse = SparseColumns::new(n, p, &starts, &rows, &values).unwrap();
        for x in [
            Covariates::from_columns_f32(&single, n, p).unwrap(),
            Covariates::from(sparse),
        ] {
            let fit = settings.fit(&surv, &x).unwrap();
            for (a, b) in fit.beta(7).dense(p).iter().zip(want.beta(7).dense(p)) {
                close(*a, b, 1e-5);
            }
        }
    }

    #[test]
    fn an_error_counts_all_rows() {
        let (mut all, ..) = with_and_without(36, 2, 1e6);
        all.x[2 * 20 + 1] = 1e200;
        let told = CoxPath::new().fit(&all.surv().unwrap(), &all.covariates());
        assert!(
            matches!(told, Err(Error::Overflow { row: 20, .. })),
            "{told:?}"
        );
        // Without weight it is no less in need of being a number.
        all.x[2 * 18] = f64::NAN;
        let told = CoxPath::new().fit(&all.surv().unwrap(), &all.covariates());
        assert!(
            matches!(told, Err(Error::NotFinite { row: 18, .. })),
            "{told:?}"
        );
    }

    #[test]
    fn tests_of_proportional_hazards_rank_the_rows_with_weight() {
        let (mut all, ..) = with_and_without(72, 2, 1.0);
        // Early deaths of nobody.
        for i in (0..72).step_by(6) {
            all.time[i] = 1e-3 * (1.0 + i as f64);
            if let Some(entry) = &mut all.entry {
                entry[i] = -1.0;
            }
        }
        let used: Vec<usize> = (0..72).filter(|i| i % 6 > 0).collect();
        let alone = all.permuted(&used);
        let zph = |data: &Data, transform| {
            let (surv, x) = (data.surv().unwrap(), data.covariates());
            let fit = CoxPh::new().fit(&surv, &x).unwrap();
            let tests = fit.diagnostics(&surv, &x).unwrap().zph(transform);
            tests.unwrap().chisq
        };
        for transform in [ZphTransform::Km, ZphTransform::Rank] {
            for (a, b) in zph(&all, transform).iter().zip(zph(&alone, transform)) {
                close(*a, b, 1e-9);
            }
        }
    }
}
