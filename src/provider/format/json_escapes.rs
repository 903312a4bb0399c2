//! Characters that JSON spells as escapes of two halves, as `\ud842\udfb7` for `𠮷`, as they are.
//!
//! Arrow's decoder takes those above U+1FFFF for others: it joins the halves by an OR where they have to be added.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion_datasource::boundary_stream::AlignedBoundaryStream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Attributes, Error as StoreError, GetOptions, GetResult, GetResultPayload, ObjectMeta, ObjectStore};
use parking_lot::Mutex;

use super::checked::stream_of;
use crate::provider::read_only::Reading;

/// How long an escape of two halves is.
const PAIR: usize = r"\ud842\udfb7".len();
/// How long one half is, or another escape by number.
const HALF: usize = PAIR / 2;

/// Gives the lines of a file of another store, or of a range of it, with such characters as they are. It is read once, from the front.
///
/// The lines of a range are told here: the text is shorter than it is in the file, so that its places are others.
#[derive(Debug)]
pub(super) struct SpelledStore {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) meta: ObjectMeta,
    /// The range of which the lines are read, those whose first byte is in it; all of the file if `None`.
    pub(super) range: Option<Range<u64>>,
}

impl fmt::Display for SpelledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, spelled", self.store)
    }
}

#[async_trait]
impl Reading for SpelledStore {
    fn below(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if options.range.is_some() {
            return Err(StoreError::NotSupported { source: "text is read from the front".into() });
        }
        let (meta, attributes, text) = match self.range.clone() {
            None => {
                let got = self.store.get_opts(location, options).await?;
                (got.meta.clone(), got.attributes.clone(), stream_of(got)?)
            }
            Some(range) => {
                let (store, size) = (Arc::clone(&self.store), self.meta.size);
                let lines =
                    AlignedBoundaryStream::new(store, location.clone(), range.start, range.end, size, b'\n').await?;
                (self.meta.clone(), Attributes::default(), lines.boxed())
            }
        };
        let range = 0..meta.size;
        Ok(GetResult { payload: GetResultPayload::Stream(spelled(text)), meta, range, attributes })
    }

    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        Err(StoreError::NotSupported { source: "text is read from the front".into() })
    }
}

fn spelled(text: BoxStream<'static, object_store::Result<Bytes>>) -> BoxStream<'static, object_store::Result<Bytes>> {
    let speller = Arc::new(Mutex::new(Speller::default()));
    let last = Arc::clone(&speller);
    let pieces = text.map(move |bytes| bytes.map(|bytes| speller.lock().spell(bytes)));
    // An escape that has no end: the decoder says so.
    let rest = stream::once(async move { Ok::<_, StoreError>(Bytes::from(std::mem::take(&mut last.lock().held))) });
    pieces.chain(rest).try_filter(|bytes| std::future::ready(!bytes.is_empty())).boxed()
}

/// Spells a text that comes in pieces.
#[derive(Debug, Default)]
struct Speller {
    /// The beginning of an escape, with which the last piece ended.
    held: Vec<u8>,
}

/// What begins at a backslash.
#[derive(Debug, PartialEq, Eq)]
enum Escape {
    /// So many bytes that stay as they are.
    Kept(usize),
    /// A character of [`PAIR`] bytes.
    Pair(char),
    /// What comes behind it tells.
    Cut,
}

impl Speller {
    /// The next bytes, as far as they are known.
    fn spell(&mut self, bytes: Bytes) -> Bytes {
        let bytes = match self.held.is_empty() {
            true => bytes,
            false => {
                let mut joined = std::mem::take(&mut self.held);
                joined.extend_from_slice(&bytes);
                Bytes::from(joined)
            }
        };
        let mut spelled: Vec<u8> = Vec::new();
        // Up to where bytes were spelled, and up to where they were looked at.
        let (mut done, mut at) = (0, 0);
        while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\\') {
            let begin = at + found;
            match escape(&bytes[begin..]) {
                Escape::Kept(length) => at = begin + length,
                Escape::Pair(character) => {
                    spelled.extend_from_slice(&bytes[done..begin]);
                    spelled.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    at = begin + PAIR;
                    done = at;
                }
                Escape::Cut => {
                    self.held = bytes[begin..].to_vec();
                    spelled.extend_from_slice(&bytes[done..begin]);
                    return Bytes::from(spelled);
                }
            }
        }
        if done == 0 {
            return bytes;
        }
        spelled.extend_from_slice(&bytes[done..]);
        Bytes::from(spelled)
    }
}

/// The escape that `text` begins with.
fn escape(text: &[u8]) -> Escape {
    match text.get(1) {
        None => return Escape::Cut,
        Some(b'u') => {}
        Some(_) => return Escape::Kept(2),
    }
    if text.len() < HALF {
        return Escape::Cut;
    }
    let high = match number(&text[2..HALF]) {
        // Those of U+20000 and above: others are decoded right.
        Some(high @ 0xd840..=0xdbff) => high,
        Some(_) => return Escape::Kept(HALF),
        None => return Escape::Kept(2),
    };
    let behind = &text[HALF..];
    if behind.len() < HALF {
        let begins = behind.iter().zip(br"\u").all(|(byte, begin)| byte == begin);
        return if begins { Escape::Cut } else { Escape::Kept(HALF) };
    }
    let low = behind.strip_prefix(br"\u").and_then(|digits| number(&digits[..HALF - 2]));
    match low.and_then(|low| char::decode_utf16([high, low]).next()) {
        Some(Ok(character)) => Escape::Pair(character),
        // The decoder refuses it.
        _ => Escape::Kept(HALF),
    }
}

/// What hexadecimal digits say.
fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0_u16, |number, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some((number << 4) | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_spelled_however_a_text_is_cut() {
        let texts = [
            (r#"{"a":"\ud842\udfb7"}"#, "{\"a\":\"\u{20bb7}\"}"),
            (r#""\uD842\uDFB7x\uDBFF\udfff""#, "\"\u{20bb7}x\u{10ffff}\""),
            // An escaped backslash, what is decoded right, what is no pair, what is no escape, and what has no end.
            (r#""\\ud842\udfb7 \\\ud842\udfb7""#, "\"\\\\ud842\\udfb7 \\\\\u{20bb7}\""),
            (r#""\ud83d\ude00 \u00e9 \n""#, r#""\ud83d\ude00 \u00e9 \n""#),
            (r#""\ud842 \ud842\n \ud842\u0041 \udfb7""#, r#""\ud842 \ud842\n \ud842\u0041 \udfb7""#),
            (r#""\uzzzz\"\ud842"#, r#""\uzzzz\"\ud842"#),
            (r"\ud842\udf", r"\ud842\udf"),
        ];
        for (text, expected) in texts {
            for step in 1..=text.len() {
                let mut speller = Speller::default();
                let mut spelled = Vec::new();
                for piece in text.as_bytes().chunks(step) {
                    spelled.extend_from_slice(&speller.spell(Bytes::from_static(piece)));
                }
                spelled.extend_from_slice(&speller.held);
                assert_eq!(std::str::from_utf8(&spelled), Ok(expected), "{step}");
            }
        }
    }
}
