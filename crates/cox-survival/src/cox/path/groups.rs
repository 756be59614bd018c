//! Which columns enter together, and what a group costs.

use crate::covariates::Covariates;
use crate::error::{Result, check_length};

use super::settings::{CoxPath, setting};

/// The groups of a path.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    /// Columns of each group, ascending.
    pub(super) members: Vec<Vec<usize>>,
    /// `v_g sqrt(p_g)`: the penalty factor of its columns times the square root of their number.
    pub(super) weight: Vec<f64>,
}

impl Groups {
    /// Groups by label; `factor` are the rescaled penalty factors.
    pub(super) fn new(
        path: &CoxPath,
        labels: &[usize],
        x: &Covariates<'_>,
        factor: &[f64],
        excluded: &[bool],
    ) -> Result<Self> {
        check_length("groups", labels.len(), x.p())?;
        if path.lower.is_some() || path.upper.is_some() {
            return Err(setting("groups", &"given", "cannot go with limits"));
        }
        if path.adaptive.is_some() {
            return Err(setting(
                "groups",
                &"given",
                "cannot go with adaptive weights",
            ));
        }
        let mut order: Vec<usize> = (0..x.p()).filter(|&j| !excluded[j]).collect();
        order.sort_by_key(|&j| labels[j]);
        let members: Vec<Vec<usize>> = order
            .chunk_by(|&a, &b| labels[a] == labels[b])
            .map(<[usize]>::to_vec)
            .collect();
        for group in &members {
            let first = factor[group[0]];
            if let Some(&j) = group.iter().find(|&&j| factor[j].total_cmp(&first).is_ne()) {
                return Err(setting(
                    "penalty_factor",
                    &format!("{} of column `{}`", factor[j], x.name(j)),
                    "must be the same for all columns of a group",
                ));
            }
        }
        let weight = members
            .iter()
            .map(|group| factor[group[0]] * (group.len() as f64).sqrt())
            .collect();
        Ok(Self { members, weight })
    }
}
