//! The names of fields inside of columns: structs are matched by name, and a name without a match would be a value lost.

use datafusion::arrow::datatypes::DataType;

/// The first field of a struct in `from`, after the names of those around it, that has no place in `to` when structs are matched by name.
pub(crate) fn lost_field(from: &DataType, to: &DataType) -> Option<String> {
    if let (DataType::Struct(from), DataType::Struct(to)) = (from, to) {
        return from.iter().find_map(|field| match to.find(field.name()) {
            None => Some(field.name().clone()),
            Some((_, same)) => {
                let inner = lost_field(field.data_type(), same.data_type())?;
                Some(format!("{}.{inner}", field.name()))
            }
        });
    }
    inner_types(from).into_iter().zip(inner_types(to)).find_map(|(from, to)| lost_field(from, to))
}

/// Whether the structs in both types have fields of the same names in the same order.
pub(crate) fn same_fields(one: &DataType, other: &DataType) -> bool {
    if let (DataType::Struct(one), DataType::Struct(other)) = (one, other) {
        let same = one
            .iter()
            .zip(other)
            .all(|(one, other)| one.name() == other.name() && same_fields(one.data_type(), other.data_type()));
        return one.len() == other.len() && same;
    }
    inner_types(one).into_iter().zip(inner_types(other)).all(|(one, other)| same_fields(one, other))
}

/// What a column of this type holds, where that is no struct. The names in lists and maps mean nothing: each writer has its own.
fn inner_types(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => vec![item.data_type()],
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => pair.iter().map(|field| field.data_type()).collect(),
            _ => Vec::new(),
        },
        DataType::Dictionary(_, values) => vec![values.as_ref()],
        DataType::RunEndEncoded(_, values) => vec![values.data_type()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{Field, Fields};

    use super::*;

    fn of(fields: &[(&str, DataType)]) -> DataType {
        let fields = fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        DataType::Struct(fields.collect::<Fields>())
    }

    fn list(data_type: DataType) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(data_type, true)))
    }

    #[test]
    fn lost_fields_are_named_with_what_is_around_them() {
        let (xy, yx) = (
            of(&[("x", DataType::Int64), ("y", DataType::Utf8)]),
            of(&[("y", DataType::Utf8), ("x", DataType::Int32)]),
        );
        let xz = of(&[("x", DataType::Int64), ("z", DataType::Utf8)]);
        assert_eq!(lost_field(&xy, &yx), None);
        assert_eq!(lost_field(&xz, &xy).as_deref(), Some("z"));
        assert_eq!(lost_field(&xy, &of(&[("x", DataType::Int64)])).as_deref(), Some("y"));
        assert_eq!(lost_field(&of(&[("x", DataType::Int64)]), &xy), None);
        let around = |inner: &DataType| list(of(&[("a", list(inner.clone()))]));
        assert_eq!(lost_field(&around(&xz), &around(&xy)).as_deref(), Some("a.z"));
        assert_eq!(lost_field(&DataType::Null, &xy), None);
    }

    #[test]
    fn names_count_in_structs_alone() {
        let (xy, yx) = (
            of(&[("x", DataType::Int64), ("y", DataType::Utf8)]),
            of(&[("y", DataType::Utf8), ("x", DataType::Int64)]),
        );
        assert!(same_fields(
            &list(xy.clone()),
            &DataType::LargeList(Arc::new(Field::new("element", xy.clone(), true)))
        ));
        assert!(!same_fields(&list(xy.clone()), &list(yx.clone())));
        let map = |key: &str, value: &DataType| {
            let entries = of(&[(key, DataType::Utf8), ("value", value.clone())]);
            DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
        };
        assert!(same_fields(&map("key", &xy), &map("keys", &xy)));
        assert!(!same_fields(&map("key", &xy), &map("key", &yx)));
        assert!(same_fields(&DataType::Int64, &DataType::Utf8));
    }
}
