//! The command line of survlatent.

fn main() {}
