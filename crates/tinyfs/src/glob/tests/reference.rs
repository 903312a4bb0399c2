//! A matcher that tries everything, to compare with.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Item {
    Literal(char),
    One,
    Class(bool, char),
    Star,
    Name(usize),
    Alternatives(Vec<Vec<Self>>),
}

#[derive(Debug, Clone)]
enum Part {
    AnyDepth,
    Items(Vec<Item>),
}

const NAMES: [&str; 2] = ["x", "y"];

/// One complete reading: named texts, positional texts.
type Reading = (Vec<Option<String>>, Vec<Option<String>>);

fn leaf() -> impl Strategy<Value = Item> + Clone {
    let letter = prop::sample::select(vec!['a', 'b', '*', '?']);
    prop_oneof![
        3 => letter.prop_map(Item::Literal),
        1 => Just(Item::One),
        1 => (any::<bool>(), prop::sample::select(vec!['a', 'b'])).prop_map(|(negated, c)| Item::Class(negated, c)),
        3 => Just(Item::Star),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    let alternatives = prop::collection::vec(prop::collection::vec(leaf(), 0..3), 2..4).prop_map(Item::Alternatives);
    let item = prop_oneof![4 => leaf(), 3 => (0..2usize).prop_map(Item::Name), 1 => alternatives];
    prop_oneof![
        1 => Just(Part::AnyDepth),
        3 => prop::collection::vec(item, 1..5).prop_map(Part::Items),
    ]
}

fn write(items: &[Item], text: &mut String) {
    for item in items {
        match item {
            Item::Literal(c @ ('*' | '?')) => text.extend(['[', *c, ']']),
            Item::Literal(c) => text.push(*c),
            Item::One => text.push('?'),
            Item::Class(negated, c) => text.push_str(&format!("[{}{c}-{c}]", if *negated { "!" } else { "" })),
            Item::Star => text.push('*'),
            Item::Name(name) => text.push_str(&format!("{{{}}}", NAMES[*name])),
            Item::Alternatives(all) => {
                let all: Vec<String> = all
                    .iter()
                    .map(|items| {
                        let mut text = String::new();
                        write(items, &mut text);
                        text
                    })
                    .collect();
                text.push_str(&format!("{{{}}}", all.join(",")));
            }
        }
    }
}

fn stars(items: &[Item]) -> usize {
    items
        .iter()
        .map(|item| match item {
            Item::Star => 1,
            Item::Alternatives(all) => all.iter().map(|items| stars(items)).sum(),
            _ => 0,
        })
        .sum()
}

/// All ways in which `items` take the start of `text`, best first: the reading, and what is left.
fn ways<'t>(items: &[Item], text: &'t str, reading: &Reading) -> Vec<(Reading, &'t str)> {
    let Some((first, rest)) = items.split_first() else { return vec![(reading.clone(), text)] };
    let mut taken: Vec<(Reading, &str)> = Vec::new();
    let one = text.chars().next();
    match first {
        Item::Literal(c) => taken.extend(text.strip_prefix(*c).map(|left| (reading.clone(), left))),
        Item::One => taken.extend(one.map(|c| (reading.clone(), &text[c.len_utf8()..]))),
        Item::Class(negated, c) => {
            taken.extend(one.filter(|o| (o == c) != *negated).map(|c| (reading.clone(), &text[c.len_utf8()..])))
        }
        Item::Star => {
            for end in (0..=text.len()).rev() {
                let mut reading = reading.clone();
                reading.1.push(Some(text[..end].to_owned()));
                taken.push((reading, &text[end..]));
            }
        }
        Item::Name(name) => {
            for end in (0..=text.len()).rev() {
                let mut reading = reading.clone();
                if reading.0[*name].as_deref().is_none_or(|bound| bound == &text[..end]) {
                    reading.0[*name] = Some(text[..end].to_owned());
                    taken.push((reading, &text[end..]));
                }
            }
        }
        Item::Alternatives(all) => {
            for end in (0..=text.len()).rev() {
                for (index, items) in all.iter().enumerate() {
                    let mut inner = reading.clone();
                    inner.1.extend(vec![None; all[..index].iter().map(|items| stars(items)).sum()]);
                    for (mut inner, left) in ways(items, &text[..end], &inner) {
                        if left.is_empty() {
                            inner.1.extend(vec![None; all[index + 1..].iter().map(|items| stars(items)).sum()]);
                            taken.push((inner, &text[end..]));
                        }
                    }
                }
            }
        }
    }
    taken.into_iter().flat_map(|(reading, left)| ways(rest, left, &reading)).collect()
}

