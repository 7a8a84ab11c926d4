//! Our definitions: an order from click to doorstep, and what belongs to it.
//!
//! - [`process_order`]: the order saga.
//! - [`late_payment`]: money that comes when its order has ended.
//! - [`late_delivery`]: a parcel that arrives, or comes back, when its order has ended.
//! - [`record_refund`]: the order shows what was paid back, and a person hears of what was not.
//! - [`record_dispute`]: the same of what the customer's bank takes back.
//!
//! A definition is one module: its settings, its events, its code; `doubt` is a word of the order
//! saga's, why its money is not to be counted on. Here is nothing but definitions;
//! what runs them is the `fermata` binary beside them.

mod doubt;
pub mod late_delivery;
pub mod late_payment;
pub mod process_order;
pub mod record_dispute;
pub mod record_refund;
#[cfg(test)]
mod tests;

use saga_core::saga::{Registry, RegistryError};

/// The settings of all definitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Those of the order saga.
    pub process_order: process_order::Limits,
}

/// All definitions, with these settings for the sagas that start from now on.
///
/// # Errors
/// Two definitions do not fit together.
pub fn register(registry: &mut Registry, settings: &Settings) -> Result<(), RegistryError> {
    registry.register::<process_order::ProcessOrder>(&settings.process_order)?;
    registry.register::<late_payment::LatePayment>(&())?;
    registry.register::<late_delivery::LateDelivery>(&())?;
    registry.register::<record_refund::RecordRefund>(&())?;
    registry.register::<record_dispute::RecordDispute>(&())
}
