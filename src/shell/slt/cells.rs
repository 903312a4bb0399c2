//! Results in the form that DataFusion's suites are written in.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Float16Type, Float32Type,
    Float64Type, Schema,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions as DisplayOptions};
use datafusion::config::FormatOptions;
use datafusion::error::DataFusionError;

/// Decimal places that floats are rounded to; decimals keep those of their type.
const PLACES: usize = 12;

/// The type of a column, as the letter that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ColumnType {
    Boolean,
    DateTime,
    Integer,
    Timestamp,
    Float,
    Text,
    Other,
}

impl sqllogictest::ColumnType for ColumnType {
    fn from_char(value: char) -> Option<Self> {
        Some(match value {
            'B' => Self::Boolean,
            'D' => Self::DateTime,
            'I' => Self::Integer,
            'P' => Self::Timestamp,
            'R' => Self::Float,
            'T' => Self::Text,
            _ => Self::Other,
        })
    }

    fn to_char(&self) -> char {
        match self {
            Self::Boolean => 'B',
            Self::DateTime => 'D',
            Self::Integer => 'I',
            Self::Timestamp => 'P',
            Self::Float => 'R',
            Self::Text => 'T',
            Self::Other => '?',
        }
    }
}

/// The types of a result's columns.
pub(super) fn column_types(schema: &Schema) -> Vec<ColumnType> {
    schema.fields().iter().map(|field| column_type(field.data_type())).collect()
}

fn column_type(data_type: &DataType) -> ColumnType {
    match data_type {
        DataType::Boolean => ColumnType::Boolean,
        data_type if data_type.is_integer() => ColumnType::Integer,
        data_type if data_type.is_floating() || data_type.is_decimal() => ColumnType::Float,
        data_type if data_type.is_string() => ColumnType::Text,
        // Not one of a dictionary of texts: the suites call that anything else.
        DataType::Dictionary(_, values) if values.is_string() => ColumnType::Text,
        DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) => ColumnType::DateTime,
        DataType::Timestamp(_, _) => ColumnType::Timestamp,
        _ => ColumnType::Other,
    }
}

/// The cells of a result. A row whose last cell has several lines becomes a row of the others, and one for each line.
pub(super) fn rows(batches: &[RecordBatch]) -> Result<Vec<Vec<String>>, ArrowError> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let mut cells =
                batch.columns().iter().map(|column| cell(column, row)).collect::<Result<Vec<String>, ArrowError>>()?;
            match cells.last() {
                Some(last) if last.contains('\n') => {
                    let lines: Vec<Vec<String>> =
                        last.split('\n').enumerate().map(|(number, line)| vec![numbered(number + 1, line)]).collect();
                    cells.pop();
                    rows.push(cells);
                    rows.extend(lines);
                }
                _ => rows.push(cells),
            }
        }
    }
    Ok(rows)
}

/// A line of a cell with its number. Leading spaces, which suites do not keep, become dashes.
fn numbered(number: usize, line: &str) -> String {
    let content = line.trim_start();
    format!("{number:02}){}{content}", "-".repeat(line.len() - content.len()))
}

fn cell(column: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    if column.is_null(row) {
        return Ok("NULL".to_owned());
    }
    Ok(match column.data_type() {
        DataType::Null => "NULL".to_owned(),
        DataType::Float16 => float(f64::from(column.as_primitive::<Float16Type>().value(row)), |_| {
            column.as_primitive::<Float16Type>().value(row).to_string()
        }),
        DataType::Float32 => float(f64::from(column.as_primitive::<Float32Type>().value(row)), |_| {
            column.as_primitive::<Float32Type>().value(row).to_string()
        }),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row), |value| value.to_string()),
        DataType::Decimal32(_, scale) => decimal::<Decimal32Type>(column, row, *scale),
        DataType::Decimal64(_, scale) => decimal::<Decimal64Type>(column, row, *scale),
        DataType::Decimal128(_, scale) => decimal::<Decimal128Type>(column, row, *scale),
        DataType::Decimal256(_, scale) => decimal::<Decimal256Type>(column, row, *scale),
        DataType::Utf8 => string(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => string(column.as_string::<i64>().value(row)),
        DataType::Utf8View => string(column.as_string_view().value(row)),
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_any_dictionary();
            return cell(dictionary.values(), dictionary.normalized_keys()[row]);
        }
        _ => {
            let options = FormatOptions { null: "NULL".to_owned(), ..FormatOptions::default() };
            let options: DisplayOptions<'_> =
                (&options).try_into().map_err(|error: DataFusionError| ArrowError::ExternalError(Box::new(error)))?;
            ArrayFormatter::try_new(column.as_ref(), &options)?.value(row).to_string()
        }
    })
}

fn string(value: &str) -> String {
    if value.is_empty() { "(empty)".to_owned() } else { value.trim_end_matches('\n').replace('\0', "\\0") }
}

fn float(value: f64, shortest: impl Fn(f64) -> String) -> String {
    if value.is_nan() {
        // Whether it has a sign depends on the machine.
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        rounded(&shortest(value), PLACES)
    }
}

