//! The messages: one type for each subject, with its reply, its checks and its schema.
