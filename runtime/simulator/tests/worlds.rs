//! The short form of `deploy/simulate`.

use simulator::{Script, play};

/// Each kind of world has its share of them.
const CASES: u64 = 64;

#[test]
fn whatever_happens_every_invariant_holds() {
    for seed in 0..CASES {
        if let Err(failure) = play(seed, Script::Shortened) {
            panic!("{failure}");
        }
    }
}
