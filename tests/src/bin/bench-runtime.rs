//! The runtime with the sagas that are measured.

use saga_core::saga::{Registry, RegistryError};
use saga_host::config::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    saga_host::cli::main(registry)
}

fn registry(_: &mut Settings<'_>) -> Result<Registry, RegistryError> {
    let mut registry = Registry::new(concat!("bench ", env!("CARGO_PKG_VERSION")));
    system_tests::bench::definitions::register(&mut registry)?;
    Ok(registry)
}
