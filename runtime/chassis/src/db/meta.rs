//! The store's own row: what it is, and how far it has come. Every commit writes it.

use super::RESERVED;
use uuid::Uuid;

/// The key of the row.
pub(super) const KEY: &[u8] = &[RESERVED, b'm'];
/// The layout of keys and values below; another one is refused.
pub(super) const FORMAT: u32 = 1;
const BYTES: usize = 4 + 16 + 8 + 8 + 8;

/// Identity and progress of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) format: u32,
    pub(super) instance: Uuid,
    pub(super) epoch: u64,
    pub(super) position: u64,
    /// Counts commits; unlike the position it grows with each, so that no lost one goes unseen.
    pub(super) commits: u64,
}

impl Meta {
    pub(super) fn of(instance: Uuid, epoch: u64, position: u64, commits: u64) -> Meta {
        Meta { format: FORMAT, instance, epoch, position, commits }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(self.format.to_be_bytes());
        bytes.extend(self.instance.as_bytes());
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(self.position.to_be_bytes());
        bytes.extend(self.commits.to_be_bytes());
        bytes
    }

    /// The format comes first and alone decides whether the rest can be read.
    pub(super) fn format(bytes: &[u8]) -> Option<u32> {
        Some(u32::from_be_bytes(*bytes.first_chunk()?))
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Meta> {
        let (format, rest) = bytes.split_first_chunk()?;
        let (instance, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (position, rest) = rest.split_first_chunk()?;
        let commits = rest.try_into().ok()?;
        Some(Meta {
            format: u32::from_be_bytes(*format),
            instance: Uuid::from_bytes(*instance),
            epoch: u64::from_be_bytes(*epoch),
            position: u64::from_be_bytes(*position),
            commits: u64::from_be_bytes(commits),
        })
    }
}
