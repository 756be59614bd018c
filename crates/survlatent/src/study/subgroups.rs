//! Models within each level of a column, and which levels are too small to be shown.

use super::data::{StudyData, Subgroups};
use super::models::Validation;
use super::null::quick_harrell;
use super::predict::{OutOfFoldPredictions, Predictions};
use super::results::{SubgroupConcordance, SubgroupFigures};

/// One level of a column: its rows, its people, and why it is not shown, if it is not.
pub(super) struct Cell {
    pub(super) level: String,
    pub(super) rows: Vec<usize>,
    pub(super) patients: usize,
    pub(super) events: usize,
    pub(super) hidden: Option<String>,
}

/// The levels that have rows. Patients and patients with the event are counted, not photos. Where a
/// single level is too small its size is the cohort's less the others', so the next smallest is hidden,
/// too.
pub(super) fn cells(data: &StudyData, groups: &Subgroups, validation: &Validation) -> Vec<Cell> {
    let of = |(code, level): (usize, &String)| {
        let rows: Vec<usize> = (0..data.n())
            .filter(|&i| groups.codes[i] as usize == code)
            .collect();
        let (patients, events) = data.people(&rows);
        // Without any event there is nothing to be shown.
        let few = patients < validation.min_patients || events < validation.min_events;
        let small = few || events == 0;
        Cell {
            level: level.clone(),
            rows,
            patients,
            events,
            hidden: small.then(|| "too few".to_owned()),
        }
    };
    let mut cells: Vec<Cell> = groups.levels.iter().enumerate().map(of).collect();
    cells.retain(|c| !c.rows.is_empty());
    if cells.iter().filter(|c| c.hidden.is_some()).count() == 1 {
        let shown = cells.iter_mut().filter(|c| c.hidden.is_none());
        if let Some(next) = shown.min_by_key(|c| (c.patients, c.events)) {
            next.hidden = Some("would tell of another that is too few".to_owned());
        }
    }
    cells
}

/// Models within each level of each column; groups that are not shown are named.
pub(super) fn subgroups(
    data: &StudyData,
    all: &OutOfFoldPredictions,
    validation: &Validation,
) -> Vec<SubgroupFigures> {
    let mut out = Vec::new();
    for groups in &data.subgroups {
        for cell in cells(data, groups, validation) {
            let shown = cell.hidden.is_none();
            let of = |p: &Predictions| {
                let (surv, folds, level) = (&data.surv, &all.folds, validation.level);
                let found = quick_harrell(surv, folds, p, &cell.rows, &data.patient, level);
                Some(SubgroupConcordance {
                    model: p.model,
                    harrell: found.ok().filter(|c| c.estimate.is_finite())?,
                })
            };
            let models = all.models.iter().filter(|p| p.failed.is_none() && shown);
            let harrell = models.filter_map(of).collect();
            out.push(SubgroupFigures {
                column: groups.column.clone(),
                level: cell.level,
                rows: shown.then_some(cell.rows.len()),
                patients: shown.then_some(cell.patients),
                events: shown.then_some(cell.events),
                hidden: cell.hidden,
                harrell,
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use cox_survival::Surv;

    /// 120 patients with two photos each, an event in every second patient, levels by patient.
    fn hidden(level_of: impl Fn(usize) -> u32, levels: usize) -> Vec<(usize, usize, bool)> {
        let n = 240;
        let time: Vec<f64> = (1..=n).map(|i| i as f64).collect();
        let event: Vec<bool> = (0..n).map(|i| (i / 2) % 2 == 0).collect();
        let data = StudyData {
            surv: Surv::new(&time, &event).unwrap(),
            patient: (0..n).map(|i| (i / 2) as u32).collect(),
            w: None,
            w_plus: None,
            clinical: None,
            age_sex: None,
            condition: None,
            subgroups: vec![],
            diagnosis: None,
        };
        let groups = Subgroups {
            column: "stage".into(),
            codes: (0..n).map(|i| level_of(i / 2)).collect(),
            levels: (0..levels).map(|k| k.to_string()).collect(),
        };
        cells(&data, &groups, &Validation::default())
            .iter()
            .map(|c| (c.patients, c.events, c.hidden.is_some()))
            .collect()
    }

    #[test]
    fn patients_count_and_not_photos() {
        // 15 patients have 30 photos: enough rows, too few people.
        let found = hidden(|p| u32::from(p < 15), 2);
        assert_eq!(found, [(105, 52, true), (15, 8, true)]);
    }

    #[test]
    fn one_hidden_level_hides_the_next_smallest() {
        let three = |p: usize| match p {
            0..10 => 0,
            10..50 => 1,
            _ => 2,
        };
        let found = hidden(three, 3);
        assert_eq!(found, [(10, 5, true), (40, 20, true), (70, 35, false)]);
        // Two that are too small hide each other; an empty level is none.
        let four = |p: usize| match p {
            0..10 => 0,
            10..20 => 1,
            20..60 => 2,
            _ => 4,
        };
        let found = hidden(four, 5);
        let shown: Vec<bool> = found.iter().map(|c| c.2).collect();
        assert_eq!(shown, [true, true, false, false]);
    }
}
