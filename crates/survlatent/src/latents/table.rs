//! Latents in a table: numeric columns, and identifiers in the column `id`.

use super::{Latents, Values};
use crate::error::{Error, Result};
use crate::table::{ARROW, ID, PARQUET, Table};

pub(super) fn read(bytes: &[u8]) -> Result<Latents> {
    let columnar = bytes.starts_with(PARQUET) || bytes.starts_with(ARROW);
    if bytes.contains(&0) && !columnar {
        return Err(Error::Format {
            format: "npy, npz, safetensors or CSV",
            reason: "its first bytes are none of these formats'".into(),
        });
    }
    let table = if columnar {
        Table::from_bytes(bytes, &[ID])?
    } else {
        Table::from_csv(bytes)?
    };
    let (n, mut ids) = (table.n(), None);
    let (mut names, mut columns, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for column in table.columns() {
        let name = column.name();
        if name == ID {
            ids = Some(identifiers(&table)?);
            continue;
        }
        columns.push(table.numbers(name)?);
        names.push(name.to_owned());
        let count = (0..n).filter(|&row| column.is_missing(row)).count();
        if count > 0 {
            missing.push((name.to_owned(), count));
        }
    }
    if !missing.is_empty() {
        let lacks = |row: &usize| table.columns().iter().any(|c| c.is_missing(*row));
        return Err(Error::Missing {
            rows: (0..n).filter(lacks).count(),
            of: n,
            columns: missing,
        });
    }
    let p = columns.len();
    if p == 0 {
        return Err(Error::EmptyTable {
            what: "numeric columns",
        });
    }
    let values = (0..n * p).map(|at| columns[at % p][at / p]).collect();
    let latents = Latents {
        values: Values::F64(values),
        n,
        p,
        names,
        ids,
        layers: None,
    };
    latents.check_finite(&|row| table.place(ID, row).line)?;
    Ok(latents)
}

fn identifiers(table: &Table) -> Result<Vec<String>> {
    let labels = table.identifiers(ID)?;
    let mut first_row = vec![None; labels.levels().len()];
    let mut ids = Vec::with_capacity(table.n());
    for row in 0..table.n() {
        let Some(code) = labels.code(row) else {
            return Err(Error::Missing {
                rows: 1,
                of: table.n(),
                columns: vec![(ID.to_owned(), 1)],
            });
        };
        let id = &labels.levels()[code as usize];
        if let Some(first) = first_row[code as usize].replace(row) {
            return Err(Error::DuplicateId {
                id: id.clone(),
                first,
                second: row,
            });
        }
        ids.push(id.clone());
    }
    Ok(ids)
}
