//! Cox models for survival data.
