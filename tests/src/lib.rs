//! Golden-data helpers shared by the workspace tests.

pub mod golden;
