use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::resolve::tree::tree;

fn glob(text: &str) -> Glob {
    Glob::parse(text).unwrap()
}

fn path(text: &str) -> PondPath {
    PondPath::parse(text).unwrap()
}

fn captures(text: &str, of: &str) -> Option<Captures> {
    glob(text).matches(&path(of)).unwrap()
}

fn hits(text: &str, of: &str) -> bool {
    captures(text, of).is_some()
}

/// The named, then the positional captures; `-` where there is none.
fn shown(text: &str, of: &str) -> String {
    let Some(found) = captures(text, of) else { return "no match".to_owned() };
    let positional = found.positional.iter().map(|text| text.as_deref().unwrap_or("-"));
    let all: Vec<&str> = found.named.iter().map(|text| &**text).chain(positional).collect();
    all.join("|")
}

#[test]
fn wildcards_stay_within_a_component() {
    for (text, of, expected) in [
        ("/", "/", true),
        ("/a", "/a", true),
        ("/a", "/A", false),
        ("/*", "/", false),
        ("/*", "/a", true),
        ("/*", "/a/b", false),
        ("/a*", "/a", true),
        ("/*/b", "/a/b", true),
        ("/*/b", "/b", false),
        ("/?", "/a", true),
        ("/?", "/é", true),
        ("/?", "/ab", false),
        ("/??", "/é", false),
        ("/.*", "/.hidden", true),
        ("/*", "/.hidden", true),
        ("/*1", "/sensor11", true),
        ("/a*b", "/axbxb", true),
        ("/a*b", "/axbx", false),
        ("/*.series", "/temp.series", true),
        ("/*.series", "/temp.series.old", false),
    ] {
        assert_eq!(hits(text, of), expected, "{text} {of}");
    }
}

#[test]
fn classes() {
    for (text, yes, no) in [
        ("/[abc]", "abc", "d-]"),
        ("/[a-c]", "abc", "d-"),
        ("/[!a-c]", "d-!", "abc"),
        ("/[]a]", "]a", "[b"),
        ("/[!]a]", "[b", "]a"),
        ("/[]-a]", "]^_`a", "b-"),
        ("/[a-]", "a-", "b"),
        ("/[-a]", "a-", "b"),
        ("/[^a]", "^a", "b"),
        ("/[a!]", "a!", "b"),
        ("/[!!]", "a", "!"),
        ("/[a-cx-z0]", "abcxyz0", "dw1"),
        ("/[à-é]", "àé", "ae"),
        ("/[*]", "*", "a"),
        ("/[?]", "?", "a"),
        ("/[{]", "{", "a"),
        ("/[[]", "[", "a"),
        ("/]", "]", "a"),
        ("/}", "}", "a"),
        ("/,", ",", "a"),
        ("/!", "!", "a"),
    ] {
        for c in yes.chars() {
            assert!(hits(text, &format!("/{c}")), "{text} {c}");
        }
        for c in no.chars() {
            assert!(!hits(text, &format!("/{c}")), "{text} {c}");
        }
    }
}

#[test]
fn alternatives_take_the_longest_text() {
    for (text, of, expected) in [
        ("/{a,b}*", "/bcd", "cd"),
        ("/{a,ab}*", "/abc", "c"),
        ("/{a,ab}{c,bc}*", "/abc", ""),
        ("/f{,.gz}", "/f", ""),
        ("/f{,.gz}", "/f.gz", ""),
        ("/f{,.gz}", "/f.g", "no match"),
        ("/{*.csv,data-?}", "/x.csv", "x"),
        ("/{*.csv,data-?}", "/data-7", "-"),
        ("/{a*,*b}", "/ab", "b|-"),
        ("/{a*,*b}", "/xb", "-|x"),
        ("/*{a*c,b}*", "/xabcy", "xa|-|cy"),
        ("/*{[0-9],[x-z]*}", "/a7", "a|-"),
        ("/{[,],a}", "/,", ""),
        ("/{a,b}{c,d}", "/bc", ""),
        ("/{a,b}{c,d}", "/ca", "no match"),
    ] {
        assert_eq!(shown(text, of), expected, "{text} {of}");
    }
}

