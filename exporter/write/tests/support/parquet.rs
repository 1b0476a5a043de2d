//! Files read back with the parquet crate.

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

pub fn open(bytes: &Bytes) -> SerializedFileReader<Bytes> {
    SerializedFileReader::new(bytes.clone()).expect("a Parquet file")
}

pub fn rows(bytes: &Bytes) -> Vec<Row> {
    open(bytes).get_row_iter(None).unwrap().map(Result::unwrap).collect()
}

/// A column of a row as text; `None` for null.
pub fn text(row: &Row, column: &str) -> Option<String> {
    match row.get_column_iter().find(|(name, _)| *name == column).expect("the column").1 {
        Field::Null => None,
        Field::Str(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

pub fn millis(row: &Row, column: &str) -> i64 {
    match row.get_column_iter().find(|(name, _)| *name == column).expect("the column").1 {
        Field::TimestampMillis(ms) | Field::Long(ms) => *ms,
        other => panic!("{column} is no time: {other}"),
    }
}

pub fn field<'a>(row: &'a Row, column: &str) -> &'a Field {
    row.get_column_iter().find(|(name, _)| *name == column).expect("the column").1
}
