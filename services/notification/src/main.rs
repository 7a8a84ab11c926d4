//! The notification service.

fn main() {}
