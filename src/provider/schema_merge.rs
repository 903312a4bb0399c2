//! One schema for many: columns by name, types widened.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;

use super::schema_text::without_metadata;
use super::struct_fields::same_fields;
use crate::error::{Error, ErrorKind, Result};

/// What the time zone UTC is called.
const UTC: &[&str] = &["UTC", "+00:00", "Z", "Etc/UTC"];

/// Where a schema comes from, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// A pond path, or a URL.
    pub(crate) name: String,
    /// `None` for the declared schema, or for a whole file.
    pub(crate) version: Option<u64>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.name)?;
        self.version.map_or(Ok(()), |version| write!(f, " version {version}"))
    }
}

/// Merges schemas by name. `Schema::try_merge` does not widen, and leaves a column NOT NULL that some file lacks.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchemaMerge {
    /// Empty as long as there is one schema only, as in most files.
    columns: Vec<Column>,
    /// Where that one comes from.
    first: Option<Origin>,
    by_name: HashMap<Arc<str>, usize>,
    /// The different schemas so far. Nearly always one, compared by address.
    seen: Vec<SchemaRef>,
}

#[derive(Debug, Clone)]
struct Column {
    name: Arc<str>,
    data_type: DataType,
    nullable: bool,
    /// How many of the different schemas have it.
    count: usize,
    /// Who gave it its type.
    origin: Origin,
}

impl SchemaMerge {
    /// Adds a schema.
    ///
    /// # Errors
    /// [`TypeConflict`](ErrorKind::TypeConflict) when a column's type does not go together with what was added before: it names both places and types.
    pub(crate) fn add(&mut self, schema: &SchemaRef, origin: impl FnOnce() -> Origin) -> Result<()> {
        if self.seen.iter().rev().any(|seen| Arc::ptr_eq(seen, schema)) || self.seen.contains(schema) {
            return Ok(());
        }
        let origin = origin();
        match (self.seen.first().map(Arc::clone), self.first.take()) {
            (None, _) => self.first = Some(origin),
            (Some(only), Some(first)) => {
                self.widen(&only, &first)?;
                self.widen(schema, &origin)?;
            }
            (Some(_), None) => self.widen(schema, &origin)?,
        }
        self.seen.push(Arc::clone(schema));
        Ok(())
    }

    fn widen(&mut self, schema: &Schema, origin: &Origin) -> Result<()> {
        for field in schema.fields() {
            let Some(at) = self.by_name.get(field.name().as_str()) else {
                let name: Arc<str> = field.name().as_str().into();
                let _ = self.by_name.insert(Arc::clone(&name), self.columns.len());
                self.columns.push(Column {
                    name,
                    data_type: field.data_type().clone(),
                    nullable: field.is_nullable(),
                    count: 1,
                    origin: origin.clone(),
                });
                continue;
            };
            let column = &mut self.columns[*at];
            column.count += 1;
            column.nullable |= field.is_nullable();
            if column.data_type == *field.data_type() {
                continue;
            }
            let wider = common_type(&column.data_type, field.data_type()).map_err(|why| {
                let (name, own, place, other) = (&column.name, &column.data_type, &column.origin, field.data_type());
                let message = format!("column '{name}' is {own} in {place} and {other} in {origin}: {why}");
                Error::new(ErrorKind::TypeConflict, message)
            })?;
            if column.data_type != wider {
                column.data_type = wider;
                column.origin = origin.clone();
            }
        }
        Ok(())
    }

    /// The merged schema: the very one that was added where all were equal.
    pub(crate) fn schema(&self) -> SchemaRef {
        if let [only] = self.seen.as_slice() {
            return without_metadata(only);
        }
        let all = self.seen.len();
        let fields = self
            .columns
            .iter()
            .map(|column| {
                let nullable = column.nullable || column.count < all;
                Field::new(column.name.as_ref(), column.data_type.clone(), nullable)
            })
            .collect::<Fields>();
        without_metadata(&Arc::new(Schema::new(fields)))
    }
}

