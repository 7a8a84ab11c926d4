//! Figures, not assertions: what the runtime does on this machine, beside what the disk can do.
//!
//! - [`alone`]: the core without the world, for instruments that count.
//! - [`budget`]: what instruments count of a turn and of a saga.
//! - [`definitions`]: the sagas that are measured, in the shape in which others are measured too.
//! - [`shapes`]: sagas and stores in which there is much of something.
//! - [`world`]: a broker and a runtime of their own, and services that answer in this process.
//! - [`loads`]: what is done to them, and what is read off.
//! - [`flood`]: one definition that is flooded, and another one beside it.
//! - [`floor`]: the disk alone, at the same pace.

pub mod alone;
pub mod budget;
pub mod definitions;
pub mod flood;
pub mod floor;
pub mod loads;
pub mod shapes;
pub mod world;

/// A percentile of samples, in their unit; not a number when there are none.
pub fn percentile(samples: &mut [f64], part: f64) -> f64 {
    if samples.is_empty() {
        return f64::NAN;
    }
    samples.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index between 0 and the length"
    )]
    let at = ((samples.len() - 1) as f64 * part).round() as usize;
    samples[at]
}
