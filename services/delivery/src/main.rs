//! The delivery service.

fn main() {}
