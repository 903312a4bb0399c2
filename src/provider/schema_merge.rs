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
    times: Times,
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
                let mut times = Times::default();
                times.add(field.data_type(), origin);
                self.columns.push(Column {
                    name,
                    data_type: field.data_type().clone(),
                    nullable: field.is_nullable(),
                    count: 1,
                    origin: origin.clone(),
                    times,
                });
                continue;
            };
            let column = &mut self.columns[*at];
            column.count += 1;
            column.nullable |= field.is_nullable();
            column.times.add(field.data_type(), origin);
            column.times.check(&column.name)?;
            if column.data_type == *field.data_type() {
                continue;
            }
            let wider = common_type(&column.data_type, field.data_type()).map_err(|why| {
                let (one, other) = ((&column.data_type, &column.origin), (field.data_type(), origin));
                conflict(&column.name, one, other, &why)
            })?;
            let wider = column.times.of_all(wider);
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

fn conflict(name: &str, one: (&DataType, &Origin), other: (&DataType, &Origin), why: &str) -> Error {
    let ((one, here), (other, there)) = (one, other);
    let message = format!("column '{name}' is {one} in {here} and {other} in {there}: {why}");
    Error::new(ErrorKind::TypeConflict, message)
}

/// Where a column is a time, and which: what goes together two by two need not do so all together, in whatever order files come.
#[derive(Debug, Clone, Default)]
struct Times {
    date: Option<Origin>,
    plain: Option<(DataType, Origin)>,
    /// The first with a zone, and the first with another zone.
    zones: [Option<(DataType, Origin)>; 2],
}

impl Times {
    fn add(&mut self, data_type: &DataType, origin: &Origin) {
        let kept = || (data_type.clone(), origin.clone());
        match data_type {
            DataType::Date32 | DataType::Date64 => {
                let _ = self.date.get_or_insert_with(|| origin.clone());
            }
            DataType::Timestamp(_, None) => {
                let _ = self.plain.get_or_insert_with(kept);
            }
            DataType::Timestamp(_, Some(zone)) => match &mut self.zones {
                [Some((first, _)), other] => {
                    if zone_of(first).is_some_and(|first| first != one_utc(zone)) {
                        let _ = other.get_or_insert_with(kept);
                    }
                }
                [first, _] => *first = Some(kept()),
            },
            _ => {}
        }
    }

    /// Refuses what cannot be one time.
    ///
    /// DataFusion would take a time without a zone for one on the clock of the other's zone, compare it with bounds that were not converted,
    /// and leave out rows. In UTC both are the same. A date takes the zone away, of which there is one then.
    fn check(&self, name: &str) -> Result<()> {
        let elsewhere = self.zones.iter().flatten().find(|(data_type, _)| zone_of(data_type) != Some(UTC[0]));
        if let (Some((plain, here)), Some((zoned, there))) = (&self.plain, elsewhere) {
            let why = "a time without a zone goes together with UTC alone; cast one, and unite them with UNION ALL";
            return Err(conflict(name, (plain, here), (zoned, there), why));
        }
        if let (Some(date), [Some((one, here)), Some((other, there))]) = (&self.date, &self.zones) {
            let why = format!(
                "beside the date in {date} times of one zone alone go together; cast them, and unite them with UNION ALL"
            );
            return Err(conflict(name, (one, here), (other, there), &why));
        }
        Ok(())
    }

    /// The type of all of them, of which `wider` is the one that two have in common.
    fn of_all(&self, wider: DataType) -> DataType {
        match wider {
            DataType::Timestamp(unit, Some(_)) if self.date.is_some() => DataType::Timestamp(unit, None),
            other => other,
        }
    }
}

/// The zone of a time.
fn zone_of(data_type: &DataType) -> Option<&str> {
    match data_type {
        DataType::Timestamp(_, Some(zone)) => Some(one_utc(zone)),
        _ => None,
    }
}

/// A zone, under one name where it is UTC.
fn one_utc(zone: &str) -> &str {
    if UTC.contains(&zone) { UTC[0] } else { zone }
}

/// The type of a column that has one type here and the other there: DataFusion's own choice, or why there is none. Fields of structs
/// go together by name, as columns do: DataFusion would match them by place, and the scan by name, so that a field is lost.
fn common_type(one: &DataType, other: &DataType) -> std::result::Result<DataType, String> {
    match (one, other) {
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
    fn times_go_together_or_not_in_whatever_order() {
        let time = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Arc::from));
        let (date, plain, utc) = (DataType::Date32, time(None), time(Some("UTC")));
        let (zulu, vienna, tokyo) = (time(Some("Z")), time(Some("Europe/Vienna")), time(Some("Asia/Tokyo")));
        let without = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let one_zone = "times of one zone alone go together; cast them, and unite them with UNION ALL";
        let no_zone = "a time without a zone goes together with UTC alone; cast one, and unite them with UNION ALL";
        let expected: [([&DataType; 3], std::result::Result<&DataType, &str>); 8] = [
            ([&date, &utc, &zulu], Ok(&without)),
            ([&date, &plain, &utc], Ok(&without)),
            ([&date, &vienna, &date], Ok(&without)),
            ([&date, &utc, &vienna], Err(one_zone)),
            ([&date, &tokyo, &vienna], Err(one_zone)),
            ([&date, &plain, &vienna], Err(no_zone)),
            ([&plain, &utc, &vienna], Err(no_zone)),
            ([&plain, &tokyo, &vienna], Err(no_zone)),
        ];
        for (types, expected) in expected {
            for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                // Of different columns, for equal schemas are one.
                let schemas = order
                    .map(|at| schema(&[("t", types[at].clone(), false), (["a", "b", "c"][at], DataType::Int8, false)]));
                match (merge(&schemas), expected) {
                    (Ok(merged), Ok(expected)) => {
                        assert_eq!(merged.field_with_name("t").unwrap().data_type(), expected, "{types:?} {order:?}");
                    }
                    (Err(error), Err(expected)) => {
                        assert_eq!(error.kind(), ErrorKind::TypeConflict);
                        assert!(error.to_string().ends_with(expected), "{types:?} {order:?}: {error}");
                    }
                    (found, _) => panic!("{types:?} {order:?}: {found:?}"),
                }
            }
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