fn best(parts: &[Part], names: &[&str], reading: &Reading) -> Option<Reading> {
    let Some((first, rest)) = parts.split_first() else { return names.is_empty().then(|| reading.clone()) };
    match first {
        Part::AnyDepth => (0..=names.len()).rev().filter(|count| !rest.is_empty() || *count > 0).find_map(|count| {
            let mut reading = reading.clone();
            reading.1.push(Some(names[..count].join("/")));
            best(rest, &names[count..], &reading)
        }),
        Part::Items(items) => {
            let (name, below) = names.split_first()?;
            ways(items, name, reading)
                .into_iter()
                .filter(|(_, left)| left.is_empty())
                .find_map(|(reading, _)| best(rest, below, &reading))
        }
    }
}

fn text_of(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        text.push('/');
        match part {
            Part::AnyDepth => text.push_str("**"),
            Part::Items(items) => write(items, &mut text),
        }
    }
    text
}

/// Takes out what cannot be written: two stars in a row.
fn writable(parts: Vec<Part>) -> Vec<Part> {
    fn clean(items: Vec<Item>) -> Vec<Item> {
        let mut kept: Vec<Item> = Vec::new();
        for item in items {
            let item = match item {
                Item::Alternatives(all) => Item::Alternatives(all.into_iter().map(clean).collect()),
                item => item,
            };
            if !(matches!(item, Item::Star) && matches!(kept.last(), Some(Item::Star))) {
                kept.push(item);
            }
        }
        kept
    }
    parts.into_iter().map(|part| if let Part::Items(items) = part { Part::Items(clean(items)) } else { part }).collect()
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    prop::collection::vec(part(), 1..4).prop_map(writable)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab]{1,4}|[ab*?]{1,3}", 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn matches_as_the_reference_does(parts in parts(), names in names()) {
        let text = text_of(&parts);
        let glob = Glob::parse(&text).unwrap();
        let path = PondPath::parse(&format!("/{}", names.join("/"))).unwrap();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let expected = best(&parts, &names, &(vec![None; 2], Vec::new())).map(|(named, positional)| {
            let named = glob
                .capture_names()
                .iter()
                .map(|name| named[NAMES.iter().position(|known| **known == **name).unwrap()].clone().unwrap())
                .map(Arc::from)
                .collect();
            Captures { named, positional: positional.into_iter().map(|text| text.map(Arc::from)).collect() }
        });
        prop_assert_eq!(glob.matches(&path).unwrap(), expected, "{} on {}", glob, path);
    }

    #[test]
    fn expands_to_every_path_that_matches(parts in parts(), paths in prop::collection::vec(names(), 1..8)) {
        let mut entries: Vec<String> = paths.iter().map(|names| format!("/{}/", names.join("/"))).collect();
        entries.sort();
        let state = tree(&entries.iter().map(String::as_str).collect::<Vec<_>>());
        let glob = Glob::parse(&text_of(&parts)).unwrap();
        let mut all = BTreeSet::new();
        for entry in &entries {
            let mut at = Some(PondPath::parse(entry).unwrap());
            while let Some(path) = at {
                at = path.parent();
                let _ = all.insert(path);
            }
        }
        let expected: Vec<(PondPath, Captures)> = all
            .into_iter()
            .filter_map(|path| glob.matches(&path).unwrap().map(|captures| (path, captures)))
            .collect();
        let found: Vec<(PondPath, Captures)> =
            expand(&state, &glob).unwrap().into_iter().map(|found| (found.path, found.captures)).collect();
        prop_assert_eq!(found, expected, "{}", glob);
    }
}
