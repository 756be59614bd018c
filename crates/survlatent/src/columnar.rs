//! Tables from Arrow's record batches, and from the Parquet and Arrow files that hold them.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{Error, Result};
use crate::table::{Column, EXACT, Table};

impl Table {
    /// Reads a table from the bytes of a Parquet file, plain or compressed by snappy, zstd, gzip or lz4.
    ///
    /// Columns become what the same table in CSV would be: numbers of all kinds, text (also as a
    /// dictionary), and `true` and `false`. What is null or NaN is missing. Whole numbers beyond 2^53
    /// are text, to keep them apart, and text that reads as numbers keeps its characters for
    /// [`Table::identifiers`]. Columns of other types, such as dates, are an error
    /// ([`Error::ColumnType`]) when they are used.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::EmptyTable`], [`Error::DuplicateColumn`].
    pub fn from_parquet(bytes: Vec<u8>) -> Result<Self> {
        whole_or_error("Parquet", || -> parquet::errors::Result<_> {
            let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))?;
            let schema = builder.schema().clone();
            Ok((schema, builder.build()?))
        })
    }

    /// Reads a table from the bytes of an Arrow file (the file format of Arrow's interprocess
    /// communication, also called Feather 2), as [`Table::from_parquet`] does.
    ///
    /// # Errors
    /// As [`Table::from_parquet`].
    pub fn from_arrow(bytes: Vec<u8>) -> Result<Self> {
        whole_or_error("Arrow", || -> std::result::Result<_, ArrowError> {
            let reader = arrow_ipc::reader::FileReader::try_new(Cursor::new(bytes), None)?;
            Ok((reader.schema(), reader))
        })
    }

    /// The rows of Arrow's record batches one after another, as [`Table::from_parquet`] has them.
    ///
    /// # Errors
    /// [`Error::Format`] when the batches differ in their columns; [`Error::EmptyTable`],
    /// [`Error::DuplicateColumn`].
    pub fn from_record_batches(batches: &[RecordBatch]) -> Result<Self> {
        let Some(first) = batches.first() else {
            return Err(Error::EmptyTable { what: "columns" });
        };
        gather(&first.schema(), batches.iter().cloned().map(Ok), "Arrow")
    }
}

/// Reads a file. Arrow's own code panics on some damaged files, of which no more is known then than
/// that they are damaged.
fn whole_or_error<R, E>(
    format: &'static str,
    open: impl FnOnce() -> std::result::Result<(SchemaRef, R), E>,
) -> Result<Table>
where
    R: Iterator<Item = std::result::Result<RecordBatch, ArrowError>>,
    E: std::fmt::Display,
{
    let fault = |reason: String| Error::Format { format, reason };
    let read = || {
        let (schema, reader) = open().map_err(|error| fault(error.to_string()))?;
        gather(&schema, reader, format)
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(fault("it is damaged".to_owned())))
}

/// Puts the batches' columns together.
fn gather(
    schema: &SchemaRef,
    batches: impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>,
    format: &'static str,
) -> Result<Table> {
    let fault = |reason: String| Error::Format { format, reason };
    let fields = schema.fields();
    let (mut n, mut parts) = (0, vec![Vec::<ArrayRef>::new(); fields.len()]);
    for (k, batch) in batches.enumerate() {
        let batch = batch.map_err(|error| fault(error.to_string()))?;
        let found = batch.schema();
        let alike = found.fields().len() == fields.len()
            && found
                .fields()
                .iter()
                .zip(fields)
                .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        if !alike {
            return Err(fault(format!(
                "batch {} has other columns than the first",
                k + 1
            )));
        }
        n += batch.num_rows();
        for (part, column) in parts.iter_mut().zip(batch.columns()) {
            part.push(column.clone());
        }
    }
    let columns = fields
        .iter()
        .zip(parts)
        .map(|(field, parts)| column(field.name(), field.data_type(), &parts, n))
        .collect();
    Table::from_columns(columns, n)
}

