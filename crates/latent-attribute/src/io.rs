//! Saving and loading a direction with everything needed to use it: one safetensors file.
//!
//! Tensors: `unit` `[dim]`, `coefficients` `[k]`, for each step of the feature map
//! `map.<i>.mean`, `map.<i>.scale`, `map.<i>.components`, `map.<i>.explained_variance` (all F64) or
//! `map.<i>.columns` (U64), and `conditions` `[c, dim]`. One metadata entry, `health_direction`,
//! holds the rest as JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check;
use crate::condition::Attribute;
use crate::container::{Reader, Tensors, write_whole};
use crate::direction::{DirectionKind, HealthDirection};
use crate::error::{Error, Result};
use crate::feature_map::{FeatureMap, FeatureStep};
use crate::from_cox::LatentRisk;
use crate::pca::Pca;
use crate::space::LatentSpace;
use crate::standardizer::Standardizer;
use crate::vector::{dot, norm};

const FORMAT_VERSION: u64 = 1;
const KEY: &str = "health_direction";

#[derive(Serialize, Deserialize)]
struct Header {
    format_version: u64,
    crate_version: String,
    kind: DirectionKind,
    model_space: LatentSpace,
    space: LatentSpace,
    risk_slope: f64,
    reversed: bool,
    map: Vec<StepHeader>,
    feature_names: Option<Vec<String>>,
    latent_names: Option<Vec<String>>,
    units: Option<String>,
    conditions: Vec<String>,
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
enum StepHeader {
    Standardize,
    Pca { total_variance: f64 },
    Select,
}

impl HealthDirection {
    /// Encodes the direction with its model, map and metadata as a safetensors file.
    ///
    /// The same direction gives the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let risk = &self.risk;
        let mut tensors = Tensors::default();
        tensors.floats("unit", vec![self.unit.len()], &self.unit);
        tensors.floats(
            "coefficients",
            vec![risk.coefficients().len()],
            risk.coefficients(),
        );
        let mut map = Vec::new();
        for (index, step) in risk.map().steps().iter().enumerate() {
            let name = |part: &str| format!("map.{index}.{part}");
            map.push(match step {
                FeatureStep::Standardize(scaler) => {
                    let p = scaler.dim();
                    tensors.floats(&name("mean"), vec![p], scaler.mean());
                    tensors.floats(&name("scale"), vec![p], scaler.scale());
                    StepHeader::Standardize
                }
                FeatureStep::Pca(pca) => {
                    let (p, k) = (pca.input_dim(), pca.output_dim());
                    tensors.floats(&name("mean"), vec![p], pca.mean());
                    tensors.floats(&name("components"), vec![k, p], pca.components());
                    let variance = pca.explained_variance();
                    tensors.floats(&name("explained_variance"), vec![k], variance);
                    StepHeader::Pca {
                        total_variance: pca.total_variance(),
                    }
                }
                FeatureStep::Select(columns) => {
                    tensors.integers(&name("columns"), columns);
                    StepHeader::Select
                }
            });
        }
        if !self.conditions.is_empty() {
            let normals: Vec<f64> = self
                .conditions
                .iter()
                .flat_map(|a| a.normal().iter().copied())
                .collect();
            tensors.floats(
                "conditions",
                vec![self.conditions.len(), self.dim()],
                &normals,
            );
        }
        let header = Header {
            format_version: FORMAT_VERSION,
            crate_version: env!("CARGO_PKG_VERSION").to_owned(),
            kind: self.kind,
            model_space: risk.space().clone(),
            space: self.space.clone(),
            risk_slope: self.risk_slope,
            reversed: self.reversed,
            map,
            feature_names: risk.feature_names().map(<[String]>::to_vec),
            latent_names: self.latent_names.clone(),
            units: self.units.clone(),
            conditions: self
                .conditions
                .iter()
                .map(|a| a.name().to_owned())
                .collect(),
            metadata: self.metadata.clone(),
        };
        let json = serde_json::to_string(&header).map_err(|error| Error::Metadata {
            key: KEY,
            reason: error.to_string(),
        })?;
        tensors.encode(KEY, json)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, trusting nothing: types, shapes, finiteness,
    /// and that unit vector and slope follow from the model in the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let file = Reader::new(bytes)?;
        let header = read_header(&file)?;
        header.model_space.validate()?;
        let dim = header.model_space.dim();
        let unit = file.vector("unit")?;
        check::length("tensor `unit`", dim, unit.len())?;

