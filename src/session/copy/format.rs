//! What a target's name says of its format, where the statement does not say it.

use datafusion::sql::parser::CopyToStatement;
use datafusion::sql::sqlparser::ast::Value;

use crate::error::Result;
use crate::provider::{Encoding, FileEncoding, compression_name, without_extension};

/// The format of a target that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    /// There is none: DataFusion says so.
    None,
    Parquet,
}

/// Writes the format into the statement, and the compression, as DataFusion spells them. It knows `csv`, `json`, `parquet` and `arrow`,
/// and takes `.json` for one object a line.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) for the name of a format that is not written.
pub(super) fn spell_out(copy: &mut CopyToStatement, default: Default) -> Result<()> {
    // A directory's name may end in '/'.
    let name = copy.target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if let Some(stored_as) = &mut copy.stored_as {
        let (_, compression) = without_extension(name);
        let is_text = ["CSV", "TSV", "JSON", "NDJSON", "JSONL"].iter().any(|text| stored_as.eq_ignore_ascii_case(text));
        if is_text && compression.is_compressed() {
            set(&mut copy.options, "compression", compression_name(compression));
        }
        if ["NDJSON", "JSONL"].iter().any(|name| stored_as.eq_ignore_ascii_case(name)) {
            "JSON".clone_into(stored_as);
        } else if stored_as.eq_ignore_ascii_case("TSV") {
            "CSV".clone_into(stored_as);
            set(&mut copy.options, "delimiter", "\t");
        }
        return Ok(());
    }
    let named = FileEncoding::by_name(name)?;
    let Some(named) = named.or_else(|| (default == Default::Parquet).then(|| FileEncoding::from(Encoding::Parquet)))
    else {
        return Ok(());
    };
    let format = match named.encoding {
        Encoding::Csv | Encoding::Tsv => "CSV",
        Encoding::Json | Encoding::Ndjson => "JSON",
        Encoding::Parquet => "PARQUET",
        Encoding::Arrow => "ARROW",
    };
    copy.stored_as = Some(format.to_owned());
    if named.encoding == Encoding::Tsv {
        set(&mut copy.options, "delimiter", "\t");
    }
    if named.compression.is_compressed() {
        set(&mut copy.options, "compression", compression_name(named.compression));
    }
    Ok(())
}

/// Adds an option, unless the statement has it.
fn set(options: &mut Vec<(String, Value)>, name: &str, value: &str) {
    let is = |key: &str| key.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(name));
    if !options.iter().any(|(key, _)| is(key)) {
        options.push((name.to_owned(), Value::SingleQuotedString(value.to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::{DFParser, Statement};

    use super::*;

    fn spelt(sql: &str, default: Default) -> (Option<String>, Vec<String>) {
        let Some(Statement::CopyTo(mut copy)) = DFParser::parse_sql(sql).unwrap().pop_front() else { panic!("{sql}") };
        spell_out(&mut copy, default).unwrap();
        (copy.stored_as, copy.options.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn names_tell_format_and_compression() {
        for (target, format, options) in [
            ("/a/x.csv", Some("CSV"), vec![]),
            ("/a/x.CSV.gz", Some("CSV"), vec!["compression='gzip'"]),
            ("./x.tsv", Some("CSV"), vec!["delimiter='\t'"]),
            ("./x.tab.bz2", Some("CSV"), vec!["delimiter='\t'", "compression='bzip2'"]),
            ("./x.ndjson.zst", Some("JSON"), vec!["compression='zstd'"]),
            ("./x.json", Some("JSON"), vec![]),
            ("./tree.json/", Some("JSON"), vec![]),
            ("./x.arrow", Some("ARROW"), vec![]),
            ("./x", None, vec![]),
            ("./a.csv/x", None, vec![]),
        ] {
            let found = spelt(&format!("COPY t TO '{target}'"), Default::None);
            assert_eq!(found.0.as_deref(), format, "{target}");
            assert_eq!(found.1, options, "{target}");
        }
        assert_eq!(spelt("COPY t TO 'x'", Default::Parquet).0.as_deref(), Some("PARQUET"));
        assert_eq!(spelt("COPY t TO 'x.csv' STORED AS ndjson", Default::Parquet).0.as_deref(), Some("JSON"));
        let tabs = spelt("COPY t TO 'x.txt' STORED AS TSV", Default::None);
        assert_eq!((tabs.0.as_deref(), tabs.1), (Some("CSV"), vec!["delimiter='\t'".to_owned()]));
        let packed = spelt("COPY t TO 'x.json.xz' STORED AS JSON", Default::None);
        assert_eq!((packed.0.as_deref(), packed.1), (Some("JSON"), vec!["compression='xz'".to_owned()]));
        assert_eq!(spelt("COPY t TO 'x.gz' STORED AS PARQUET", Default::None).1, [""; 0]);
        let own = spelt("COPY t TO 'x.csv.gz' OPTIONS ('format.compression' 'uncompressed')", Default::Parquet);
        assert_eq!(own.1, ["format.compression='uncompressed'"]);
    }

    #[test]
    fn a_name_of_what_is_not_written_is_refused() {
        for target in ["/d/x.avro", "x.parquet.gz", "/x.arrows", "./x.gz"] {
            let sql = format!("COPY t TO '{target}'");
            let Some(Statement::CopyTo(mut copy)) = DFParser::parse_sql(&sql).unwrap().pop_front() else {
                panic!("{sql}")
            };
            let error = spell_out(&mut copy, Default::Parquet).unwrap_err();
            let name = target.rsplit('/').next().unwrap();
            assert!(error.to_string().contains(&format!("the name '{name}' asks for: use .parquet")), "{error}");
        }
    }
}
