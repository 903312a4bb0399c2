use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, TokenizerError};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::{proptest, sample};

use super::{Piece, PieceKind, Position, Splitter};

fn split(text: &str) -> Vec<Piece> {
    let mut splitter = Splitter::new();
    splitter.push(text);
    std::iter::from_fn(|| splitter.next_piece()).collect::<Vec<_>>().into_iter().chain(rest(&mut splitter)).collect()
}

fn rest(splitter: &mut Splitter) -> Vec<Piece> {
    std::iter::from_fn(|| splitter.finish()).collect()
}

fn texts(text: &str) -> Vec<String> {
    split(text).into_iter().map(|piece| piece.text).collect()
}

#[test]
fn a_semicolon_in_a_token_ends_nothing() {
    for text in [
        "select ';'",
        "select 'it''s;'",
        "select e'it\\'s;'",
        "select \"a;b\"",
        "select `a;b`",
        "select $$a;b$$",
        "select $tag$a;$$;b$tag$",
        "select 1 -- a;b\n+ 1",
        "select /* a;b /* ;c */ ;d */ 1",
        "select R'''a;'b;'''",
        "select q'[a;']b;]'",
        "select 1e'a\\';'",
    ] {
        assert_eq!(texts(&format!("{text}; select 2;")), [text, "select 2"], "{text}");
    }
}

#[test]
fn comments_alone_are_no_statement() {
    assert_eq!(texts("-- only a comment"), [""; 0]);
    assert_eq!(texts("/* one */ ; ;; -- two\n ;"), [""; 0]);
    assert_eq!(texts("-- first\nselect 1 -- last"), ["select 1 -- last"]);
}

#[test]
fn an_operator_can_start_a_statement() {
    assert_eq!(texts("- 1; / 2; -"), ["- 1", "/ 2", "-"]);
}

#[test]
fn the_last_statement_needs_no_semicolon() {
    assert_eq!(texts("select 1; select 2"), ["select 1", "select 2"]);
    assert_eq!(texts("select 'open; "), ["select 'open;"]);
}

#[test]
fn positions_count_bytes_lines_and_characters() {
    let pieces = split("/* é */ select 1;\n\n  select 2");
    assert_eq!(pieces[0].position, Position { byte: 9, line: 1, column: 9 });
    assert_eq!(pieces[1].position, Position { byte: 22, line: 3, column: 3 });
}

#[test]
fn a_backslash_starts_a_command_between_statements_only() {
    let pieces = split("\\cd /a;b\nselect '\n\\q\n' \\ 1;\n  \\put a b");
    let found: Vec<_> = pieces.iter().map(|piece| (piece.kind, piece.text.as_str())).collect();
    assert_eq!(
        found,
        [
            (PieceKind::Command, "\\cd /a;b"),
            (PieceKind::Sql, "select '\n\\q\n' \\ 1"),
            (PieceKind::Command, "\\put a b")
        ]
    );
}

#[test]
fn a_first_line_for_the_kernel_is_skipped() {
    let pieces = split("#!/usr/bin/env -S pondsql -f\nselect 1");
    assert_eq!(pieces.len(), 1);
    assert_eq!((pieces[0].text.as_str(), pieces[0].position.line), ("select 1", 2));
}

#[test]
fn it_knows_when_nothing_is_open() {
    for (text, between) in [
        ("", true),
        ("select 1;\n", true),
        ("-- note\n", true),
        ("\\d\n", true),
        ("select 1", false),
        ("select ';\n", false),
        ("/* open\n", false),
        ("-", false),
    ] {
        let mut splitter = Splitter::new();
        splitter.push(text);
        assert_eq!(splitter.is_between_statements(), between, "{text:?}");
    }
}

fn fragment() -> impl Strategy<Value = String> {
    let inside = || sample::select(vec!["", ";", "a", "''", "--", "/*", "*/", "$$", "\n", "\"", "\\\\", "é"]);
    let body = move || proptest::collection::vec(inside(), 0..4).prop_map(|parts| parts.concat());
    prop_oneof![
        4 => sample::select(vec![
            ";", " ", "\n", "a", "e", "E", "x", "X", "n", "nq", "q", "b", "r", "R", "u&", "u", "_1", "$1", "$a", "1", "0", "0x1F",
            "1e5", "1e", "1e-", "2.5e+3", ".", ".5", "L", "-", "/", "*", "+", "(", ",", "=", "||", "|", "é", "'", "''", "\"", "$$",
        ]).prop_map(str::to_owned),
        2 => body().prop_map(|body| format!("'{body}'")),
        1 => body().prop_map(|body| format!("e'{body}\\''")),
        1 => body().prop_map(|body| format!("r'{body}'")),
        1 => body().prop_map(|body| format!("R'''{body}'''")),
        1 => body().prop_map(|body| format!("q'[{body}]'")),
        1 => body().prop_map(|body| format!("\"{}\"", body.replace('"', "\"\""))),
        1 => body().prop_map(|body| format!("$$ {body} ")),
        1 => body().prop_map(|body| format!("$t${body}$t$")),
        1 => body().prop_map(|body| format!("--{body}\n")),
        1 => body().prop_map(|body| format!("/* {body} */")),
    ]
}

/// The tokens of each statement, without comments and space, as the tokenizer sees them.
fn tokens(text: &str) -> Result<Vec<Vec<Token>>, TokenizerError> {
    let mut statements = vec![Vec::new()];
    for token in Tokenizer::new(&GenericDialect {}, text).tokenize()? {
        match token {
            Token::SemiColon => statements.push(Vec::new()),
            Token::Whitespace(_) => {}
            token => statements.last_mut().unwrap().push(token),
        }
    }
    statements.retain(|statement| !statement.is_empty());
    Ok(statements)
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 4096, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_layout_is_cut_as_the_tokenizer_cuts_it(
        fragments in proptest::collection::vec(fragment(), 0..12),
        cuts in proptest::collection::vec(any::<sample::Index>(), 0..4),
    ) {
        let text = fragments.concat();
        // A backslash outside of a string is no SQL; between statements it is a command.
        if let Ok(expected) = tokens(&text) && !expected.concat().contains(&Token::Backslash) {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            ends.push(text.len());
            ends.sort_unstable();
            let mut splitter = Splitter::new();
            let (mut from, mut pieces) = (0, Vec::new());
            for end in ends {
                if text.is_char_boundary(end) {
                    splitter.push(&text[from..end]);
                    from = end;
                    pieces.extend(std::iter::from_fn(|| splitter.next_piece()));
                }
            }
            pieces.extend(rest(&mut splitter));
            let found: Vec<Vec<Token>> = pieces.iter().map(|piece| tokens(&piece.text).unwrap().concat()).collect();
            proptest::prop_assert_eq!(found, expected, "{:?}", text);
            for piece in pieces {
                let at = usize::try_from(piece.position.byte).unwrap();
                proptest::prop_assert!(text[at..].starts_with(&piece.text));
            }
        }
    }
}
