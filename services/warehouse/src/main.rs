//! The warehouse service.

fn main() {}