        let mut map = FeatureMap::identity(dim);
        for (index, step) in header.map.iter().enumerate() {
            let name = |part: &str| format!("map.{index}.{part}");
            map = map.then(match step {
                StepHeader::Standardize => FeatureStep::Standardize(Standardizer::new(
                    file.vector(&name("mean"))?,
                    file.vector(&name("scale"))?,
                )?),
                StepHeader::Pca { total_variance } => {
                    let mean = file.vector(&name("mean"))?;
                    let variance = file.vector(&name("explained_variance"))?;
                    let shape = (variance.len(), mean.len());
                    let components = file.matrix(&name("components"), shape)?;
                    FeatureStep::Pca(Pca::new(mean, components, variance, *total_variance)?)
                }
                StepHeader::Select => FeatureStep::Select(file.indices(&name("columns"))?),
            })?;
        }

        let coefficients = file.vector("coefficients")?;
        let mut risk = LatentRisk::from_cox(header.model_space, &coefficients, map)?;
        if let Some(names) = header.feature_names {
            risk = risk.with_feature_names(names)?;
        }
        let raw = match header.kind {
            DirectionKind::Weights => risk.gradient().iter().map(|g| -g).collect(),
            DirectionKind::Pattern | DirectionKind::Projected => unit.clone(),
        };
        let mut direction = Self::orient(Arc::new(risk), header.kind, raw)?;
        if header.space != direction.space {
            // The mask can only narrow what the model's space leaves open.
            let mask = header.space.mask().ok_or(Error::Metadata {
                key: KEY,
                reason: format!(
                    "direction in {}, model in {}",
                    header.space, direction.space
                ),
            })?;
            direction = direction.within(mask)?;
            if header.space != direction.space {
                let reason = format!(
                    "direction in {}, model in {}",
                    header.space, direction.space
                );
                return Err(Error::Metadata { key: KEY, reason });
            }
        }
        if !header.conditions.is_empty() {
            let normals = file.matrix("conditions", (header.conditions.len(), dim))?;
            let mut attributes = Vec::with_capacity(header.conditions.len());
            for (name, normal) in header.conditions.into_iter().zip(normals.chunks_exact(dim)) {
                consistent(
                    "the squared length of a condition",
                    dot(normal, normal),
                    1.0,
                )?;
                attributes.push(Attribute::from_unit(name, normal.to_vec()));
            }
            direction = direction.conditioned_on(&attributes)?;
        }
        if let Some(names) = header.latent_names {
            direction = direction.with_latent_names(names)?;
        }
        direction.units = header.units;
        direction.metadata = header.metadata;
        direction.reversed = header.reversed;

        // `direction` was rebuilt by the rules: weights from the model, a pattern from the stored
        // vector (its covariance is not in the file). A vector that obeys them comes back as it
        // was, up to rounding.
        let difference: Vec<f64> = unit
            .iter()
            .zip(&direction.unit)
            .map(|(a, b)| a - b)
            .collect();
        let distance = norm(&difference);
        let closed_layers_move = unit
            .iter()
            .enumerate()
            .any(|(i, u)| !direction.space.is_open(i) && u.abs() > 0.0);
        if distance > 1e-7 || closed_layers_move {
            let what = "distance of the unit vector from what model, mask and conditions give";
            return Err(Error::Inconsistent {
                what,
                stored: distance,
                computed: 0.0,
            });
        }
        let slope = dot(direction.risk.gradient(), &unit);
        consistent(
            "the squared length of the unit vector",
            dot(&unit, &unit),
            1.0,
        )?;
        consistent("the risk slope", header.risk_slope, slope)?;
        // The dose is exact only with the slope of this very vector.
        direction.unit = unit;
        direction.risk_slope = slope;
        Ok(direction)
    }

    /// Writes the direction to a safetensors file, whole or not at all.
    ///
    /// The bytes go to a temporary file in the same folder, which then takes the final name, so a
    /// reader never sees half a file and a failure leaves an older file as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = self.to_bytes()?;
        write_whole(path, &bytes).map_err(|source| Error::Write {
            path: path.to_path_buf(),
            source,
        })
    }

    /// Reads a direction from a safetensors file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_bytes(&bytes).map_err(|error| Error::InFile {
            path: path.to_path_buf(),
            source: Box::new(error),
        })
    }
}