fn column(name: &str, data_type: &DataType, parts: &[ArrayRef], n: usize) -> Column {
    let numeric = |values: Vec<f64>| Column::numeric(name, values);
    match data_type {
        DataType::Null => numeric(vec![f64::NAN; n]),
        DataType::Boolean => {
            let word = |value: Option<bool>| value.map(|v| v.to_string());
            let cells = parts.iter().flat_map(|part| part.as_boolean().iter());
            Column::text(name, &cells.map(word).collect::<Vec<_>>())
        }
        DataType::Int8 => numeric(numbers::<Int8Type>(parts, f64::from)),
        DataType::Int16 => numeric(numbers::<Int16Type>(parts, f64::from)),
        DataType::Int32 => numeric(numbers::<Int32Type>(parts, f64::from)),
        DataType::Int64 => whole::<Int64Type>(name, parts, i64::unsigned_abs, |v| v as f64),
        DataType::UInt8 => numeric(numbers::<UInt8Type>(parts, f64::from)),
        DataType::UInt16 => numeric(numbers::<UInt16Type>(parts, f64::from)),
        DataType::UInt32 => numeric(numbers::<UInt32Type>(parts, f64::from)),
        DataType::UInt64 => whole::<UInt64Type>(name, parts, |v| v, |v| v as f64),
        DataType::Float16 => numeric(numbers::<Float16Type>(parts, f64::from)),
        DataType::Float32 => numeric(numbers::<Float32Type>(parts, f64::from)),
        DataType::Float64 => numeric(numbers::<Float64Type>(parts, |v| v)),
        DataType::Decimal128(_, scale) => {
            let unit = 10f64.powi(i32::from(*scale));
            numeric(numbers::<Decimal128Type>(parts, |v| v as f64 / unit))
        }
        _ => {
            let mut cells = Vec::with_capacity(n);
            if parts.iter().all(|part| texts(part, &mut cells)) {
                Column::text(name, &cells)
            } else {
                Column::other(name, data_type.to_string())
            }
        }
    }
}

/// NaN where a value is null.
fn numbers<T: ArrowPrimitiveType>(
    parts: &[ArrayRef],
    number: impl Fn(T::Native) -> f64,
) -> Vec<f64> {
    let values = parts
        .iter()
        .flat_map(|part| part.as_primitive::<T>().iter());
    values.map(|v| v.map_or(f64::NAN, &number)).collect()
}

/// Numbers, or text when some are too large to be told apart as numbers.
fn whole<T: ArrowPrimitiveType<Native: ToString>>(
    name: &str,
    parts: &[ArrayRef],
    size: impl Fn(T::Native) -> u64,
    number: impl Fn(T::Native) -> f64,
) -> Column {
    let all = || {
        parts
            .iter()
            .flat_map(|part| part.as_primitive::<T>().iter())
    };
    if all().flatten().all(|v| size(v) <= EXACT) {
        return Column::numeric(name, numbers::<T>(parts, number));
    }
    let cells: Vec<Option<String>> = all().map(|v| v.map(|v| v.to_string())).collect();
    Column::labelled(name, &cells)
}

