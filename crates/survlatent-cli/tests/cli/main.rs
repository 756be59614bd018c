//! The program itself, run as a user runs it.

mod align;
mod bad_input;
mod concordance;
mod contract;
mod cox;
mod deepsurv;
mod films;
mod help;
mod invert;
mod invert_choices;
mod job_scripts;
mod km;
mod logrank;
mod metrics;
mod networks;
mod path;
mod study;
mod study_photos;
mod support;
mod tools;
mod train;
mod train_choices;