#[test]
fn earlier_wildcards_take_the_longest_text() {
    for (text, of, expected) in [
        ("/*1", "/sensor11", "sensor1"),
        ("/a*b", "/axbxb", "xbx"),
        ("/**/*", "/a/b/c", "a/b|c"),
        ("/**/*", "/a", "|a"),
        ("/*_*", "/a_b_c", "a_b|c"),
        ("/**/b/**", "/a/b/b/c", "a/b|c"),
        ("/**/b/**", "/a/b", "no match"),
        ("/a/**", "/a", "no match"),
        ("/a/**", "/a/b/c", "b/c"),
        ("/**/**", "/a/b", "a|b"),
        ("/a/**/b", "/a/b", ""),
        ("/a/**/b", "/a/x/y/b", "x/y"),
        ("/**", "/", "no match"),
        ("/locs/{site}/*.series", "/locs/BDock/temp.series", "BDock|temp"),
        ("/{a}{b}", "/xyz", "xyz|"),
        ("/{a}-{b}", "/1-2-3", "1-2|3"),
        ("/{a}", "/é", "é"),
    ] {
        assert_eq!(shown(text, of), expected, "{text} {of}");
    }
}

#[test]
fn a_repeated_name_matches_the_same_text() {
    for (text, of, expected) in [
        ("/{s}/{s}", "/a/a", "a"),
        ("/{s}/{s}", "/a/b", "no match"),
        ("/{s}{s}", "/abab", "ab"),
        ("/{s}{s}", "/aba", "no match"),
        ("/{s}*{s}", "/abab", "ab|"),
        ("/{s}*{s}", "/abxab", "ab|x"),
        ("/{s}*{s}", "/abxba", "a|bxb"),
        ("/{s}-{t}/{t}-{s}", "/a-b-c/c-a-b", "a-b|c"),
        ("/{s}-{t}/{t}-{s}", "/a-b-c/b-c-a", "a|b-c"),
        ("/*{s}/{s}", "/xab/b", "b|xa"),
        ("/*{s}/{s}*", "/xab/abc", "|xab|abc"),
        ("/*{s}/{s}c", "/xab/abc", "ab|x"),
        ("/{s}/**/{s}.csv", "/a/x/y/a.csv", "a|x/y"),
        ("/{s}/**/{s}", "/a/a/a", "a|a"),
        ("/**/{s}/{s}", "/a/a/b/b", "b|a/a"),
        ("/**/{s}/{s}/**", "/a/a/b/b/c", "b|a/a|c"),
        ("/**/{s}/{s}/**", "/a/a/b/b", "a||b/b"),
    ] {
        assert_eq!(shown(text, of), expected, "{text} {of}");
    }
}

#[test]
fn what_a_glob_tells_of_itself() {
    for (text, normal, names, positions, base, literal) in [
        ("/", "/", "", 0, "/", Some("/")),
        ("//a/./b/../c/", "/a/c", "", 0, "/a", Some("/a/c")),
        ("/a[*][?]b", "/a[*][?]b", "", 0, "/", Some("/a*?b")),
        ("/a/[x]/}", "/a/x/}", "", 0, "/a/x", Some("/a/x/}")),
        ("/a/b/*.c/**/d", "/a/b/*.c/**/d", "", 2, "/a/b", None),
        ("/{b}/{a}{b}/{c,d*}*", "/{b}/{a}{b}/{c,d*}*", "b a", 2, "/", None),
        ("/x/**", "/x/**", "", 1, "/x", None),
    ] {
        let glob = glob(text);
        assert_eq!(glob.to_string(), normal);
        assert_eq!(glob.capture_names().join(" "), names, "{text}");
        assert_eq!(glob.positional_count(), positions, "{text}");
        assert_eq!(glob.base().as_str(), base, "{text}");
        assert_eq!(glob.as_path().as_ref().map(PondPath::as_str), literal, "{text}");
        assert_eq!(Glob::parse(normal).unwrap(), glob);
    }
    assert_eq!(format!("{:?}", glob("/a*")), "\"/a*\"");
}

