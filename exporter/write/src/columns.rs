//! Rows as Arrow columns: one batch in the making.

use std::sync::Arc;

use arrow_array::builder::{ArrayBuilder, TimestampMillisecondBuilder};
use arrow_array::builder::{BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, ListArray, MapArray, RecordBatch, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use millrace_schemas::columns::{self, Column, Kind};
use millrace_schemas::enriched::Attributed;
use millrace_schemas::layout::ExportType;
use millrace_schemas::raw::Attribute;

use crate::cells::{Cells, Row};

/// The columns of a type.
pub(crate) fn columns_of(of_type: ExportType) -> &'static [Column] {
    match of_type {
        ExportType::Decisions => columns::DECISIONS,
        ExportType::Events => columns::EVENTS,
        ExportType::Rejected => columns::REJECTED,
        ExportType::Audit => columns::AUDIT,
    }
}

/// The Arrow schema of a type: every column nullable; the parts of lists and maps named as Parquet names them.
pub(crate) fn schema_of(of_type: ExportType) -> SchemaRef {
    Arc::new(Schema::new(fields(columns_of(of_type))))
}

fn fields(columns: &[Column]) -> Fields {
    columns.iter().map(|column| Field::new(column.name, data_type(column.kind), true)).collect()
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        Kind::Bool => DataType::Boolean,
        Kind::Int => DataType::Int64,
        Kind::Double => DataType::Float64,
        Kind::Binary => DataType::Binary,
        Kind::List(of) => DataType::List(element_field(of)),
        Kind::TextMap => DataType::Map(entries_field(), false),
    }
}

fn element_field(of: &[Column]) -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(fields(of)), true))
}

fn entry_fields() -> Fields {
    [Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)].into_iter().collect()
}

fn entries_field() -> Arc<Field> {
    Arc::new(Field::new("key_value", DataType::Struct(entry_fields()), false))
}

/// A column in the making.
enum Builder {
    Text(StringBuilder),
    Time(TimestampMillisecondBuilder),
    Flag(BooleanBuilder),
    Int(Int64Builder),
    Double(Float64Builder),
    Binary(BinaryBuilder),
    /// The columns of the structs, and where each row's structs end.
    List(&'static [Column], Vec<Builder>, Vec<i32>),
    Map(StringBuilder, StringBuilder, Vec<i32>),
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Timestamp => Self::Time(TimestampMillisecondBuilder::new().with_timezone("UTC")),
            Kind::Bool => Self::Flag(BooleanBuilder::new()),
            Kind::Int => Self::Int(Int64Builder::new()),
            Kind::Double => Self::Double(Float64Builder::new()),
            Kind::Binary => Self::Binary(BinaryBuilder::new()),
            Kind::List(of) => Self::List(of, of.iter().map(|column| Self::new(column.kind)).collect(), vec![0]),
            Kind::TextMap => Self::Map(StringBuilder::new(), StringBuilder::new(), vec![0]),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(builder) => builder.len(),
            Self::Time(builder) => builder.len(),
            Self::Flag(builder) => builder.len(),
            Self::Int(builder) => builder.len(),
            Self::Double(builder) => builder.len(),
            Self::Binary(builder) => builder.len(),
            Self::List(_, _, ends) | Self::Map(_, _, ends) => ends.len() - 1,
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Flag(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
            Self::List(of, parts, ends) => {
                let parts = parts.iter_mut().map(Self::finish).collect::<Result<Vec<_>, _>>()?;
                let structs = StructArray::try_new(fields(of), parts, None)?;
                let ends = OffsetBuffer::new(std::mem::replace(ends, vec![0]).into());
                Arc::new(ListArray::try_new(element_field(of), ends, Arc::new(structs), None)?)
            }
            Self::Map(keys, values, ends) => {
                let parts: Vec<ArrayRef> = vec![Arc::new(keys.finish()), Arc::new(values.finish())];
                let entries = StructArray::try_new(entry_fields(), parts, None)?;
                let ends = OffsetBuffer::new(std::mem::replace(ends, vec![0]).into());
                Arc::new(MapArray::try_new(entries_field(), ends, entries, None, false)?)
            }
        })
    }
}

