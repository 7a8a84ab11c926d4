//! The `fermata` binary: the runtime and the operator's command line, with our definitions.

use saga_core::saga::{Registry, RegistryError};
use saga_host::config::Settings;
use sagas::process_order::Limits;
use std::process::ExitCode;

fn main() -> ExitCode {
    saga_host::cli::main(registry)
}

fn registry(settings: &mut Settings<'_>) -> Result<Registry, RegistryError> {
    let default = Limits::default();
    let process_order = Limits {
        approval_ms: settings.milliseconds("PROCESS_ORDER_APPROVAL_MS", default.approval_ms),
        payment_ms: settings.milliseconds("PROCESS_ORDER_PAYMENT_MS", default.payment_ms),
        processing_ms: settings.milliseconds("PROCESS_ORDER_PROCESSING_MS", default.processing_ms),
        delivery_ms: settings.milliseconds("PROCESS_ORDER_DELIVERY_MS", default.delivery_ms),
        delivery_attempts: settings.value(
            "PROCESS_ORDER_DELIVERY_ATTEMPTS",
            default.delivery_attempts,
            "a number of attempts, at least 1",
        ),
    };
    let mut registry = Registry::new(concat!("fermata ", env!("CARGO_PKG_VERSION")));
    sagas::register(&mut registry, &sagas::Settings { process_order })?;
    Ok(registry)
}
