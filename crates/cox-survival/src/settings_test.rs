//! Every settings type reads an empty object as its defaults and refuses a field it does not know:
//! a misspelt setting in a study file must not pass for the default.

use serde::de::DeserializeOwned;

use crate::{
    AalenJohansen, Antolini, BinomialLoss, Bootstrap, Brier, CoxPath, CoxPh, CrossValidation,
    DCalibration, DynamicAuc, Harrell, KaplanMeier, LogRank, NelsonAalen, NestedCv, Optimism,
    Permutation, Uno,
};

fn strict<T: DeserializeOwned + Default + PartialEq + std::fmt::Debug>() {
    let empty: T = serde_json::from_str("{}").expect("defaults");
    assert_eq!(empty, T::default());
    let error = serde_json::from_str::<T>(r#"{"tise": "efron"}"#).expect_err("an unknown field");
    assert!(error.to_string().contains("tise"), "{error}");
}

#[test]
fn unknown_settings_are_refused() {
    strict::<CoxPh>();
    strict::<CoxPath>();
    strict::<CrossValidation>();
    strict::<NestedCv>();
    strict::<Bootstrap>();
    strict::<Permutation>();
    strict::<Harrell>();
    strict::<Uno>();
    strict::<AalenJohansen>();
    strict::<Antolini>();
    strict::<BinomialLoss>();
    strict::<Brier>();
    strict::<DCalibration>();
    strict::<DynamicAuc>();
    strict::<Optimism>();
    strict::<KaplanMeier>();
    strict::<NelsonAalen>();
    strict::<LogRank>();
    #[cfg(feature = "plot")]
    strict::<crate::KmPlot>();
    #[cfg(feature = "plot")]
    strict::<crate::ForestPlot>();
    #[cfg(feature = "plot")]
    strict::<crate::Chart>();
}
