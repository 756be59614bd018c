//! From portrait photographs to prognosis.
