//! The `fermata` binary: the runtime and the operator's command line, with our definitions.

fn main() {}
