//! The payment service as a process.

use payment::{PROCESS, Settings, app};
use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::launch(PROCESS, Settings::read, app)
}
