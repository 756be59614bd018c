//! At which latents the derivative is taken, and what counts as face there.

use std::collections::HashMap;
use std::path::Path;

use latent_inversion::{Photo, PhotoLimits};

use super::super::data::StudyData;
use super::stages::one_each;
use crate::error::{Error, Result};
use crate::latents::Latents;
use crate::proof::{Region, RegionMap};

/// Latents at which the derivative is taken, at most.
const LATENTS: usize = 1000;

/// Landmarks of aligned photos by id, in pixels of their pictures.
pub(super) type LandmarksById = HashMap<String, [[f64; 2]; 5]>;

/// Rows of the study, one per patient, with one map of regions for all, or one for each.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) rows: Vec<usize>,
    pub(super) regions: Vec<RegionMap>,
    /// Whether the maps are the photos' own masks.
    pub(super) masks: bool,
    /// Whether they follow each photo's own landmarks.
    pub(super) landmarks: bool,
}

impl Looked {
    /// The regions by the mask `ID.png` of each photo, given a folder; otherwise by each photo's own
    /// landmarks, where all have some; otherwise those of aligned portraits in general.
    ///
    /// # Errors
    /// [`Error::Inversion`] for a mask that is missing or no picture, [`Error::Study`] with its name for one that
    /// marks no face.
    pub(super) fn at(
        data: &StudyData,
        masks: Option<&Path>,
        landmarks: Option<&LandmarksById>,
        side: usize,
    ) -> Result<Self> {
        let first = one_each(&data.patient);
        let every = first.len().div_ceil(LATENTS).max(1);
        let rows: Vec<usize> = first.into_iter().step_by(every).collect();
        let ids = data.w.as_ref().and_then(Latents::ids).unwrap_or_default();
        let placed: Option<Vec<RegionMap>> = landmarks.and_then(|known| {
            let of = |&i: &usize| {
                let points = known.get(ids.get(i)?)?;
                Some(RegionMap::from_landmarks(side, points))
            };
            rows.iter().map(of).collect()
        });
        let own = masks.is_none() && placed.is_some();
        let regions = match masks {
            None => placed.unwrap_or_else(|| vec![RegionMap::canonical(side)]),
            Some(folder) => {
                let of = |&i: &usize| mask(folder, ids.get(i), side);
                rows.iter().map(of).collect::<Result<_>>()?
            }
        };
        Ok(Self {
            rows,
            regions,
            masks: masks.is_some(),
            landmarks: own,
        })
    }

    /// What a stage depends on.
    pub(super) fn labels(&self) -> Vec<&[Region]> {
        self.regions.iter().map(RegionMap::labels).collect()
    }
}

fn mask(folder: &Path, id: Option<&String>, side: usize) -> Result<RegionMap> {
    let id = id.ok_or_else(|| Error::Study {
        reason: "proof.masks: the latents have no ids to find masks by".into(),
    })?;
    let path = folder.join(format!("{id}.png"));
    let photo = Photo::open(&path, &PhotoLimits::default())?;
    let brightest = |p: &[u8]| p.iter().copied().max().unwrap_or(0);
    let values: Vec<u8> = photo.rgb().chunks(3).map(brightest).collect();
    RegionMap::from_mask(side, &values, photo.width(), photo.height())
        .map_err(|error| error.in_file(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::PortraitSurv;

    #[test]
    fn masks_are_found_by_id_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let settings = PortraitSurv {
            n: 3,
            dim: 2,
            ..PortraitSurv::default()
        };
        let cohort = settings.simulate().unwrap();
        let latents = cohort.latents.clone();
        let ids: Vec<String> = (0..3).map(|k| format!("p{k}")).collect();
        let data = StudyData {
            surv: cohort.surv().unwrap(),
            // The second photo is another one of the first patient.
            patient: vec![0, 0, 1],
            w: Some(latents.with_ids(ids).unwrap()),
            w_plus: None,
            clinical: None,
            age_sex: None,
            condition: None,
            subgroups: vec![],
            diagnosis: None,
        };
        let write = |name: &str, face: usize| {
            let pixel = |k: usize| [0, if k % 8 < face { 200 } else { 0 }, 0];
            let rgb = (0..64).flat_map(pixel).collect();
            let photo = Photo::from_rgb(8, 8, rgb).unwrap();
            photo.save_png(folder.path().join(name)).unwrap();
        };
        write("p0.png", 2);
        let missing = Looked::at(&data, Some(folder.path()), None, 16).unwrap_err();
        assert!(missing.to_string().contains("p2.png"), "{missing}");
        write("p2.png", 4);
        let looked = Looked::at(&data, Some(folder.path()), None, 16).unwrap();
        assert_eq!(looked.rows, [0, 2]);
        let shares: Vec<f64> = looked.regions.iter().map(RegionMap::face_area).collect();
        assert!((shares[0] - 0.25).abs() < 1e-12 && (shares[1] - 0.5).abs() < 1e-12);
        write("p2.png", 0);
        let empty = Looked::at(&data, Some(folder.path()), None, 16).unwrap_err();
        assert!(empty.to_string().contains("p2.png"), "{empty}");
        let oval = Looked::at(&data, None, None, 16).unwrap();
        assert_eq!((oval.regions.len(), oval.masks), (1, false));

        // A face of its own in each photo: the second is as large in half the pixels.
        let near = [[5.0, 7.0], [9.0, 7.0], [7.0, 9.0], [5.5, 11.0], [8.5, 11.0]];
        let far = near.map(|p: [f64; 2]| [7.0 + (p[0] - 7.0) / 2.0, 7.0 + (p[1] - 7.0) / 2.0]);
        let mut points = LandmarksById::from([("p0".to_owned(), near), ("p2".to_owned(), far)]);
        let own = Looked::at(&data, None, Some(&points), 16).unwrap();
        assert_eq!((own.regions.len(), own.landmarks), (2, true));
        let [a, b] = [0, 1].map(|k| own.regions[k].face_area());
        assert!(a > 2.5 * b, "{a} {b}");
        points.remove("p2");
        let some = Looked::at(&data, None, Some(&points), 16).unwrap();
        assert_eq!((some.regions.len(), some.landmarks), (1, false));
    }
}
