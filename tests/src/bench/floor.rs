//! The disk alone: one durable write at a time, at the pace of a load.

use super::percentile;
use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant},
};

/// A block of a disk; a batch of a few turns is about as large.
const BLOCK_BYTES: usize = 4096;
/// The file is made before, as a log would be.
const FILE_BLOCKS: u64 = 256;

/// What one write and fdatasync takes.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// Half are faster, in ms.
    pub p50_ms: f64,
    /// One in a hundred is slower, in ms.
    pub p99_ms: f64,
}

/// Writes and syncs so many times a second, for this long.
///
/// # Errors
/// The disk does not take it.
pub fn measure(dir: &Path, per_second: u32, seconds: u32) -> std::io::Result<Floor> {
    let mut file = File::create(dir.join("floor"))?;
    let block = vec![7; BLOCK_BYTES];
    for _ in 0..FILE_BLOCKS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let pause = Duration::from_secs(1) / per_second;
    let mut samples = Vec::new();
    let began = Instant::now();
    for number in 0..per_second * seconds {
        std::thread::sleep((pause * number).saturating_sub(began.elapsed()));
        let at = u64::from(number) % FILE_BLOCKS * BLOCK_BYTES as u64;
        let before = Instant::now();
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&block)?;
        file.sync_data()?;
        samples.push(before.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(dir.join("floor"))?;
    Ok(Floor { p50_ms: percentile(&mut samples, 0.5), p99_ms: percentile(&mut samples, 0.99) })
}
