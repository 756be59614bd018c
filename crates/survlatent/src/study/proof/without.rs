//! The same in a program without networks: there are no pictures, and why is said.

use super::super::data::StudyData;
use super::super::photos::PhotoSettings;
use super::super::results::Input;
use super::super::stages::Run;
use super::super::{OutOfFoldPredictions, ReportPart, Study, StudyFile};
use super::{Evidence, Given};
use crate::error::Result;
use crate::latents::Latents;

/// None.
pub(in super::super) enum Generator {}

impl Generator {
    pub(in super::super) fn of(
        _photos: &PhotoSettings,
        _inverts: bool,
        _latents: Option<&Latents>,
    ) -> Result<std::result::Result<Self, String>> {
        Ok(Err(
            "the program was built without the feature `photos`".into()
        ))
    }

    pub(in super::super) fn described(&self) -> String {
        match *self {}
    }
}

pub(in super::super) fn gather(
    _run: &Run<'_>,
    _file: &StudyFile,
    _study: &Study,
    _data: &StudyData,
    _predictions: &OutOfFoldPredictions,
    given: &Given<'_>,
) -> Result<(Evidence, Vec<Input>)> {
    let mut out = Evidence::none(given.generator.err().unwrap_or_default());
    if given.directed.is_none() {
        out.lacks(ReportPart::Direction, given.no_direction);
    }
    Ok((out, Vec::new()))
}
