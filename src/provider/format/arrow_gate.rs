//! A look at Arrow IPC before anything trusts it.
//!
//! The decoder takes places and lengths as they are: it allocates what a message claims, and panics where a block is not
//! in the file. So every message's frame is checked here, without its data.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc;
use datafusion::arrow::ipc::convert::fb_to_schema;
use object_store::ObjectStoreExt;

use super::SourceFile;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8] = b"ARROW1";
/// What messages begin with; ones of Arrow before 0.15 do not.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// A footer's length, and the magic.
const TAIL: u64 = 10;
/// The longest footer or head of a message.
const MAX_METADATA: u64 = 64 << 20;
/// How many bytes one of LZ4 stands for at most.
const LZ4_RATIO: u64 = 255;
/// The same of zstd: a block of 128 KiB of one byte takes four.
const ZSTD_RATIO: u64 = 32 << 10;
/// Beyond so much, zstd is believed less, for what is claimed is allocated.
const ZSTD_BELIEVED: u64 = 256 << 20;
const ZSTD_RATIO_BEYOND: u64 = 4096;
/// How many messages are read at once.
const BATCH: usize = 64;

/// The two ways that IPC is kept in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    File,
    Stream,
}

/// Checks every message of a file, and gives its columns.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), saying what is wrong.
pub(super) async fn look(file: &SourceFile<'_>) -> Result<(Schema, Layout)> {
    let size = file.meta.size;
    if read(file, 0..size.min(8)).await?.starts_with(MAGIC) {
        Ok((look_at_file(file).await?, Layout::File))
    } else {
        Ok((look_at_stream(file).await?, Layout::Stream))
    }
}

async fn look_at_file(file: &SourceFile<'_>) -> Result<Schema> {
    let size = file.meta.size;
    if size < TAIL + 8 {
        return Err(broken(format!("{size} bytes are too few")));
    }
    let tail = read(file, size - TAIL..size).await?;
    let Some(([a, b, c, d], MAGIC)) = tail.split_first_chunk::<4>() else {
        return Err(broken("it does not end with ARROW1: was it cut short?"));
    };
    let footer_length = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    let end = size - TAIL;
    if footer_length == 0 || footer_length > (end - 8).min(MAX_METADATA) {
        return Err(broken(format!("its footer claims {footer_length} bytes of {size}")));
    }
    let end = end - footer_length;
    let footer = read(file, end..end + footer_length).await?;
    let (schema, blocks) = {
        let footer = ipc::root_as_footer(&footer).map_err(|error| broken(format!("its footer: {error}")))?;
        let schema = footer.schema().ok_or_else(|| broken("its footer has no schema"))?;
        let all = footer.dictionaries().into_iter().flatten().chain(footer.recordBatches().into_iter().flatten());
        if footer.recordBatches().is_none() {
            return Err(broken("its footer names no batches"));
        }
        let blocks: Vec<_> = all.map(|block| (block.offset(), block.metaDataLength(), block.bodyLength())).collect();
        (decode(schema)?, blocks)
    };
    let mut messages = Vec::with_capacity(blocks.len());
    for (offset, head, body) in blocks {
        let wrong = || broken(format!("a block of {head} and {body} bytes at {offset} of {size}"));
        let (start, head, body) = match (u64::try_from(offset), u64::try_from(head), u64::try_from(body)) {
            (Ok(start), Ok(head), Ok(body)) if start >= 8 && head >= 8 => (start, head, body),
            _ => return Err(wrong()),
        };
        let head_end = start.checked_add(head).ok_or_else(wrong)?;
        if head > MAX_METADATA || head_end.checked_add(body).is_none_or(|last| last > end) {
            return Err(wrong());
        }
        messages.push((start..head_end, body));
    }
    check_cover(file, &messages, end).await?;
    for messages in messages.chunks(BATCH) {
        let ranges: Vec<_> = messages.iter().map(|(head, _)| head.clone()).collect();
        let heads = file.store.get_ranges(&file.meta.location, &ranges).await?;
        for (head, (range, body)) in heads.iter().zip(messages) {
            let skip = if head.starts_with(&CONTINUATION) { 8 } else { 4 };
            let buffers = check_message(&head[skip..], *body, Expected::Data)?;
            check_buffers(file, range.end, &buffers).await?;
        }
    }
    Ok(schema)
}