/// Rows on their way to one record batch.
pub(crate) struct Batch {
    schema: SchemaRef,
    builders: Vec<Builder>,
    /// The column the next cell belongs to.
    at: usize,
    /// The first cell that did not fit its column.
    misfit: Option<usize>,
}

impl Batch {
    pub(crate) fn new(of_type: ExportType) -> Self {
        let builders = columns_of(of_type).iter().map(|column| Builder::new(column.kind)).collect();
        Self { schema: schema_of(of_type), builders, at: 0, misfit: None }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    pub(crate) fn add(&mut self, row: &Row, process_ms: i64) {
        self.at = 0;
        row.cells(process_ms, self);
    }

    pub(crate) fn rows(&self) -> usize {
        self.builders.first().map_or(0, Builder::len)
    }

    /// The batch; this one is empty then.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        if let Some(at) = self.misfit {
            return Err(ArrowError::SchemaError(format!("cell {at} does not fit its column")));
        }
        let columns = self.builders.iter_mut().map(Builder::finish).collect::<Result<_, _>>()?;
        RecordBatch::try_new(self.schema(), columns)
    }

    fn put(&mut self, append: impl FnOnce(&mut Builder) -> bool) {
        let fits = self.builders.get_mut(self.at).is_some_and(append);
        if !fits && self.misfit.is_none() {
            self.misfit = Some(self.at);
        }
        self.at += 1;
    }

    fn list<'a, const N: usize>(&mut self, values: impl Iterator<Item = [Cell<'a>; N]>) {
        self.put(|builder| {
            let Builder::List(of, parts, ends) = builder else { return false };
            let mut count = ends.last().copied().unwrap_or_default();
            let mut fits = of.len() == N;
            for cells in values {
                count += 1;
                for (part, cell) in parts.iter_mut().zip(cells) {
                    fits &= append_cell(part, cell);
                }
            }
            ends.push(count);
            fits
        });
    }
}

/// A cell of a struct in a list.
enum Cell<'a> {
    Text(Option<&'a str>),
    Flag(Option<bool>),
}

fn append_cell(part: &mut Builder, cell: Cell<'_>) -> bool {
    match (part, cell) {
        (Builder::Text(builder), Cell::Text(value)) => builder.append_option(value),
        (Builder::Flag(builder), Cell::Flag(value)) => builder.append_option(value),
        _ => return false,
    }
    true
}

macro_rules! put_one {
    ($self:ident, $kind:path, $value:expr) => {
        $self.put(|builder| {
            let $kind(builder) = builder else { return false };
            builder.append_option($value);
            true
        })
    };
}

impl Cells for Batch {
    fn text(&mut self, value: Option<&str>) {
        put_one!(self, Builder::Text, value);
    }

    fn time(&mut self, value: Option<i64>) {
        put_one!(self, Builder::Time, value);
    }

    fn flag(&mut self, value: Option<bool>) {
        put_one!(self, Builder::Flag, value);
    }

    fn int(&mut self, value: Option<i64>) {
        put_one!(self, Builder::Int, value);
    }

    fn double(&mut self, value: Option<f64>) {
        put_one!(self, Builder::Double, value);
    }

    fn binary(&mut self, value: Option<&[u8]>) {
        put_one!(self, Builder::Binary, value);
    }

    fn attributes(&mut self, values: &[Attribute]) {
        self.list(values.iter().map(|attribute| {
            [&attribute.id, &attribute.name, &attribute.r#type, &attribute.value]
                .map(|text| Cell::Text(text.as_deref()))
        }));
    }

    fn experiments(&mut self, values: &[Attributed]) {
        self.list(values.iter().map(|one| {
            [
                Cell::Text(one.campaign_id.as_deref()),
                Cell::Text(one.experiment_id.as_deref()),
                Cell::Text(one.variation_id.as_deref()),
                Cell::Flag(one.is_holdback),
            ]
        }));
    }

    fn map(&mut self, values: &[(&str, &str)]) {
        self.put(|builder| {
            let Builder::Map(map_keys, map_values, ends) = builder else { return false };
            for (key, value) in values {
                map_keys.append_value(key);
                map_values.append_value(value);
            }
            // The values of one batch are bounded far below 2 GB.
            ends.push(map_keys.len() as i32);
            true
        });
    }
}
