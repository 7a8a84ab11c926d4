//! What every service is made of.
//!
//! A service is state functions, a table of procedures, and routes:
//!
//! ```no_run
//! use proto_schemas::inventory::{CheckAvailability, Availability, Held, Moved, Release, Reserve};
//! use service_kit::{App, Call, NewEvent, Outcome, Process, Refusal, Service, Tx, launch, publish};
//!
//! /// Runs once per key, in one transaction with everything that it reads and writes.
//! fn reserve(tx: &mut Tx, call: Call<Reserve>) -> Outcome<Moved> {
//!     let Reserve { order_id, items } = call.body;
//!     let mut held = Vec::new();
//!     for pieces in items {
//!         let shelf = format!("stock/{}", pieces.sku);
//!         let there: u64 = tx.get_json(shelf.as_bytes())?.unwrap_or(0);
//!         let Some(left) = there.checked_sub(pieces.quantity.into()) else {
//!             // Everything that was written so far is taken back.
//!             return Err(Refusal::rejected("out_of_stock", format!("no {} left", pieces.sku)));
//!         };
//!         tx.put_json(shelf, &left)?;
//!         held.push(Held { sku: pieces.sku, quantity: pieces.quantity.into() });
//!     }
//!     tx.put_json(format!("held/{order_id}"), &held)?;
//!     publish(tx, NewEvent {
//!         id: format!("{order_id}/reserved"),
//!         subject: "inventory.trigger.reserved".to_owned(),
//!         key: order_id.to_string(),
//!         body: &held,
//!         at: call.at,
//!     })?;
//!     Ok(Moved { order_id, items: held })
//! }
//!
//! /// As an undo it runs only if the reservation took place, and only once.
//! fn release(tx: &mut Tx, call: Call<Release>) -> Outcome<Moved> {
//! #   let order_id = call.body.order_id;
//! #   let items = Vec::new();
//!     // …
//!     Ok(Moved { order_id, items })
//! }
//!
//! /// Reads only.
//! fn check(tx: &Tx, asked: CheckAvailability) -> Outcome<Availability> {
//! #   let _ = (tx, asked);
//!     // …
//! #   Ok(Availability { available: true, items: Vec::new() })
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let process = Process {
//!         name: "warehouse",
//!         title: "Warehouse",
//!         description: "Stock: what is there, what is held, what has left",
//!         port: 3003,
//!     };
//!     launch(
//!         process,
//!         |source| source.optional::<String>("WAREHOUSE_STOCK_FILE", "the path of a file"),
//!         |_stock_file| {
//!             let service = Service::new(process.name, process.description)
//!                 .procedure(reserve)
//!                 .procedure(release)
//!                 .query(check);
//!             App::new(service)
//!                 .first(|tx, _now| {
//!                     // Fill an empty store.
//!                     let _ = tx;
//!                     Ok(())
//!                 })
//!                 .routes(|context| {
//!                     // Handlers take `context.handle`: `db()` to read, `write` to change.
//!                     let _ = context;
//!                     aide::axum::ApiRouter::new()
//!                 })
//!         },
//!     )
//! }
//! ```
//!
//! # One thread, one commit, then the world
//! All changes are made by one thread. It takes the commands that have come (requests, routes'
//! [`Handle::write`], receipts), handles them one by one over one [`Tx`], commits once, with one
//! fsync, and only then answers leave and events are published. So a procedure sees no other one
//! half done, needs no lock, and nothing that was answered is lost in a power cut. It must not wait
//! for anything: whoever needs the outside is an [`Effect`].
//!
//! # Once
//! Every request carries an `Idempotency-Key`. The kit keeps for 90 days what became of it, in the
//! same commit as its effect:
//!
//! | the key is | a call | its undo (`Undo-Of` names the key) |
//! |---|---|---|
//! | unseen | runs the procedure | makes it `undone`; ok, nothing to do |
//! | pending (an [`Effect`] at work) | waits for it | waits for it, then as below |
//! | done | the recorded reply | runs the undo's procedure, makes the key `undone` |
//! | rejected | the recorded rejection | makes it `undone`; ok, nothing to do |
//! | undone | rejected `undone` | ok, nothing to do |
//!
//! So an undo never overlaps its call, in whichever order they come, and a call that was overtaken
//! by its undo does nothing. The same key with another body is rejected `key_reused`. An undo has a
//! key of its own, under which its reply is recorded too; its rejections are not, so that an
//! operator's retry is a real one. Such a retry raises [`Call::attempt_class`], and with it the key
//! for the provider. What failed is never recorded: it did not happen, and is asked again.
//!
//! A saga may live longer than its keys, and a store that was put back from a backup has lost those
//! of the time since. An undo from a saga that began more than 90 days ago, or before the store was
//! put back or made, runs its procedure even if the key of its call is unseen or rejected. So an
//! undo may find nothing to undo, or something that no row of its service tells of: it looks things
//! up by their ids, also at whoever acts for the service.
//!
//! The reply to an undo with nothing to do is `null`, whatever the type says: the procedure did not
//! run. A call and its undo have to be served by the same process, because one key table orders
//! them.
//!
//! # Three ways not to succeed
//! [`Refusal::Rejected`] is a business "never" and final. [`Refusal::Failed`] may mend and is asked
//! again. A store that fails ([`Refusal::Store`]) ends the process, since nobody knows what the
//! disk holds; the next start finds out. `?` on rows makes the latter two by itself. A panic in a
//! procedure is a failure of that one call. Replies over 768 KiB are `failed: reply too large`.
//!
//! Bodies are checked before a procedure sees them, by [`proto_schemas::read`]; what is wrong goes
//! back as rejection `invalid` with `errors: [{pointer, detail}]`, and is not remembered.
//!
//! # Events
//! [`publish`] puts an event into the outbox, in the commit of the change that it tells of. A relay
//! publishes it to JetStream until the runtime has sent a receipt for it, that is until the runtime
//! has it on *its* disk: an acknowledgement of the broker does not count, nor does `duplicate`.
//! Events may come twice; they carry the same id then. Receipted ones stay for 7 days and are sent
//! again when the runtime was restored from a backup that is older than the receipt, or when the
//! receipt was that of another store, with which the runtime was started by mistake.
//!
//! # Webhooks
//! [`webhooks`] takes those of a provider, once each, and shows what became of them; the service
//! says how they are signed and what they mean.
//!
//! # Rows
//! The store is the service's own. Keys that begin with byte 0 or [`KIT_PREFIX`] (1) are taken;
//! text keys like `stock/WIDGET-001` are free, but for `hook/…`, `hook-id/…` and `hook-order/…` in
//! a service that takes [`webhooks`]. Write the time of [`Call::at`], never ask a clock: procedures
//! are pure over their transaction, and the `conformance` feature runs them as such.
//!
//! # Tests of a service
//! With the feature `conformance`, `conformance::check` takes a call and its undo through every
//! order of themselves and their repeats, with crashes between, and finds an undo that forgets
//! something, a procedure that leaves its transaction, or a provider that does not honour keys.
//! Each pair of a service has such a test; it needs no broker. [`Service::start`] with a [`Ground`]
//! of the test's own runs the whole against a real one.
//!
//! # Reading order
//! `core` is the heart: every command is an input, everything owed after the commit an output, and
//! neither broker nor clock nor task is in it. `keys`, `outbox` and `receipts` are its rows.
//! `owner` is the thread around it, `endpoints` and `relay` are the broker's side, `run` is the
//! process.
//!
//! Absent: sharing a store among processes, and transactions over two services. That is what sagas
//! are for.

mod arguments;
mod call;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod core;
mod endpoints;
mod handle;
mod keys;
pub mod legible;
mod metrics;
mod outbox;
mod outcome;
mod owner;
mod problem;
mod procedure;
mod receipts;
mod relay;
mod rows;
mod run;
mod service;
pub mod webhooks;
mod wire;

pub use call::{Call, Undo};
pub use chassis::db::{Db, Tx};
pub use handle::Handle;
pub use outbox::{NewEvent, publish};
pub use outcome::{Outcome, Refusal, Rejection};
pub use owner::Clock;
pub use procedure::{Attempt, Begun, Effect, WorkError};
pub use relay::RelayTimes;
pub use rows::KIT_PREFIX;
pub use run::{App, Config, Context, Process, RunError, launch, run};
pub use service::{Ground, Running, Service};
pub use wire::{AbortKind, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX};