fn read_header(file: &Reader) -> Result<Header> {
    let json = file.entry(KEY)?;
    let fault = |reason: String| Error::Metadata { key: KEY, reason };
    let value: Value = serde_json::from_str(json).map_err(|error| fault(error.to_string()))?;
    let version = value
        .get("format_version")
        .and_then(Value::as_u64)
        .ok_or_else(|| fault("`format_version` is missing".to_owned()))?;
    if version != FORMAT_VERSION {
        return Err(Error::FormatVersion {
            found: version,
            supported: FORMAT_VERSION,
        });
    }
    serde_json::from_value(value).map_err(|error| fault(error.to_string()))
}

fn consistent(what: &'static str, stored: f64, computed: f64) -> Result<()> {
    if (stored - computed).abs() <= 1e-9 * computed.abs() {
        Ok(())
    } else {
        Err(Error::Inconsistent {
            what,
            stored,
            computed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pca::PcaConfig;
    use crate::space::LayerMask;
    use proptest::prelude::*;

    fn direction() -> HealthDirection {
        let (n, p) = (9, 6);
        let cells: Vec<f64> = (0..n * p).map(|i| ((i * i) as f64 * 0.7).sin()).collect();
        let scaler = Standardizer::fit(&cells, n, p).unwrap();
        let map = FeatureMap::identity(p)
            .then(scaler)
            .unwrap()
            .select(&[5, 0, 1, 3])
            .unwrap();
        let z = map.transform(&cells).unwrap();
        let pca = PcaConfig::default()
            .with_components(2)
            .fit(&z, n, 4)
            .unwrap();
        let map = map.then(pca).unwrap();
        let names = ["PC1", "PC2"].map(str::to_owned).to_vec();
        let risk = LatentRisk::from_cox(LatentSpace::w_plus(3, 2), &[0.7, -0.2], map)
            .unwrap()
            .with_feature_names(names)
            .unwrap();
        let age = Attribute::new("age", &[1.0, 0.5, 0.0, 0.25, 0.0, 1.0]).unwrap();
        risk.pattern(&cells, n)
            .unwrap()
            .conditioned_on(&[age])
            .unwrap()
            .restricted_to(&LayerMask::only(&[0, 2], 3).unwrap())
            .unwrap()
            .with_latent_names((0..p).map(|i| format!("w{i}")).collect())
            .unwrap()
            .with_units("style units")
            .with_metadata("cohort", "made up")
    }

    /// Re-encodes a valid file after a change to its header JSON or tensors.
    fn tampered(change: impl Fn(&mut Value, &mut Tensors)) -> Result<HealthDirection> {
        let bytes = direction().to_bytes().unwrap();
        let file = Reader::new(&bytes).unwrap();
        let mut json: Value = serde_json::to_value(read_header(&file).unwrap()).unwrap();
        let mut tensors = Tensors::default();
        for name in file.metadata.offset_keys() {
            let info = file.metadata.info(&name).unwrap();
            let data = file.data[info.data_offsets.0..info.data_offsets.1].to_vec();
            tensors.0.push((name, info.dtype, info.shape.clone(), data));
        }
        change(&mut json, &mut tensors);
        HealthDirection::from_bytes(&tensors.encode(KEY, json.to_string()).unwrap())
    }

    fn replace(tensors: &mut Tensors, name: &str, shape: &[usize], values: &[f64]) {
        tensors.0.retain(|entry| entry.0 != name);
        tensors.floats(name, shape.to_vec(), values);
    }

    #[test]
    fn a_saved_direction_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("health.safetensors");
        let saved = direction();
        saved.save(&path).unwrap();
        let loaded = HealthDirection::load(&path).unwrap();
        assert_eq!(saved, loaded);
        assert_eq!(saved.to_string(), loaded.to_string());
        assert_eq!(saved.to_bytes().unwrap(), loaded.to_bytes().unwrap());
        let weights = saved.risk().weights().unwrap();
        let again = HealthDirection::from_bytes(&weights.to_bytes().unwrap()).unwrap();
        assert_eq!(weights, again);
        // Overwriting is whole as well, and nothing else is left in the folder.
        saved.save(&path).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(safetensors::SafeTensors::deserialize(&std::fs::read(&path).unwrap()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_saved_file_has_ordinary_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "x").unwrap();
        let path = folder.path().join("health.safetensors");
        direction().save(&path).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }

    #[test]
    fn a_failed_save_leaves_nothing_and_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("health.safetensors");
        let error = direction().save(&path).unwrap_err();
        assert!(matches!(error, Error::Write { .. }));
        assert!(error.to_string().contains("missing"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(matches!(
            HealthDirection::load(&path),
            Err(Error::Read { .. })
        ));
        let junk = folder.path().join("junk");
        std::fs::write(&junk, b"hello").unwrap();
        assert!(matches!(
            HealthDirection::load(&junk),
            Err(Error::InFile { .. })
        ));
    }

    #[test]
    fn missing_and_misshapen_parts_are_named() {
        let error = tampered(|_, t| t.0.retain(|e| e.0 != "map.0.scale")).unwrap_err();
        assert_eq!(error.to_string(), "tensor `map.0.scale` is missing");
        let error = tampered(|_, t| replace(t, "unit", &[2], &[0.6, 0.8])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tensor `unit`: 2 values where 6 are needed"
        );
        let error = tampered(|_, t| replace(t, "coefficients", &[2, 1], &[1.0; 2])).unwrap_err();
        assert!(matches!(error, Error::Tensor { .. }), "{error}");
        let error =
            tampered(|_, t| replace(t, "map.2.components", &[4, 2], &[0.5; 8])).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Length {
                    expected: 2,
                    found: 4,
                    ..
                }
            ),
            "{error}"
        );
        let error = tampered(|_, t| replace(t, "map.2.mean", &[4], &[0.0, f64::NAN, 0.0, 0.0]));
        assert_eq!(
            error.unwrap_err().to_string(),
            "tensor `map.2.mean`: entry 1 is NaN, which is not a finite number"
        );
        let error = tampered(|_, t| replace(t, "map.0.scale", &[6], &[0.0; 6])).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
        let error = tampered(|_, t| {
            t.0.retain(|e| e.0 != "map.1.columns");
            t.integers("map.1.columns", &[usize::MAX, 0, 1, 3]);
        });
        assert!(matches!(error.unwrap_err(), Error::Column { .. }));
        let error = tampered(|_, t| t.0.retain(|e| e.0 != "conditions")).unwrap_err();
        assert!(matches!(error, Error::MissingTensor { .. }));
    }

    #[test]
    fn a_header_that_lies_is_found_out() {
        let set = |key: &'static str, value: Value| tampered(move |h, _| h[key] = value.clone());
        assert!(matches!(
            set("format_version", 2.into()).unwrap_err(),
            Error::FormatVersion {
                found: 2,
                supported: 1
            }
        ));
        assert!(matches!(
            set("format_version", Value::Null),
            Err(Error::Metadata { .. })
        ));
        assert!(matches!(
            set("kind", "guess".into()),
            Err(Error::Metadata { .. })
        ));
        assert!(matches!(
            set("risk_slope", (-3.0).into()),
            Err(Error::Inconsistent { .. })
        ));
        assert!(matches!(
            set("risk_slope", 3.0.into()),
            Err(Error::Inconsistent { .. })
        ));
        assert!(matches!(
            set("latent_names", vec!["a"].into()),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            set("map", Value::Array(vec![])),
            Err(Error::Length { .. })
        ));
        let w = serde_json::json!({"w": {"dim": 6}});
        assert!(matches!(set("space", w), Err(Error::Metadata { .. })));
        let huge = serde_json::json!({"w_plus": {"dim": u64::MAX, "mask": [true, true, true]}});
        assert!(matches!(set("model_space", huge), Err(Error::Space { .. })));
        let closed = serde_json::json!({"w_plus": {"dim": 2, "mask": [false, false, false]}});
        assert!(matches!(set("model_space", closed), Err(Error::EmptyMask)));
        // A mask that closes a layer in which the stored vector is not zero.
        let narrow = serde_json::json!({"w_plus": {"dim": 2, "mask": [true, false, false]}});
        assert!(matches!(
            set("space", narrow),
            Err(Error::Inconsistent { .. })
        ));
        // A trace in a closed layer, too small to show in length or slope.
        let error = tampered(|_, t| {
            let mut unit = direction().unit().to_vec();
            unit[2] = 1e-10;
            replace(t, "unit", &[6], &unit);
        });
        assert!(matches!(error, Err(Error::Inconsistent { .. })));
        // Called weights, but not the model's.
        assert!(matches!(
            set("kind", "weights".into()),
            Err(Error::Inconsistent { .. })
        ));
        let error = tampered(|_, t| {
            let turned: Vec<f64> = direction().unit().iter().map(|u| -u).collect();
            replace(t, "unit", &[6], &turned);
        });
        assert!(matches!(error, Err(Error::Inconsistent { .. })));
    }

    #[test]
    fn hostile_offsets_are_refused_without_overflow() {
        let file = |header: &str| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            HealthDirection::from_bytes(&bytes)
        };
        // Each tensor is as long as 64 bits can count in bits; together they end at 2^64 - 1 bytes.
        let part = (1_u64 << 61) - 1;
        let sizes = [part, part, part, part, part, part, part, part, 7];
        let mut end = 0;
        let tensors: Vec<String> = sizes
            .iter()
            .enumerate()
            .map(|(i, size)| {
                let start = end;
                end += size;
                format!(
                    "\"t{i}\":{{\"dtype\":\"U8\",\"shape\":[{size}],\"data_offsets\":[{start},{end}]}}"
                )
            })
            .collect();
        assert_eq!(end, u64::MAX);
        assert!(matches!(
            file(&format!("{{{}}}", tensors.join(","))),
            Err(Error::NotSafetensors { .. })
        ));
        assert!(matches!(file("{}"), Err(Error::MissingMetadata { .. })));
        assert!(matches!(file("[1, 2"), Err(Error::NotSafetensors { .. })));
        let mut long = u64::MAX.to_le_bytes().to_vec();
        long.extend(b"{}");
        assert!(matches!(
            HealthDirection::from_bytes(&long),
            Err(Error::NotSafetensors { .. })
        ));
        assert!(matches!(
            HealthDirection::from_bytes(&[]),
            Err(Error::NotSafetensors { .. })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(HealthDirection::from_bytes(&bytes).is_err());
        }

        /// Past the length: shapes and places that lie, and true ones with random numbers.
        #[test]
        fn formed_headers_never_panic(
            shape in prop::collection::vec(prop_oneof![0..9_u64, any::<u64>()], 0..3),
            (honest, described) in any::<(bool, bool)>(),
            offsets in any::<(u64, u64)>(),
            data in prop::collection::vec(any::<u8>(), 8 * 8 * 8),
            kept in 0..=8 * 8 * 8_usize,
        ) {
            let size = shape.iter().fold(8, |n: u64, &d| n.saturating_mul(d));
            let (start, end) = if honest { (0, size) } else { offsets };
            let kept = if honest { data.len().min(usize::try_from(size).unwrap()) } else { kept };
            let unit = serde_json::json!({"dtype": "F64", "shape": shape, "data_offsets": [start, end]});
            let mut header = serde_json::json!({ "unit": unit });
            if described {
                let bytes = direction().to_bytes().unwrap();
                let entry = Reader::new(&bytes).unwrap().entry(KEY).unwrap().to_owned();
                header["__metadata__"] = serde_json::json!({ KEY: entry });
            }
            let header = header.to_string();
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.extend(&data[..kept]);
            let error = HealthDirection::from_bytes(&bytes).unwrap_err();
            if honest && size <= data.len() as u64 {
                let refused = matches!(error, Error::NotSafetensors { .. });
                prop_assert!(!refused, "{error}");
                prop_assert_eq!(matches!(error, Error::MissingMetadata { .. }), !described);
            }
        }

        #[test]
        fn a_truncated_file_is_an_error(share in 0.0..1.0_f64) {
            let bytes = direction().to_bytes().unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
            let kept = (share * bytes.len() as f64) as usize;
            prop_assert!(HealthDirection::from_bytes(&bytes[..kept]).is_err());
        }

        /// Damage is either noticed or harmless: what loads is consistent and saves again.
        #[test]
        fn flipped_bytes_are_noticed_or_harmless(
            places in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
        ) {
            let mut bytes = direction().to_bytes().unwrap();
            for (place, flip) in places {
                let index = place.index(bytes.len());
                bytes[index] ^= flip;
            }
            if let Ok(loaded) = HealthDirection::from_bytes(&bytes) {
                let slope = dot(loaded.risk().gradient(), loaded.unit());
                prop_assert!((slope / loaded.risk_slope() - 1.0).abs() < 1e-8);
                prop_assert!(loaded.risk_slope() < 0.0);
                let again = HealthDirection::from_bytes(&loaded.to_bytes().unwrap()).unwrap();
                prop_assert_eq!(again, loaded);
            }
        }
    }
}