/// The type of a column that has one type here and the other there: DataFusion's own choice, or why there is none. Fields of structs
/// go together by name, as columns do.
///
/// It would take a time without a zone for one on the clock of the other's zone, compare it with bounds that were not converted, and
/// leave out rows. In UTC both are the same. It would match the fields of structs by place, and the scan by name, so that a field is lost.
fn common_type(one: &DataType, other: &DataType) -> std::result::Result<DataType, String> {
    match (one, other) {
        (DataType::Timestamp(_, one), DataType::Timestamp(_, other)) => {
            if let (Some(zone), None) | (None, Some(zone)) = (one, other)
                && !UTC.contains(&&**zone)
            {
                let why = "a time without a zone goes together with UTC alone; cast one, and unite them with UNION ALL";
                return Err(why.to_owned());
            }
        }
        (DataType::Struct(one), DataType::Struct(other)) => return common_fields(one, other).map(DataType::Struct),
        (DataType::List(one), DataType::List(other)) => return common_item(one, other).map(DataType::List),
        (DataType::LargeList(one), DataType::LargeList(other)) => {
            return common_item(one, other).map(DataType::LargeList);
        }
        _ => {}
    }
    let common = type_union_coercion(one, other).ok_or("they have no common type")?;
    // Other columns of structs, such as maps, are cast by place.
    match same_fields(one, &common) && same_fields(other, &common) {
        true => Ok(common),
        false => Err("the fields of their structs differ".to_owned()),
    }
}

/// The fields of both structs. Some file has no value of one that only one has.
fn common_fields(one: &Fields, other: &Fields) -> std::result::Result<Fields, String> {
    let has_two = |fields: &Fields| {
        let mut names = HashSet::new();
        !fields.iter().all(|field| names.insert(field.name().as_str()))
    };
    if has_two(one) || has_two(other) {
        return Err("two of their fields have the same name".to_owned());
    }
    if !one.iter().any(|field| other.find(field.name()).is_some()) {
        return Err("their fields have no name in common".to_owned());
    }
    let alone = |field: &FieldRef| Field::new(field.name(), field.data_type().clone(), true);
    let mut all = Vec::with_capacity(one.len() + other.len());
    for field in one {
        all.push(match other.find(field.name()) {
            None => alone(field),
            Some((_, same)) => {
                let data_type = common_type(field.data_type(), same.data_type())
                    .map_err(|why| format!("in field '{}', {why}", field.name()))?;
                Field::new(field.name(), data_type, field.is_nullable() || same.is_nullable())
            }
        });
    }
    all.extend(other.iter().filter(|field| one.find(field.name()).is_none()).map(alone));
    Ok(all.into())
}

