//! Latents to safetensors, with the rows' identifiers in the header.

use std::collections::HashMap;

use super::{Latents, Values};
use crate::error::{Error, Result};

impl Latents {
    /// Gives the rows identifiers.
    ///
    /// # Errors
    /// [`Error::Rows`] for another number of them, [`Error::DuplicateId`].
    pub fn with_ids(mut self, ids: Vec<String>) -> Result<Self> {
        self.same_rows(ids.len())?;
        let mut seen = HashMap::new();
        for (second, id) in ids.iter().enumerate() {
            if let Some(first) = seen.insert(id.as_str(), second) {
                return Err(Error::DuplicateId {
                    id: id.clone(),
                    first,
                    second,
                });
            }
        }
        self.ids = Some(ids);
        Ok(self)
    }

    /// The bytes of a safetensors file with one tensor, `[n, p]` or `[n, layers, width]`; the
    /// identifiers stand in its metadata as `ids`, a JSON array.
    pub fn to_safetensors(&self, name: &str) -> Vec<u8> {
        let shape = match self.layers {
            Some(layers) => vec![self.n, layers, self.p / layers],
            None => vec![self.n, self.p],
        };
        let (dtype, data): (&str, Vec<u8>) = match &self.values {
            Values::F32(v) => ("F32", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Values::F64(v) => ("F64", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
        };
        let mut header = serde_json::Map::new();
        if let Some(ids) = &self.ids {
            let ids = serde_json::Value::from(ids.clone()).to_string();
            header.insert("__metadata__".into(), serde_json::json!({ "ids": ids }));
        }
        let tensor = serde_json::json!({
            "dtype": dtype, "shape": shape, "data_offsets": [0, data.len()],
        });
        header.insert(name.to_owned(), tensor);
        let mut header = serde_json::Value::from(header).to_string().into_bytes();
        // Data starts at a multiple of 8.
        while !header.len().is_multiple_of(8) {
            header.push(b' ');
        }
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(data);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LatentsReader;

    #[test]
    fn what_is_written_is_read_by_the_crate_and_by_another() {
        let ids = vec!["P1".to_owned(), "a \"quoted\" id".to_owned()];
        let latents = Latents::new(Values::F32(vec![1.0, -2.5, 3.0, 0.125]), 2, 2).unwrap();
        let latents = latents.with_ids(ids.clone()).unwrap();
        let bytes = latents.to_safetensors("w");
        let back = LatentsReader::new().array("w").read_bytes(&bytes).unwrap();
        assert_eq!(back.values(), latents.values());
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let stored = &header.metadata().as_ref().unwrap()["ids"];
        assert_eq!(serde_json::from_str::<Vec<String>>(stored).unwrap(), ids);
        assert_eq!(header.tensors()["w"].shape, [2, 2]);
    }

    #[test]
    fn one_id_twice_is_refused() {
        let latents = Latents::new(Values::F64(vec![1.0, 2.0]), 2, 1).unwrap();
        let error = latents
            .clone()
            .with_ids(vec!["a".into(), "a".into()])
            .unwrap_err();
        assert!(matches!(
            error,
            Error::DuplicateId {
                first: 0,
                second: 1,
                ..
            }
        ));
        assert!(latents.with_ids(vec!["a".into()]).is_err());
    }
}