#[test]
fn relative_to_a_directory() {
    let directory = path("/a*/{b}");
    for (text, normal) in [
        ("*.csv", "/a[*]/[{]b}/*.csv"),
        ("../{x}", "/a[*]/{x}"),
        ("./../../c", "/c"),
        ("/d/*", "/d/*"),
        (".", "/a[*]/[{]b}"),
    ] {
        let glob = Glob::parse_relative(&directory, text).unwrap();
        assert_eq!(glob.as_str(), normal);
        assert_eq!(Glob::parse(normal).unwrap(), glob);
    }
    let relative = Glob::parse_relative(&directory, "*").unwrap();
    assert!(relative.matches(&path("/a*/{b}/x")).unwrap().is_some());
    assert!(relative.matches(&path("/ax/{b}/x")).unwrap().is_none());
    assert_eq!(relative.base(), directory);
}

#[test]
fn a_literal_matches_only_itself() {
    for text in ["/", "/a", "/a*b/[c]/{d,e}/?/**", "/{x}"] {
        let literal = Glob::literal(&path(text));
        assert_eq!(literal.as_path(), Some(path(text)));
        assert_eq!(Glob::parse(literal.as_str()).unwrap(), literal);
        assert_eq!(Glob::parse(literal.as_str()).unwrap().as_path(), Some(path(text)));
        assert_eq!(literal.matches(&path(text)).unwrap(), Some(Captures::default()));
    }
    assert_eq!(Glob::literal(&path("/a*")).matches(&path("/ab")).unwrap(), None);
}

#[test]
fn errors_name_the_place() {
    let long = format!("/{}", "x".repeat(256));
    for (text, message) in [
        ("", "'' is not a glob: at offset 0: a glob starts with '/'"),
        ("a", "'a' is not a glob: at offset 0: a glob starts with '/'"),
        ("/é/[a", "'/é/[a' is not a glob: at offset 3: '[' is not closed (a ']' at its start is literal)"),
        ("/[]", "'/[]' is not a glob: at offset 1: '[' is not closed (a ']' at its start is literal)"),
        ("/[!]", "'/[!]' is not a glob: at offset 1: '[' is not closed (a ']' at its start is literal)"),
        ("/[a/b]", "'/[a/b]' is not a glob: at offset 1: '[' is not closed (a ']' at its start is literal)"),
        ("/[ac-b]", "'/[ac-b]' is not a glob: at offset 3: the range 'c-b' is not in order"),
        ("/{a", "'/{a' is not a glob: at offset 1: '{' is not closed"),
        ("/{a,b/c}", "'/{a,b/c}' is not a glob: at offset 1: '{' is not closed"),
        ("/{a,{b}}", "'/{a,{b}}' is not a glob: at offset 4: braces cannot hold braces"),
        ("/x{}", "'/x{}' is not a glob: at offset 2: '{}' is empty"),
        (
            "/{1a}",
            "'/{1a}' is not a glob: at offset 1: '{1a}' is neither a name (letters, digits and '_', no digit first) \
             nor alternatives with ','",
        ),
        ("/a**", "'/a**' is not a glob: at offset 2: '**' must be a whole component"),
        ("/***", "'/***' is not a glob: at offset 1: '**' must be a whole component"),
        ("/{**,a}", "'/{**,a}' is not a glob: at offset 2: '**' must be a whole component"),
        ("/*/../a", "'/*/../a' is not a glob: at offset 3: '..' cannot follow a component with a wildcard"),
        ("/a/../..", "'/a/../..' is not a glob: at offset 6: '..' leads above the root of the pond"),
        ("/a\0*", "'/a\\0*' is not a glob: at offset 2: it holds a NUL character"),
    ] {
        let error = Glob::parse(text).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidGlob, message));
    }
    for text in [long.as_str(), "/[.].", &"/abcdefg".repeat(600), &format!("/{}", "*a".repeat(257))] {
        assert_eq!(Glob::parse(text).unwrap_err().kind(), ErrorKind::InvalidGlob, "{text}");
    }
    assert_eq!(Glob::parse_relative(&path("/a"), "../..").unwrap_err().kind(), ErrorKind::InvalidGlob);
    assert_eq!(Glob::parse_relative(&path("/a"), "").unwrap_err().kind(), ErrorKind::InvalidGlob);
}