fn common_item(one: &FieldRef, other: &FieldRef) -> std::result::Result<FieldRef, String> {
    let data_type = common_type(one.data_type(), other.data_type())?;
    Ok(Arc::new(Field::new(one.name(), data_type, one.is_nullable() || other.is_nullable())))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    fn schema(columns: &[(&str, DataType, bool)]) -> SchemaRef {
        Arc::new(Schema::new(
            columns
                .iter()
                .map(|(name, data_type, null)| Field::new(*name, data_type.clone(), *null))
                .collect::<Vec<_>>(),
        ))
    }

    fn merge(schemas: &[SchemaRef]) -> Result<SchemaRef> {
        let mut merge = SchemaMerge::default();
        for (at, schema) in schemas.iter().enumerate() {
            merge.add(schema, || Origin { name: format!("/f{at}"), version: Some(1) })?;
        }
        Ok(merge.schema())
    }

    #[test]
    fn types_widen_and_a_missing_column_becomes_nullable() {
        let merged = merge(&[
            schema(&[("a", DataType::Int32, false), ("b", DataType::Float32, false)]),
            schema(&[("b", DataType::Float64, false), ("c", DataType::Boolean, false), ("a", DataType::Int64, false)]),
        ])
        .unwrap();
        let expected =
            schema(&[("a", DataType::Int64, false), ("b", DataType::Float64, false), ("c", DataType::Boolean, true)]);
        assert_eq!(merged, expected);
    }

    #[test]
    fn equal_schemas_stay_the_very_same() {
        let one = schema(&[("a", DataType::Int32, false)]);
        let merged = merge(&[Arc::clone(&one), schema(&[("a", DataType::Int32, false)]), Arc::clone(&one)]).unwrap();
        assert!(Arc::ptr_eq(&one, &merged));
    }

    #[test]
    fn times_with_and_without_a_zone_go_together_in_utc() {
        let time = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Arc::from));
        let (second, milli) = (TimeUnit::Second, TimeUnit::Millisecond);
        let both = |one: &DataType, other: &DataType| {
            let of = |data_type: &DataType| schema(&[("t", data_type.clone(), false)]);
            merge(&[of(one), of(other)]).map(|merged| merged.field(0).data_type().clone())
        };
        let (plain, utc) = (time(second, None), time(milli, Some("UTC")));
        assert_eq!(both(&plain, &utc).unwrap(), utc);
        assert_eq!(both(&utc, &plain).unwrap(), utc);
        // The zone is that of the first one.
        let (vienna, plus) = (time(second, Some("Europe/Vienna")), time(second, Some("+02:00")));
        assert_eq!(both(&vienna, &plus).unwrap(), vienna);
        assert_eq!(both(&vienna, &utc).unwrap(), time(milli, Some("Europe/Vienna")));
        for (one, other) in [(&plain, &vienna), (&plus, &plain)] {
            let error = both(one, other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TypeConflict);
            assert!(error.to_string().ends_with("cast one, and unite them with UNION ALL"), "{error}");
        }
    }

    #[test]
    fn fields_of_structs_go_together_by_name() {
        let of = |fields: &[(&str, DataType, bool)]| DataType::Struct(schema(fields).fields().clone());
        let both = |one: &DataType, other: &DataType| {
            let column = |data_type: &DataType| schema(&[("b", data_type.clone(), true)]);
            merge(&[column(one), column(other)]).map(|merged| merged.field(0).data_type().clone())
        };
        let list = |data_type: &DataType| DataType::List(Arc::new(Field::new_list_field(data_type.clone(), true)));
        let xy = of(&[("x", DataType::Int32, false), ("y", DataType::Int64, false)]);
        let zx = of(&[("z", DataType::Boolean, false), ("x", DataType::Int64, false)]);
        let xyz = of(&[("x", DataType::Int64, false), ("y", DataType::Int64, true), ("z", DataType::Boolean, true)]);
        assert_eq!(both(&xy, &zx).unwrap(), xyz);
        assert_eq!(both(&list(&xy), &list(&zx)).unwrap(), list(&xyz));
        assert_eq!(both(&xyz, &xy).unwrap(), xyz);
        let x = of(&[("x", DataType::Date32, true)]);
        let xz = of(&[("x", DataType::Int32, true), ("z", DataType::Int64, true)]);
        for (one, other, why) in [
            (&of(&[("x", DataType::Boolean, true)]), &x, "in field 'x', they have no common type"),
            (&x, &of(&[("y", DataType::Date32, true)]), "their fields have no name in common"),
            (
                &list(&xy),
                &DataType::LargeList(Arc::new(Field::new_list_field(xz.clone(), true))),
                "the fields of their structs differ",
            ),
        ] {
            let error = both(one, other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TypeConflict);
            assert_eq!(
                error.to_string(),
                format!("column 'b' is {one} in '/f0' version 1 and {other} in '/f1' version 1: {why}")
            );
        }
    }

    #[test]
    fn conflict_names_both_places_and_types() {
        let error = merge(&[
            schema(&[("x", DataType::Boolean, true)]),
            schema(&[("x", DataType::Boolean, false)]),
            schema(&[("x", DataType::Date32, true)]),
        ])
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeConflict);
        assert_eq!(
            error.to_string(),
            "column 'x' is Boolean in '/f0' version 1 and Date32 in '/f2' version 1: they have no common type"
        );
    }
}
