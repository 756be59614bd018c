//! How well a risk score orders survival times.

mod censoring;
mod concordance;
mod harrell;
mod pairs;
mod prefix_tree;
mod time_weight;
mod uno;

pub use concordance::{Concordance, ConcordanceDifference};
pub use harrell::{Harrell, concordance};
pub use time_weight::TimeWeight;
pub use uno::{Uno, uno};