/// Checks that the footer, which begins at `end`, names all that is before it: what comes first is a stream of messages without gaps.
async fn check_cover(file: &SourceFile<'_>, messages: &[(Range<u64>, u64)], end: u64) -> Result<()> {
    let mut named: Vec<(u64, u64)> = messages.iter().map(|(head, body)| (head.start, head.end + body)).collect();
    named.sort_unstable();
    named.push((end, end));
    let first = named.first().map_or(end, |(start, _)| *start);
    let mut at = schema_end(file, end).await?.unwrap_or(first);
    for (start, after) in named {
        // The mark at the end is a message without a byte, and zeros are nothing.
        if at < start && frame(&read(file, at..start.min(at + 8)).await?).is_some_and(|(_, length)| length != 0) {
            return Err(broken(format!("its footer does not name the message at {at}")));
        }
        at = at.max(after);
    }
    Ok(())
}

/// Where the message with the schema ends, which comes first, after the magic and zeros; `None` where there is none: files of Arrow before
/// 0.15 have one without a mark, and Polars writes there what is no message. The schema that counts is the footer's.
async fn schema_end(file: &SourceFile<'_>, end: u64) -> Result<Option<u64>> {
    let first = read(file, 8..end.min(72)).await?;
    let Some(zeros) = first.chunks_exact(8).position(|word| word != [0; 8]) else { return Ok(None) };
    let word = &first[8 * zeros..];
    if !word.starts_with(&CONTINUATION) {
        return Ok(None);
    }
    let Some((skip, length)) = frame(word) else { return Ok(None) };
    let start = 8 + 8 * zeros as u64 + skip;
    let head = u64::try_from(length).ok().filter(|head| *head <= MAX_METADATA && start + head <= end);
    let head = head.ok_or_else(|| broken(format!("its schema claims {length} bytes")))?;
    let bytes = read(file, start..start + head).await?;
    let is_schema = ipc::root_as_message(&bytes).is_ok_and(|message| message.header_as_schema().is_some());
    Ok(is_schema.then_some(start + head))
}

/// How many bytes a message's frame takes at the start of `bytes`, and how long it says that the head is; `None` where it is cut short.
fn frame(bytes: &[u8]) -> Option<(u64, i32)> {
    match bytes.split_first_chunk::<4>()? {
        (first, rest) if *first == CONTINUATION => Some((8, i32::from_le_bytes(*rest.first_chunk::<4>()?))),
        (length, _) => Some((4, i32::from_le_bytes(*length))),
    }
}

/// The decoder takes a stream that ends between two messages for a whole one, and zeros in place of a message for its end. So the mark of
/// the end has to be there, in the form that the messages have, and nothing behind it.
async fn look_at_stream(file: &SourceFile<'_>) -> Result<Schema> {
    let size = file.meta.size;
    let mut at = 0;
    let mut schema = None;
    let mut is_old = None;
    loop {
        let start = read(file, at..size.min(at + 8)).await?;
        if start.is_empty() {
            return Err(broken(match schema {
                Some(_) => {
                    "it has no mark of its end: was it cut short? A writer leaves the mark when it is closed, as by close() of \
                     pyarrow's RecordBatchStreamWriter: close it, and write the stream anew"
                }
                None => "it has no schema",
            }));
        }
        let (skip, length) = frame(&start).ok_or_else(|| broken("it ends within a message"))?;
        let is_like_the_first = *is_old.get_or_insert(skip == 4) == (skip == 4);
        if length == 0 {
            if !is_like_the_first || at + skip != size {
                return Err(broken(format!("its end is marked at {at} of {size} bytes")));
            }
            break;
        }
        let head_start = at + skip;
        let head = u64::try_from(length).ok().filter(|head| *head <= MAX_METADATA && head_start + head <= size);
        let head = head.ok_or_else(|| broken(format!("a message of {length} bytes at {at} of {size}")))?;
        let head_end = head_start + head;
        let bytes = read(file, head_start..head_end).await?;
        let body = {
            let message = message(&bytes)?;
            if schema.is_none() {
                let first = message.header_as_schema().ok_or_else(|| broken("it does not begin with a schema"))?;
                schema = Some(decode(first)?);
            }
            u64::try_from(message.bodyLength())
                .ok()
                .filter(|body| head_end.checked_add(*body).is_some_and(|end| end <= size))
        };
        let body = body.ok_or_else(|| broken(format!("the message at {at} is longer than the file")))?;
        let buffers = check_message(&bytes, body, Expected::Any)?;
        check_buffers(file, head_end, &buffers).await?;
        at = head_end + body;
    }
    schema.ok_or_else(|| broken("it has no schema"))
}

