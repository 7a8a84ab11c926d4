//! The warehouse as a process.

use std::process::ExitCode;
use warehouse::{PROCESS, Settings, app};

fn main() -> ExitCode {
    service_kit::launch(PROCESS, Settings::read, app)
}
