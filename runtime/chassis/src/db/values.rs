//! How values lie in sled: small ones inline, long ones in chunks beside a row that says so.

use super::{CHUNK_BYTES, DbError, INLINE_BYTES_MAX, RESERVED, Row, VALUE_BYTES_MAX, WriteBatch};
use std::sync::atomic::{AtomicBool, Ordering};

/// First byte of a value that follows at once.
const INLINE: u8 = 0;
/// First byte of a value that lies in chunks; its length (u32) and crc32 (u32) follow.
const CHUNKED: u8 = 1;
/// Chunks: this, the length of the key (u16), the key, the number of the chunk (u32).
pub(super) const CHUNKS: &[u8] = &[RESERVED, b'c'];

type Found = sled::Result<(sled::IVec, sled::IVec)>;

pub(super) fn get(tree: &sled::Tree, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
    if key.first() == Some(&RESERVED) {
        return Ok(None);
    }
    tree.get(key)?.map(|stored| decode(tree, key, &stored)).transpose()
}

/// Takes rows as long as they begin with the prefix.
pub(super) fn collect(
    tree: &sled::Tree,
    rows: impl Iterator<Item = Found>,
    prefix: &[u8],
    limit: usize,
) -> Result<Vec<Row>, DbError> {
    let mut collected = Vec::new();
    for row in rows.take(limit) {
        let (key, stored) = row?;
        if !key.starts_with(prefix) {
            break;
        }
        let value = decode(tree, &key, &stored)?;
        collected.push((key.to_vec(), value));
    }
    Ok(collected)
}

/// Turns a batch into sled's, with chunks for long values and without the chunks that they replace.
pub(super) fn encode(
    tree: &sled::Tree,
    chunked: &AtomicBool,
    batch: WriteBatch,
) -> Result<sled::Batch, DbError> {
    let mut encoded = sled::Batch::default();
    for (key, value) in batch.changes {
        let old = if chunked.load(Ordering::Relaxed) { chunks_of(tree, &key)? } else { 0 };
        let new = match value {
            None => {
                encoded.remove(key.as_slice());
                0
            }
            Some(value) if value.len() <= INLINE_BYTES_MAX => {
                encoded.insert(key.as_slice(), inline(&value));
                0
            }
            Some(value) => {
                chunked.store(true, Ordering::Relaxed);
                encoded.insert(key.as_slice(), head(&key, &value)?);
                insert_chunks(&mut encoded, &key, &value)
            }
        };
        for left in new..old {
            encoded.remove(chunk_key(&key, left));
        }
    }
    Ok(encoded)
}

fn inline(value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len() + 1);
    stored.push(INLINE);
    stored.extend(value);
    stored
}

fn head(key: &[u8], value: &[u8]) -> Result<Vec<u8>, DbError> {
    let bytes = u32::try_from(value.len())
        .map_err(|_| DbError::damaged(key, "the value does not fit its own length field"))?;
    let mut stored = vec![CHUNKED];
    stored.extend(bytes.to_be_bytes());
    stored.extend(crc32fast::hash(value).to_be_bytes());
    Ok(stored)
}

fn insert_chunks(encoded: &mut sled::Batch, key: &[u8], value: &[u8]) -> u32 {
    let mut count = 0;
    for chunk in value.chunks(INLINE_BYTES_MAX) {
        encoded.insert(chunk_key(key, count), chunk);
        count += 1;
    }
    count
}

/// How many chunks the stored value of a key has.
fn chunks_of(tree: &sled::Tree, key: &[u8]) -> Result<u32, DbError> {
    let stored = tree.get(key)?;
    let head = stored.as_deref().and_then(read_head);
    Ok(head.map_or(0, |(bytes, _)| chunk_count(bytes)))
}

/// Length and checksum of a chunked value; nothing for an inline one.
fn read_head(stored: &[u8]) -> Option<(u32, u32)> {
    let (&CHUNKED, rest) = stored.split_first()? else { return None };
    let (bytes, rest) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*bytes), u32::from_be_bytes(rest.try_into().ok()?)))
}

fn decode(tree: &sled::Tree, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, DbError> {
    if let Some((&INLINE, value)) = stored.split_first() {
        return Ok(value.to_vec());
    }
    let Some((bytes, crc)) = read_head(stored) else {
        return Err(DbError::damaged(key, "its first byte is of no known kind"));
    };
    let mut value = Vec::with_capacity((bytes as usize).min(VALUE_BYTES_MAX));
    for number in 0..chunk_count(bytes) {
        match tree.get(chunk_key(key, number))? {
            Some(chunk) => value.extend_from_slice(&chunk),
            None => return Err(DbError::damaged(key, format!("chunk {number} is missing"))),
        }
    }
    if value.len() != bytes as usize || crc32fast::hash(&value) != crc {
        return Err(DbError::damaged(key, "its chunks do not add up"));
    }
    Ok(value)
}

fn chunk_key(key: &[u8], number: u32) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(CHUNKS.len() + 2 + key.len() + 4);
    chunk.extend(CHUNKS);
    // A key has at most KEY_BYTES_MAX bytes, so its length fits; it stands first so that no key's
    // chunks lie between those of another.
    chunk.extend(u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
    chunk.extend(key);
    chunk.extend(number.to_be_bytes());
    chunk
}

fn chunk_count(bytes: u32) -> u32 {
    bytes.div_ceil(CHUNK_BYTES)
}