#[test]
fn time_is_bounded() {
    let letters = format!("/{}", "a".repeat(255));
    let deep = "/a".repeat(2000);
    let started = Instant::now();
    for (text, of, expected) in [
        (format!("/{}b", "*a".repeat(60)), &letters, false),
        (format!("/{}?b*", "*a".repeat(60)), &letters, false),
        (format!("/{}b", "{a,aa}".repeat(60)), &letters, false),
        (format!("/{}[!a]", "{a*,*a,a}".repeat(40)), &letters, false),
        (format!("/{}", "{a*,*a,a}".repeat(80)), &letters, true),
        (format!("/*{}", "a*".repeat(60)), &letters, true),
        (format!("{}/b", "/**/a".repeat(100)), &deep, false),
        (format!("{}/**", "/**/a".repeat(100)), &deep, true),
        (format!("/{{x}}{}b{{x}}", "*a".repeat(20)), &letters, false),
    ] {
        assert_eq!(hits(&text, of), expected, "{text}");
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let two = path(&format!("{letters}{letters}"));
    for text in ["/{a}{b}{c}{d}x{a}{b}{c}{d}", "/*{a}*{b}*{c}*/x{a}{b}{c}"] {
        let of = if text.contains("/x") { &two } else { &path(&letters) };
        let error = glob(text).matches(of).unwrap_err();
        let message = format!("'{text}' needs too much backtracking: use fewer repeated names");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidGlob, message));
    }
    // Each pair of components leaves 256 readings, and all of them fail at the end.
    let twelve = path(&letters.repeat(12));
    let pairs: String = (0..6).map(|i| format!("/{{a{i}}}{{b{i}}}/{{a{i}}}{{b{i}}}")).collect();
    let text = format!("{pairs}/x");
    assert_eq!(glob(&text).matches(&twelve).unwrap(), None);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

fn expanded(state: &crate::State, text: &str) -> Vec<String> {
    expand(state, &glob(text)).unwrap().into_iter().map(|found| found.path.to_string()).collect()
}

#[test]
fn expands_in_the_order_of_paths() {
    let state = tree(&["/b/x.csv", "/b-c/x.csv", "/a/x.csv", "/a/y.txt", "/a/d/x.csv", "/e/"]);
    for (text, expected) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/none", ""),
        ("/a/x.csv/y", ""),
        ("/*", "/a /b /b-c /e"),
        ("/*/x.csv", "/a/x.csv /b-c/x.csv /b/x.csv"),
        ("/**/x.csv", "/a/d/x.csv /a/x.csv /b-c/x.csv /b/x.csv"),
        ("/**", "/a /a/d /a/d/x.csv /a/x.csv /a/y.txt /b /b-c /b-c/x.csv /b/x.csv /e"),
        ("/b*", "/b /b-c"),
        ("/a/**/**", "/a/d /a/d/x.csv /a/x.csv /a/y.txt"),
        ("/{a,e}/*", "/a/d /a/x.csv /a/y.txt"),
        ("/**/[x-y].*", "/a/d/x.csv /a/x.csv /a/y.txt /b-c/x.csv /b/x.csv"),
    ] {
        assert_eq!(expanded(&state, text).join(" "), expected, "{text}");
    }
    let found = expand(&state, &glob("/{site}/**/*.{csv,txt}")).unwrap();
    let first = &found[0];
    assert_eq!((first.path.as_str(), &*first.captures.named[0]), ("/a/d/x.csv", "a"));
    assert_eq!(first.captures.positional, [Some(Arc::from("d")), Some(Arc::from("x"))]);
    assert_eq!(state.path_of(first.node.id).unwrap(), first.path);
}

