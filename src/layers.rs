//! The layers of this crate, as a table of who may name whom.

use std::path::{Path, PathBuf};

/// Each module, and the modules of this crate that it may name. What the crate's root exports, everybody may.
const EDGES: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("provider", &["error", "testing"]),
    ("factory", &["error", "provider"]),
    ("catalog", &["error", "pond", "provider"]),
    ("udtf", &["catalog", "error", "pond", "provider"]),
    ("builder", &["catalog", "error", "pond", "provider", "udtf"]),
    ("session", &["builder", "catalog", "error", "pond", "provider", "testing", "udtf"]),
    ("location", &["error", "pond"]),
    ("pond", &["catalog", "error", "factory", "location", "provider", "session", "udtf"]),
    ("shell", &["error", "factory"]),
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
        let is_store_file = module == "location" || module == "layers";
        if !is_store_file && text.contains("tlogfs::") {
            broken.push(format!("{} names a store", inner.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
