//! Parquet files as rows of JSON.

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as ParquetRow};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

/// A row, column by column. Timestamps are ms since 1970; maps are objects.
pub type Row = Map<String, Value>;

/// Reads all rows of a file; only the columns named, if any are.
///
/// # Errors
/// The bytes are no Parquet file.
pub fn read(file: Bytes, columns: &[&str]) -> anyhow::Result<Vec<Row>> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema();
    let projection = (!columns.is_empty()).then(|| only(schema, columns)).transpose()?;
    let mut rows = Vec::new();
    for row in reader.get_row_iter(projection)? {
        rows.push(object(&row?));
    }
    Ok(rows)
}

fn only(schema: &Type, columns: &[&str]) -> anyhow::Result<Type> {
    let fields = schema.get_fields().iter().filter(|field| columns.contains(&field.name())).cloned().collect();
    Ok(Type::group_type_builder(schema.name()).with_fields(fields).build()?)
}

fn object(row: &ParquetRow) -> Row {
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(flag) => (*flag).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) | Field::TimestampMillis(number) => (*number).into(),
        Field::Double(number) => (*number).into(),
        Field::Str(text) => text.clone().into(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned().into(),
        Field::Group(row) => object(row).into(),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => map.entries().iter().map(|(key, of)| (text(&value(key)), value(of))).collect(),
        other => panic!("an export has no column of this type: {other:?}"),
    }
}

/// A text value, unquoted; empty for null.
#[must_use]
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
