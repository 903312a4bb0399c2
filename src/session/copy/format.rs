//! What a target's name says of its format, where the statement does not say it.

use datafusion::sql::parser::CopyToStatement;
use datafusion::sql::sqlparser::ast::Value;

/// The format of a target that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    /// There is none: DataFusion says so.
    None,
    Parquet,
}

/// Writes the format into the statement, and the compression, as DataFusion spells them. It knows `csv`, `json`, `parquet` and `arrow`,
/// and takes `.json` for one object a line.
pub(super) fn spell_out(copy: &mut CopyToStatement, default: Default) {
    if let Some(stored_as) = &mut copy.stored_as {
        if ["NDJSON", "JSONL"].iter().any(|name| stored_as.eq_ignore_ascii_case(name)) {
            "JSON".clone_into(stored_as);
        }
        return;
    }
    let name = copy.target.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let (stem, compression) = match name.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Some("gzip")),
        Some((stem, "bz2")) => (stem, Some("bzip2")),
        Some((stem, "xz")) => (stem, Some("xz")),
        Some((stem, "zst")) => (stem, Some("zstd")),
        _ => (name.as_str(), None),
    };
    let extension = stem.rsplit_once('.').map_or("", |(_, extension)| extension);
    let format = match extension {
        "csv" | "tsv" => "CSV",
        "json" | "ndjson" | "jsonl" => "JSON",
        "parquet" if compression.is_none() => "PARQUET",
        "arrow" if compression.is_none() => "ARROW",
        _ if default == Default::Parquet => "PARQUET",
        _ => return,
    };
    copy.stored_as = Some(format.to_owned());
    let mut set = |name: &str, value: &str| {
        let is = |key: &str| key.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(name));
        if !copy.options.iter().any(|(key, _)| is(key)) {
            copy.options.push((name.to_owned(), Value::SingleQuotedString(value.to_owned())));
        }
    };
    if extension == "tsv" {
        set("delimiter", "\t");
    }
    if let Some(compression) = compression.filter(|_| format != "PARQUET") {
        set("compression", compression);
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::{DFParser, Statement};

    use super::*;

    fn spelt(sql: &str, default: Default) -> (Option<String>, Vec<String>) {
        let Some(Statement::CopyTo(mut copy)) = DFParser::parse_sql(sql).unwrap().pop_front() else { panic!("{sql}") };
        spell_out(&mut copy, default);
        (copy.stored_as, copy.options.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn names_tell_format_and_compression() {
        for (target, format, options) in [
            ("/a/x.csv", Some("CSV"), vec![]),
            ("/a/x.CSV.gz", Some("CSV"), vec!["compression='gzip'"]),
            ("./x.tsv", Some("CSV"), vec!["delimiter='\t'"]),
            ("./x.ndjson.zst", Some("JSON"), vec!["compression='zstd'"]),
            ("./x.json", Some("JSON"), vec![]),
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
        let own = spelt("COPY t TO 'x.csv.gz' OPTIONS ('format.compression' 'uncompressed')", Default::Parquet);
        assert_eq!(own.1, ["format.compression='uncompressed'"]);
    }
}
