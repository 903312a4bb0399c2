//! Limits on a statement, checked on its tokens, before anything recursive sees it.
//!
//! The SQL parser, the planner and the optimiser recurse once per operator of a chain such as `1 + 1 + …`, and so do the
//! destructors of what they build. Planning runs on a large stack (see `catalog::now`); these limits keep within it.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Error, ErrorKind, Result};

/// The longest statement, in bytes.
pub const MAX_STATEMENT_BYTES: usize = 64 * 1024 * 1024;
/// How many operators one expression may chain or nest.
pub const MAX_CHAINED_OPERATORS: usize = 1_000;
/// How many tables one `FROM` may list, and how many one `WITH` may define.
pub const MAX_LISTED_TABLES: usize = 200;
/// How many arms one `UNION`, `EXCEPT` or `INTERSECT` may have.
pub const MAX_UNION_ARMS: usize = 500;

/// How much of each limit one pair of parentheses, or the statement as a whole, has used.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    operators: usize,
    arms: usize,
    /// Tables in the `FROM` or `WITH` that is being read; `None` in other clauses.
    tables: Option<usize>,
}

/// Refuses a statement that is beyond the limits.
///
/// # Errors
/// [`ErrorKind::Limit`], naming the limit and what to do. A text that has no tokens in it is the parser's to refuse.
pub(crate) fn check(sql: &str) -> Result<()> {
    if sql.len() > MAX_STATEMENT_BYTES {
        let message = format!(
            "the statement is {} bytes long, and {MAX_STATEMENT_BYTES} is the limit; load the data from a file",
            sql.len()
        );
        return Err(Error::new(ErrorKind::Limit, message));
    }
    // Short statements, nearly all, cannot reach a limit: the shortest operator with its operand takes two bytes.
    if sql.len() < 2 * MAX_UNION_ARMS {
        return Ok(());
    }
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let mut open = vec![Used::default()];
    for token in tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))) {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => open.push(Used::default()),
            Token::RParen | Token::RBracket | Token::RBrace if open.len() > 1 => {
                let _ = open.pop();
            }
            // The elements of a list do not nest in each other.
            Token::Comma => {
                if let Some(used) = open.last_mut() {
                    used.operators = 0;
                    used.tables = used.tables.map(|tables| tables + 1);
                    if used.tables > Some(MAX_LISTED_TABLES) {
                        let message = format!(
                            "the statement lists more than {MAX_LISTED_TABLES} tables in one FROM or WITH; read files with a glob, as in pond('/…/*')"
                        );
                        return Err(Error::new(ErrorKind::Limit, message));
                    }
                }
            }
            token => {
                if let Some(used) = open.last_mut() {
                    if let Token::Word(word) = token {
                        match word.keyword {
                            Keyword::FROM | Keyword::WITH => used.tables = Some(1),
                            Keyword::SELECT | Keyword::WHERE | Keyword::GROUP | Keyword::ORDER | Keyword::HAVING => {
                                used.tables = None;
                            }
                            _ => {}
                        }
                    }
                    used.operators += usize::from(is_operator(token));
                    used.arms += usize::from(is_set_operator(token));
                    if used.arms >= MAX_UNION_ARMS {
                        let message = format!(
                            "the statement unites more than {MAX_UNION_ARMS} queries; put the files under one glob and read them with pond()"
                        );
                        return Err(Error::new(ErrorKind::Limit, message));
                    }
                }
                if is_operator(token) && open.iter().map(|used| used.operators).sum::<usize>() > MAX_CHAINED_OPERATORS {
                    let message = format!(
                        "the statement chains more than {MAX_CHAINED_OPERATORS} operators in one expression; use IN (…) or a table of values"
                    );
                    return Err(Error::new(ErrorKind::Limit, message));
                }
            }
        }
    }
    Ok(())
}

fn is_set_operator(token: &Token) -> bool {
    matches!(token, Token::Word(word) if matches!(word.keyword, Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT))
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::CASE
                | Keyword::JOIN
                | Keyword::XOR
                | Keyword::DIV
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::SIMILAR
                | Keyword::REGEXP
                | Keyword::RLIKE
                | Keyword::OVERLAPS
        ),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::Placeholder(_)
        | Token::Period
        | Token::Comma
        | Token::SemiColon
        | Token::LParen
        | Token::RParen
        | Token::LBracket
        | Token::RBracket
        | Token::LBrace
        | Token::RBrace
        | Token::EOF => false,
        // Whatever else is no word, literal or bracket stands between two operands, in one dialect or another.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(sql: &str) -> Option<ErrorKind> {
        check(sql).err().map(|error| error.kind())
    }

    #[test]
    fn chains_have_a_limit() {
        let chain = |operators: usize| format!("SELECT 1{}", " + 1".repeat(operators));
        assert_eq!(kind(&chain(MAX_CHAINED_OPERATORS)), None);
        assert_eq!(kind(&chain(MAX_CHAINED_OPERATORS + 1)), Some(ErrorKind::Limit));
        assert_eq!(kind(&format!("SELECT {}1{}", "(1 + ".repeat(3000), ")".repeat(3000))), Some(ErrorKind::Limit));
    }

    #[test]
    fn unions_have_a_limit() {
        let union = |arms: usize| vec!["SELECT 1"; arms].join(" UNION ALL ");
        assert_eq!(kind(&union(MAX_UNION_ARMS)), None);
        assert_eq!(kind(&union(MAX_UNION_ARMS + 1)), Some(ErrorKind::Limit));
    }

    #[test]
    fn operators_of_other_dialects_count() {
        assert_eq!(kind(&format!("SELECT 1{}", " << 0".repeat(10_000))), Some(ErrorKind::Limit));
        assert_eq!(kind(&format!("SELECT true{}", " XOR true".repeat(10_000))), Some(ErrorKind::Limit));
    }

    #[test]
    fn tables_of_a_from_and_a_with_have_a_limit() {
        let from = |tables: usize| format!("SELECT count(*) FROM {}", vec!["t"; tables].join(", "));
        assert_eq!(kind(&from(MAX_LISTED_TABLES)), None);
        assert_eq!(kind(&from(600)), Some(ErrorKind::Limit));
        let ctes: Vec<String> = (0..3000).map(|n| format!("a{n} AS (SELECT 1)")).collect();
        assert_eq!(kind(&format!("WITH {} SELECT 1", ctes.join(", "))), Some(ErrorKind::Limit));
    }

    #[test]
    fn lists_have_none() {
        let rows: Vec<String> = (0..20_000).map(|n| format!("(-{n}, 'a + b', -1)")).collect();
        assert_eq!(kind(&format!("INSERT INTO '/t' VALUES {}", rows.join(", "))), None);
        let list: Vec<String> = (0..20_000).map(|n| format!("-{n}")).collect();
        assert_eq!(kind(&format!("SELECT * FROM t WHERE a IN ({})", list.join(","))), None);
    }
}
