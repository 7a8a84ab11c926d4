//! What every service is made of: procedures, keys, outbox.
