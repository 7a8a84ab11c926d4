//! Notifications: mail to customers, once for each order and kind.
//!
//! `letter` says what a mail says, `post` and `spool` how it leaves, `send` is the procedure
//! `notifications.send`. Mail goes to a server when `SMTP_URL` is set, else into files. Its
//! Message-ID is made of the kind and the order, so that every repeat is the same mail.
//!
//! Addresses and names are personal: they are in the mail and in the pending row of the store, and
//! never in logs, reasons or `Debug`.

mod letter;
mod post;
mod send;
mod settings;
mod spool;

pub use settings::Settings;

use send::Send;
use service_kit::{App, Process, Service};

/// Who this process is.
pub const PROCESS: Process = Process {
    name: "notification",
    title: "Notification",
    description: "Sends mail to customers, once for each order and kind.",
    port: 3005,
};

/// The service, ready for [`service_kit::run`].
pub fn app(settings: Settings) -> App {
    let Settings { post, from } = settings;
    App::new(Service::new(PROCESS.name, PROCESS.description).effect(Send { post, from }))
}
