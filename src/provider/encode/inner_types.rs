//! [`with_inner`]: types with others in them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, Fields};

/// `data_type` with what is in it, if it is a list, a struct or a map, as `change` has it. Other types have nothing in them.
pub(super) fn with_inner(data_type: &DataType, change: fn(&DataType) -> DataType) -> DataType {
    let one = |field: &FieldRef| changed(field, change);
    match data_type {
        DataType::List(field) => DataType::List(one(field)),
        DataType::LargeList(field) => DataType::LargeList(one(field)),
        DataType::ListView(field) => DataType::ListView(one(field)),
        DataType::LargeListView(field) => DataType::LargeListView(one(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(one(field), *size),
        DataType::Struct(fields) => DataType::Struct(with_types(fields, change)),
        DataType::Map(entries, is_sorted) => DataType::Map(one(entries), *is_sorted),
        other => other.clone(),
    }
}

/// `fields` with their types as `change` has them.
pub(super) fn with_types(fields: &Fields, change: fn(&DataType) -> DataType) -> Fields {
    fields.iter().map(|field| changed(field, change)).collect()
}

fn changed(field: &FieldRef, change: fn(&DataType) -> DataType) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(change(field.data_type())))
}