/// Adds cells of text, plain or as a dictionary; says no to any other type.
fn texts(part: &ArrayRef, cells: &mut Vec<Option<String>>) -> bool {
    let owned = |cell: Option<&str>| cell.map(str::to_owned);
    match part.data_type() {
        DataType::Utf8 => cells.extend(part.as_string::<i32>().iter().map(owned)),
        DataType::LargeUtf8 => cells.extend(part.as_string::<i64>().iter().map(owned)),
        DataType::Utf8View => cells.extend(part.as_string_view().iter().map(owned)),
        DataType::Dictionary(_, _) => {
            let dictionary = part.as_any_dictionary();
            let mut levels = Vec::with_capacity(dictionary.values().len());
            if !texts(dictionary.values(), &mut levels) {
                return false;
            }
            if levels.is_empty() {
                cells.resize(cells.len() + part.len(), None);
                return true;
            }
            let codes = dictionary.normalized_keys();
            cells.extend(codes.iter().enumerate().map(|(row, &code)| {
                let level = levels.get(code).filter(|_| part.is_valid(row));
                level.cloned().flatten()
            }));
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::StringDictionaryBuilder;
    use arrow_array::{
        BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array,
        NullArray, StringArray, UInt8Array,
    };
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, GzipLevel, ZstdLevel};
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::table::Kind;
    use crate::{LatentsReader, Roles};

    /// What [`batch`] holds, without the columns that CSV cannot say.
    const CSV: &[u8] = b"days,died,age,arm,centre,stage,dose,empty\n\
        5,true,61.5,b,x,1,1.25,\n8,false,NA,a,y,2,0.5,\n3,true,59,,x,3,2,\n9.5,true,58,b,,2,3,\n";

    fn batch() -> RecordBatch {
        let mut centre = StringDictionaryBuilder::<Int32Type>::new();
        for value in [Some("x"), Some("y"), Some("x"), None] {
            centre.append_option(value);
        }
        let large = Int64Array::from(vec![1 << 53, (1 << 53) + 1, 7, 8]);
        let dose = Decimal128Array::from(vec![125, 50, 200, 300]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "days",
                Arc::new(Float64Array::from(vec![5.0, 8.0, 3.0, 9.5])),
            ),
            (
                "died",
                Arc::new(BooleanArray::from(vec![true, false, true, true])),
            ),
            (
                "age",
                Arc::new(Float32Array::from(vec![
                    Some(61.5),
                    None,
                    Some(59.0),
                    Some(58.0),
                ])),
            ),
            (
                "arm",
                Arc::new(StringArray::from(vec![
                    Some("b"),
                    Some(" a"),
                    None,
                    Some("b"),
                ])),
            ),
            ("centre", Arc::new(centre.finish())),
            ("stage", Arc::new(UInt8Array::from(vec![1, 2, 3, 2]))),
            (
                "dose",
                Arc::new(dose.with_precision_and_scale(9, 2).unwrap()),
            ),
            ("empty", Arc::new(NullArray::new(4))),
            ("seen", Arc::new(Date32Array::from(vec![1, 2, 3, 4]))),
            ("number", Arc::new(large)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .unwrap()
    }

    fn parquet(batch: &RecordBatch, compression: Compression) -> Vec<u8> {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(Some(3));
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    fn arrow(batches: &[RecordBatch]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer =
            arrow_ipc::writer::FileWriter::try_new(&mut bytes, &batches[0].schema()).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        bytes
    }

    /// Asserts that the columns of CSV are the same here.
    fn same_as_csv(found: &Table) {
        let wanted = Table::from_csv(CSV).unwrap();
        assert_eq!(found.n(), 4);
        for column in wanted.columns() {
            let name = column.name();
            assert_eq!(found.column(name).unwrap().kind(), column.kind(), "{name}");
            assert_eq!(
                found.labels(name).unwrap(),
                wanted.labels(name).unwrap(),
                "{name}"
            );
            let missing = |t: &Table| {
                (0..4)
                    .map(|i| t.column(name).unwrap().is_missing(i))
                    .collect::<Vec<_>>()
            };
            assert_eq!(missing(found), missing(&wanted), "{name}");
        }
        assert_eq!(
            found.events("died").unwrap(),
            wanted.events("died").unwrap()
        );
    }

    #[test]
    fn columns_are_what_they_would_be_in_csv_whatever_the_compression() {
        let batch = batch();
        same_as_csv(&Table::from_record_batches(&[batch.slice(0, 1), batch.slice(1, 3)]).unwrap());
        same_as_csv(&Table::from_arrow(arrow(&[batch.slice(0, 3), batch.slice(3, 1)])).unwrap());
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::LZ4_RAW,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
        ] {
            same_as_csv(&Table::from_parquet(parquet(&batch, compression)).unwrap());
        }
    }

    #[test]
    fn a_file_is_told_by_its_bytes_and_gives_a_cohort() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.csv");
        for bytes in [parquet(&batch(), Compression::SNAPPY), arrow(&[batch()])] {
            std::fs::write(&file, bytes).unwrap();
            let roles = Roles::new("days", "died")
                .features(["arm", "stage"])
                .drop_missing(true);
            let found = roles.cohort(&Table::read(&file).unwrap()).unwrap();
            let wanted = roles.cohort(&Table::from_csv(CSV).unwrap()).unwrap();
            assert_eq!(found.rows(), wanted.rows());
            assert_eq!(found.surv().time(), wanted.surv().time());
            assert_eq!(found.surv().event(), wanted.surv().event());
            let (x, y) = (found.covariates().unwrap(), wanted.covariates().unwrap());
            assert_eq!((x.names(), x.column(1)), (y.names(), y.column(1)));
        }
    }

    #[test]
    fn files_of_other_programs_are_the_table_they_were_made_from() {
        let golden =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cli");
        let wanted = Table::read(golden.join("veteran_raw.csv")).unwrap();
        for file in [
            "veteran_pyarrow.parquet",
            "veteran_polars.parquet",
            "veteran_pyarrow.arrow",
        ] {
            let found = Table::read(golden.join(file)).unwrap();
            assert_eq!(found.n(), 137);
            assert_eq!(
                found.events("died").unwrap(),
                wanted.events("died").unwrap()
            );
            for name in ["patient", "celltype", "karno", "time", "trt", "age"] {
                assert_eq!(
                    found.labels(name).unwrap(),
                    wanted.labels(name).unwrap(),
                    "{file}"
                );
            }
            assert!(found.column("karno").unwrap().is_missing(4));
        }
    }

    #[test]
    fn latents_may_be_parquet_too() {
        let batch = batch().project(&[0, 5]).unwrap();
        let latents = LatentsReader::new()
            .read_bytes(&parquet(&batch, Compression::SNAPPY))
            .unwrap();
        assert_eq!(latents.names(), ["days", "stage"]);
        assert_eq!(latents.get(3, 0).to_bits(), 9.5f64.to_bits());
    }

    #[test]
    fn other_types_are_refused_when_used_and_rows_have_no_line() {
        let table = Table::from_record_batches(&[batch()]).unwrap();
        assert_eq!(table.column("seen").unwrap().kind(), Kind::Text);
        assert_eq!(
            table.numbers("seen").unwrap_err().to_string(),
            "column `seen` has type Date32, which is neither numbers, text nor true and false"
        );
        assert!(matches!(
            table.labels("seen"),
            Err(Error::ColumnType { .. })
        ));
        // 2^53 and 2^53 + 1 are one number in double precision.
        assert_eq!(table.labels("number").unwrap().levels().len(), 4);
        assert_eq!(
            table.numbers("arm").unwrap_err().to_string(),
            "column `arm`, row 1: `b` is not a number"
        );
    }

    #[test]
    fn text_of_digits_keeps_its_zeros() {
        let patient = StringArray::from(vec!["007", "7", "1.0"]);
        let batch = RecordBatch::try_from_iter([("patient", Arc::new(patient) as ArrayRef)]);
        let table = Table::from_record_batches(&[batch.unwrap()]).unwrap();
        let found = table.identifiers("patient").unwrap();
        assert_eq!(found.levels(), ["007", "1.0", "7"]);
        assert_eq!(table.numbers("patient").unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let batch = batch();
        let message = |result: Result<Table>| result.unwrap_err().to_string();
        assert_eq!(
            message(Table::from_parquet(parquet(
                &batch.slice(0, 0),
                Compression::SNAPPY
            ))),
            "the table has no data rows"
        );
        assert_eq!(
            message(Table::from_record_batches(&[])),
            "the table has no columns"
        );
        let other = batch.project(&[1, 0]).unwrap();
        assert!(
            message(Table::from_record_batches(&[
                batch.project(&[0, 1]).unwrap(),
                other
            ]))
            .contains("batch 2 has other columns")
        );
        let twice = batch.project(&[0, 0]).unwrap();
        assert!(matches!(
            Table::from_record_batches(&[twice]),
            Err(Error::DuplicateColumn { .. })
        ));
        assert!(
            message(Table::from_parquet(b"PAR1".to_vec())).starts_with("not a readable Parquet")
        );
        assert!(
            message(Table::from_arrow(b"ARROW1\0\0".to_vec())).starts_with("not a readable Arrow")
        );
    }

    #[test]
    fn damaged_files_are_read_or_refused() {
        let batch = batch();
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
            damage(&parquet(&batch, compression), Table::from_parquet);
        }
        damage(&arrow(&[batch]), Table::from_arrow);
    }

    /// Truncations, and bytes set to others.
    fn damage(bytes: &[u8], read: fn(Vec<u8>) -> Result<Table>) {
        for end in (0..bytes.len()).step_by(7) {
            assert!(read(bytes[..end].to_vec()).is_err());
        }
        for at in (0..bytes.len()).step_by(3) {
            for value in [0, 0x7f, bytes[at] ^ 0x10] {
                let mut damaged = bytes.to_vec();
                damaged[at] = value;
                let _ = read(damaged);
            }
        }
    }
}
