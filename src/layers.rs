//! The layers of this crate, as a table of who may name whom.

use std::path::{Path, PathBuf};

/// Each module, and the modules of this crate that it may name.
const EDGES: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("provider", &["error", "testing"]),
    ("factory", &["error", "provider"]),
    ("location", &["error"]),
    ("catalog", &["error", "location", "provider"]),
    ("udtf", &["catalog", "error", "provider"]),
    ("builder", &["catalog", "error", "pond", "provider", "udtf"]),
    ("session", &["builder", "catalog", "error", "pond", "provider", "testing", "udtf"]),
    ("pond", &["catalog", "error", "factory", "location", "provider", "session", "udtf"]),
    ("shell", &["error", "factory", "session"]),
    ("main", &[]),
    ("lib", &[]),
    ("layers", &[]),
    ("testing", &[]),
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules that a text names as `crate::module`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        (end > 0 && rest[end..].starts_with("::")).then_some(&rest[..end])
    })
}

/// Modules that may name what the crate's root exports: the root names all layers, and so do they.
const ABOVE: &[&str] = &["session", "pond", "builder", "shell", "main", "lib", "layers", "testing"];

/// The lines of a text that name what the root exports, as `crate::Name` or `crate::{`. Links in comments are no use of it.
fn named_of_root(text: &str) -> impl Iterator<Item = &str> {
    let of_root = |line: &str| {
        line.split("crate::").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase() || c == '{'))
    };
    text.lines().map(str::trim).filter(move |line| !line.starts_with("//") && of_root(line))
}

#[test]
fn modules_name_only_the_layers_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for path in sources(&root) {
        let text = std::fs::read_to_string(&path).unwrap();
        let inner = path.strip_prefix(&root).unwrap();
        let module =
            inner.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{module} is in no layer"));
            continue;
        };
        for name in named(&text) {
            if name != module && !allowed.contains(&name) {
                broken.push(format!("{} names {name}", inner.display()));
            }
        }
        let is_test =
            inner.components().any(|part| part.as_os_str().to_str().unwrap().trim_end_matches(".rs") == "tests");
        if !is_test && !ABOVE.contains(&&*module) {
            // Unit tests at the end of a file may use all of the crate.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            broken.extend(named_of_root(code).map(|line| format!("{} names the root: {line}", inner.display())));
        }
        let is_store_file = module == "location" || module == "layers";
        if !is_store_file && text.contains("tlogfs::") {
            broken.push(format!("{} names a store", inner.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
