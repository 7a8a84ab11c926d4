//! What the runtime and the services share, written once.
//!
//! - [`config`]: settings from the environment over a file, all faults at once.
//! - [`shutdown`]: being asked to stop.
//! - [`clock`]: the time that a process believes in.
//! - [`log`]: structured logs.
//! - [`problem`]: errors as problem+json (RFC 9457).
//! - [`http`]: the door: tokens and roles, limits, health, metrics, OpenAPI, serving with a drain.
//! - [`nats`]: the connection to the broker, its health, and the stream of events.
//! - [`db`]: sled, guarded.
//! - [`claim`]: whose store it is, by what is known outside of its directory.
//! - [`is_loopback`]: what stays on this machine, and so asks no proxy.
//! - [`with_causes`]: an error as people need it.
//! - [`percent`]: texts in headers and URLs.
//! - [`json`]: how deep JSON may be nested.
//! - [`crash`]: points at which a test lets the process die.
//! - [`reserved_port`], [`Wire`]: for tests that start servers, and cut them off.
//!
//! Read them in this order. Absent: anything that knows orders, sagas or providers.

mod causes;
pub mod claim;
pub mod clock;
pub mod config;
pub mod crash;
pub mod db;
pub mod http;
pub mod json;
pub mod log;
mod loopback;
pub mod nats;
pub mod percent;
pub mod problem;
mod reserved_port;
pub mod shutdown;
mod wire;

pub use causes::with_causes;
pub use loopback::is_loopback;
pub use reserved_port::reserved_port;
pub use wire::Wire;