fn decimal<T: DecimalType>(column: &ArrayRef, row: usize, scale: i8) -> String {
    // The precision only matters to a check that is not made here.
    rounded(&T::format_decimal(column.as_primitive::<T>().value(row), u8::MAX, scale), usize::MAX)
}

/// A plain decimal number, rounded half to even at so many places, without zeros at its end.
fn rounded(number: &str, places: usize) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (kept, dropped) = fraction.split_at(fraction.len().min(places));
    let mut all: Vec<u8> = whole.bytes().chain(kept.bytes()).collect();
    let odd = all.last().is_some_and(|digit| (digit - b'0') % 2 == 1);
    let up = match dropped.as_bytes() {
        [] => false,
        [b'5', rest @ ..] => odd || rest.iter().any(|digit| *digit != b'0'),
        [first, ..] => *first > b'5',
    };
    if up {
        let nines = all.iter().rev().take_while(|digit| **digit == b'9').count();
        let end = all.len() - nines;
        all[end..].fill(b'0');
        match all[..end].last_mut() {
            Some(digit) => *digit += 1,
            None => all.insert(0, b'1'),
        }
    }
    let point = all.len() - kept.len();
    let text = |digits: &[u8]| digits.iter().copied().map(char::from).collect::<String>();
    let (whole, fraction) = (text(&all[..point]), text(&all[point..]));
    let fraction = fraction.trim_end_matches('0');
    // A decimal with a negative scale has more zeros in front than one.
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let sign = if fraction.is_empty() && whole == "0" { "" } else { sign };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Decimal128Array, DictionaryArray, Float32Array, Float64Array, StringArray};
    use arrow::datatypes::Int8Type;

    use super::*;

    fn cells(array: impl Array + 'static) -> Vec<String> {
        let column: ArrayRef = Arc::new(array);
        (0..column.len()).map(|row| cell(&column, row).unwrap()).collect()
    }

    #[test]
    fn numbers_are_rounded_and_short() {
        for (number, expected) in [
            ("1", "1"),
            ("100", "100"),
            ("1.500", "1.5"),
            ("-0.0", "0"),
            ("0000", "0"),
            ("-012.5", "-12.5"),
            ("0.1000000000001", "0.1"),
            ("0.0000000000005", "0"),
            ("0.0000000000015", "0.000000000002"),
            ("0.00000000000050001", "0.000000000001"),
            ("9.9999999999999", "10"),
            ("-99.9999999999996", "-100"),
        ] {
            assert_eq!(rounded(number, PLACES), expected, "{number}");
        }
        assert_eq!(rounded("-0.00000000000000000150", usize::MAX), "-0.0000000000000000015");
        let values = [1e21, 0.1 + 0.2, -1.0 / 3.0, f64::NAN, f64::NEG_INFINITY];
        let expected = ["1000000000000000000000", "0.3", "-0.333333333333", "NaN", "-Infinity"];
        assert_eq!(cells(Float64Array::from(values.to_vec())), expected);
        assert_eq!(cells(Float32Array::from(vec![0.1, 1.5])), ["0.1", "1.5"]);
        let decimals = Decimal128Array::from(vec![1250, -5, 0]).with_precision_and_scale(10, 3).unwrap();
        assert_eq!(cells(decimals), ["1.25", "-0.005", "0"]);
        let decimals = Decimal128Array::from(vec![-1, 10]).with_precision_and_scale(38, 20).unwrap();
        assert_eq!(cells(decimals), ["-0.00000000000000000001", "0.0000000000000000001"]);
    }

    #[test]
    fn a_dictionary_of_texts_is_text() {
        let dictionary = |values| DataType::Dictionary(Box::new(DataType::Int8), Box::new(values));
        for (values, expected) in [
            (DataType::LargeUtf8, ColumnType::Text),
            (DataType::Int64, ColumnType::Other),
            (dictionary(DataType::Utf8), ColumnType::Other),
        ] {
            assert_eq!(column_type(&dictionary(values)), expected);
        }
    }

    #[test]
    fn text_and_null_are_told_apart() {
        assert_eq!(
            cells(StringArray::from(vec![Some(""), None, Some("a\n"), Some("\0")])),
            ["(empty)", "NULL", "a", "\\0"]
        );
        let dictionary: DictionaryArray<Int8Type> = [Some("x"), None, Some("")].into_iter().collect();
        assert_eq!(cells(dictionary), ["x", "NULL", "(empty)"]);
        assert_eq!(cells(BooleanArray::from(vec![true, false])), ["true", "false"]);
    }

    #[test]
    fn lines_of_the_last_cell_are_numbered() {
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(StringArray::from(vec!["plan", "x"])) as ArrayRef),
            ("b", Arc::new(StringArray::from(vec!["Sort\n  Scan", "y"])) as ArrayRef),
        ])
        .unwrap();
        let expected: [&[&str]; 4] = [&["plan"], &["01)Sort"], &["02)--Scan"], &["x", "y"]];
        assert_eq!(rows(&[batch]).unwrap(), expected);
    }
}
