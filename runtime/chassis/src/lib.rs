//! What the runtime and the services share: guarded sled, HTTP door, NATS, configuration, shutdown.
