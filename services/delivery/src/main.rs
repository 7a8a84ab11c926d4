//! The delivery service as a process.

use delivery::{PROCESS, Settings, app};
use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::launch(PROCESS, Settings::read, app)
}