#[test]
fn names_bind_across_directories() {
    let state =
        tree(&["/a/a.csv", "/a/b.csv", "/b/b.csv", "/ab-c/c-ab", "/ab-c/b-c-a", "/x-y-z/y-z-x", "/x-y-z/z-x-y"]);
    assert_eq!(expanded(&state, "/{s}/{s}.csv"), ["/a/a.csv", "/b/b.csv"]);
    assert_eq!(expanded(&state, "/{s}-{t}/{t}-{s}"), ["/ab-c/c-ab", "/x-y-z/y-z-x", "/x-y-z/z-x-y"]);
    assert_eq!(
        expanded(&state, "/{s}*/{s}*"),
        ["/a/a.csv", "/a/b.csv", "/ab-c/b-c-a", "/ab-c/c-ab", "/b/b.csv", "/x-y-z/y-z-x", "/x-y-z/z-x-y"]
    );
}

#[test]
fn links_are_followed_and_real_paths_win() {
    let state = tree(&[
        "/m/real/f",
        "/a -> m/real",
        "/m/alias -> real",
        "/b/link -> ../m/real/f",
        "/b/abs -> /m/real/f",
        "/dangling -> nowhere",
        "/self -> self",
        "/b/file-as-dir -> link/x",
        "/z/only -> /hidden/g",
        "/y/only -> /hidden/g",
        "/hidden/g",
    ]);
    for (text, expected) in [
        ("/a", "/a"),
        ("/a/f", "/a/f"),
        ("/*/f", "/a/f"),
        ("/b/*", "/b/abs"),
        ("/m/*/f", "/m/real/f"),
        ("/**/f", "/m/real/f"),
        ("/*", "/a /b /hidden /m /y /z"),
        ("/dangling", ""),
        ("/self", ""),
        ("/self/*", ""),
        ("/?/only", "/y/only"),
        ("/{y,hidden}/*", "/hidden/g"),
        ("/**", "/b /hidden /hidden/g /m /m/real /m/real/f /y /z"),
    ] {
        assert_eq!(expanded(&state, text).join(" "), expected, "{text}");
    }
    let found = expand(&state, &glob("/b/{x}")).unwrap();
    assert_eq!(found[0].node.kind(), crate::EntryKind::File);
    assert_eq!(state.path_of(found[0].node.id).unwrap().as_str(), "/m/real/f");
    assert_eq!(&*found[0].captures.named[0], "abs");
}

#[test]
fn loops_are_cut() {
    let state = tree(&["/d/self -> .", "/d/up -> /", "/d/f", "/e/into -> ../d", "/e/g"]);
    assert_eq!(expanded(&state, "/**"), ["/d", "/d/f", "/e", "/e/g"]);
    assert_eq!(expanded(&state, "/e/**"), ["/e/g", "/e/into", "/e/into/f"]);
    assert_eq!(expanded(&state, "/d/self/self/f"), ["/d/self/self/f"]);
    assert_eq!(expanded(&state, "/d/*/*/d/f"), ["/d/self/up/d/f"]);
}

#[test]
fn links_between_all_directories_stay_cheap() {
    let mut entries = Vec::new();
    for from in 0..25 {
        entries.push(format!("/d{from:02}/f"));
        entries.extend((0..25).map(|to| format!("/d{from:02}/l{to:02} -> ../d{to:02}")));
    }
    let state = tree(&entries.iter().map(String::as_str).collect::<Vec<_>>());
    let started = Instant::now();
    let reals: Vec<String> = (0..25).map(|i| format!("/d{i:02}/f")).collect();
    assert_eq!(expanded(&state, "/**/f"), reals);
    assert_eq!(expanded(&state, "/*/*/*/*/*/*/f").len(), 25);
    assert_eq!(expanded(&state, "/d00/**/f").len(), 25);
    assert_eq!(expanded(&state, "/d{a}/*{b}/*{b}/*{a}/f").len(), 25);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

mod reference;
