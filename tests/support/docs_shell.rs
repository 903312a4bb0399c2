//! The examples of the pages in `docs/`, run as a reader runs them. An example is a block of `sh` or `sql` and the block of `text` after it, with no heading
//! between them: what it prints, errors last.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{pondsql, start, text};

/// A block, and what it is to print.
#[derive(Debug, PartialEq, Eq)]
struct Example {
    is_shell: bool,
    input: String,
    printed: String,
}

/// The examples of a page.
fn examples(page: &str) -> Vec<Example> {
    let (mut found, mut input) = (Vec::new(), None);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            input = None;
        }
        let Some(kind) = line.strip_prefix("```") else { continue };
        let block: String = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
        input = match (kind, input) {
            ("sh" | "sql", _) => Some((kind == "sh", block)),
            ("text", Some((is_shell, input))) => {
                found.push(Example { is_shell, input, printed: block });
                None
            }
            _ => None,
        };
    }
    found
}

/// Runs the examples of a page one after the other, in an empty directory that is the reader's home. Returns how many there were.
fn run_page(page: &str) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let examples = examples(page);
    for example in &examples {
        let mut command = match example.is_shell {
            true => Command::new("sh"),
            false => pondsql(),
        };
        let _ = match example.is_shell {
            true => command.arg("-eu"),
            false => command.args(["-f", "-"]),
        };
        // The program is found by its name.
        let program = Path::new(env!("CARGO_BIN_EXE_pondsql")).parent().unwrap().to_owned();
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::env::join_paths([program].into_iter().chain(std::env::split_paths(&paths))).unwrap();
        command.current_dir(directory.path()).env("HOME", directory.path()).env("PATH", paths);
        let mut child = start(command.env_remove("POND").env_remove("NO_COLOR").stdin(Stdio::piped()));
        child.stdin.take().unwrap().write_all(example.input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let printed = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(printed, example.printed, "{}", example.input);
    }
    examples.len()
}

#[test]
fn a_page_has_these_examples() {
    let page = "```sql\nSELECT 1\n```\nis\n\n```text\n1\n2\n```\n```text\n3\n```\n```sh\n# no heading\n```\n## Next\n```text\n4\n```\n\
                ```sh\na\n```\n```sql\nb\n```\n```text\n```\n";
    let example =
        |input: &str, printed: &str| Example { is_shell: false, input: input.to_owned(), printed: printed.to_owned() };
    assert_eq!(examples(page), [example("SELECT 1\n", "1\n2\n"), example("b\n", "")]);
}

#[test]
fn the_examples_of_the_pages_print_what_the_pages_say() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages = BTreeSet::new();
    for entry in std::fs::read_dir(docs).unwrap() {
        let path = entry.unwrap().path();
        let page = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // That needs a service.
        if name != "hydrovu.md" {
            assert!(run_page(&page) > 0, "{name} has no example that is run");
        }
        let _ = pages.insert(name);
    }
    for name in ["directory.md", "factories.md", "hydrovu.md", "synthetic.md"] {
        assert!(pages.contains(name), "there is no page {name}");
    }
}

/// The page is run as it stands, but for where the service is, and the secret.
#[cfg(feature = "hydrovu")]
#[test]
fn the_example_of_the_service_prints_what_its_page_says() {
    use super::hydrovu_service::{BEGIN, Paging, Parameter, SECRET, Service, device};

    // In hundredths: what the first hour has, and by how much each hour has more.
    let rising = |id, unit, hours: i64, first: i64, more: i64| Parameter {
        id,
        unit,
        readings: (0..hours).map(|hour| (BEGIN + hour * 3_600, (first + more * hour) as f64 / 100.0)).collect(),
        odd: std::collections::BTreeMap::new(),
    };
    let service = Service::start(vec![
        device("4990594334457856", "BDockVulink", vec![rising("1", "1", 48, 1_090, 25)]),
        device(
            "6154708427603968",
            "BDockAT500",
            vec![rising("1", "1", 40, 1_110, 25), rising("20", "117", 40, 820, -2)],
        ),
    ]);
    service.page_by(Paging::Even(500));
    let mut page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hydrovu.md")).unwrap();
    for (written, here) in [
        ("export HYDROVU_SECRET='…'", format!("export HYDROVU_SECRET='{SECRET}'")),
        ("LOCATION 'https://www.hydrovu.com'", format!("LOCATION '{}'", service.url())),
        ("OPTIONS ('client_id' 'noyo',", "OPTIONS ('allow_private' 'true', 'client_id' 'noyo',".to_owned()),
    ] {
        assert_eq!(page.matches(written).count(), 1, "{written}");
        page = page.replace(written, &here);
    }
    assert_eq!(run_page(&page), 1);
}
