//! The main idea on real patients.

fn main() {}
