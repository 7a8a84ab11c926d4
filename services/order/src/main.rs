//! The order service as a process.

use order::{PROCESS, Settings, app};
use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::launch(PROCESS, Settings::read, app)
}
