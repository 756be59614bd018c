//! Who was set aside: everybody in a file of the run, numbers in the report.

use super::results::Exclusion;
use crate::error::{Error, Result};

/// Who was set aside, and why.
pub(super) fn csv(excluded: &[(String, String)]) -> Result<Vec<u8>> {
    let fault = |error: &dyn std::fmt::Display| Error::Format {
        format: "CSV",
        reason: error.to_string(),
    };
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer
        .write_record(["id", "reason"])
        .map_err(|e| fault(&e))?;
    for (id, reason) in excluded {
        writer.write_record([id, reason]).map_err(|e| fault(&e))?;
    }
    writer.into_inner().map_err(|e| fault(&e))
}

/// The steps as page and `report.json` have them: identifiers are shown to who asks for them.
pub(super) fn shown(mut steps: Vec<Exclusion>, ids: bool) -> Vec<Exclusion> {
    if !ids {
        for step in &mut steps {
            step.examples.clear();
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_in_the_file_and_only_on_request_in_the_report() {
        let rows = [("a,b".to_owned(), "no face was found".to_owned())];
        let text = String::from_utf8(csv(&rows).unwrap()).unwrap();
        assert_eq!(text, "id,reason\n\"a,b\",no face was found\n");
        let steps = vec![Exclusion {
            reason: "no face was found".into(),
            rows: 1,
            left: 9,
            examples: vec!["a,b".into()],
        }];
        assert!(shown(steps.clone(), false)[0].examples.is_empty());
        assert_eq!(shown(steps.clone(), true), steps);
    }
}
