//! The notification service as a process.

use notification::{PROCESS, Settings, app};
use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::launch(PROCESS, Settings::read, app)
}