/// Which messages may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Batches and dictionaries.
    Data,
    /// A schema too.
    Any,
}

/// A compressed buffer: where it is in the body of its message.
struct Compressed {
    offset: u64,
    length: u64,
    codec: ipc::CompressionType,
}

impl Compressed {
    /// The most bytes that it can hold.
    fn most(&self) -> u64 {
        match self.codec {
            ipc::CompressionType::LZ4_FRAME => self.length.saturating_mul(LZ4_RATIO),
            _ => {
                let most = self.length.saturating_mul(ZSTD_RATIO).min(ZSTD_BELIEVED);
                most.max(self.length.saturating_mul(ZSTD_RATIO_BEYOND))
            }
        }
    }
}

/// Checks the head of a message whose body has `body` bytes; its compressed buffers.
fn check_message(head: &[u8], body: u64, expected: Expected) -> Result<Vec<Compressed>> {
    let message = message(head)?;
    if u64::try_from(message.bodyLength()) != Ok(body) {
        return Err(broken(format!("a message has {} bytes, and {body} in the footer", message.bodyLength())));
    }
    let batch = match message.header_type() {
        ipc::MessageHeader::Schema if expected == Expected::Any => return Ok(Vec::new()),
        ipc::MessageHeader::RecordBatch => message.header_as_record_batch(),
        ipc::MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => None,
    };
    let batch = batch.ok_or_else(|| broken("a message is no batch"))?;
    if batch.length() < 0 || batch.nodes().into_iter().flatten().any(|node| node.length() < 0 || node.null_count() < 0)
    {
        return Err(broken("a batch has a negative length"));
    }
    // Of the first column. The decoder compares the others, where any is wanted.
    if let Some(column) = batch.nodes().into_iter().flatten().next().filter(|column| column.length() != batch.length())
    {
        return Err(broken(format!("a batch of {} rows has a column of {}", batch.length(), column.length())));
    }
    let mut compressed = Vec::new();
    for buffer in batch.buffers().into_iter().flatten() {
        let wrong = || broken(format!("a buffer of {} bytes at {} of {body}", buffer.length(), buffer.offset()));
        let (Ok(offset), Ok(length)) = (u64::try_from(buffer.offset()), u64::try_from(buffer.length())) else {
            return Err(wrong());
        };
        if offset.checked_add(length).is_none_or(|end| end > body) {
            return Err(wrong());
        }
        if let Some(compression) = batch.compression().filter(|_| length > 0) {
            if length < 8 {
                return Err(wrong());
            }
            compressed.push(Compressed { offset, length, codec: compression.codec() });
        }
    }
    Ok(compressed)
}

/// Checks that compressed buffers do not claim more than they can hold: the decoder allocates what they claim.
async fn check_buffers(file: &SourceFile<'_>, body: u64, buffers: &[Compressed]) -> Result<()> {
    for buffers in buffers.chunks(BATCH) {
        let ranges: Vec<_> = buffers.iter().map(|buffer| body + buffer.offset..body + buffer.offset + 8).collect();
        let lengths = file.store.get_ranges(&file.meta.location, &ranges).await?;
        for (bytes, buffer) in lengths.iter().zip(buffers) {
            let claimed = bytes.first_chunk::<8>().ok_or_else(|| broken("a buffer is cut short"))?;
            let claimed = i64::from_le_bytes(*claimed);
            // -1 stands for a buffer that is not compressed after all.
            if claimed != -1 && !u64::try_from(claimed).is_ok_and(|claimed| claimed <= buffer.most()) {
                return Err(broken(format!("a buffer of {} bytes claims to hold {claimed}", buffer.length)));
            }
        }
    }
    Ok(())
}

fn message(head: &[u8]) -> Result<ipc::Message<'_>> {
    ipc::root_as_message(head).map_err(|error| broken(format!("the head of a message: {error}")))
}

/// The schema. Its decoder panics at whatever it does not expect.
fn decode(schema: ipc::Schema<'_>) -> Result<Schema> {
    if schema.endianness() != ipc::Endianness::Little {
        return Err(Error::new(ErrorKind::Unsupported, "Arrow data with the large end first"));
    }
    catch_unwind(AssertUnwindSafe(|| fb_to_schema(schema))).map_err(|_| broken("its schema cannot be decoded"))
}

async fn read(file: &SourceFile<'_>, range: Range<u64>) -> Result<Bytes> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    Ok(file.store.get_range(&file.meta.location, range).await?)
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("not Arrow IPC: {what}"))
}
