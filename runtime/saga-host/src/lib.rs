//! Runs sagas: the engine thread, the sled store, NATS, HTTP and the command line.
