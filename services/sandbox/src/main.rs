//! The outside world for development: a payment provider and a courier on the wire.

fn main() {}
