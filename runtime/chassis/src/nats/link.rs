//! The state of the connection, as all parts of a process see it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::watch;

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not connected now; attempts go on.
    Down,
    /// Connected to a server that is new enough: the number of the connection, from 1 on.
    Up(u64),
    /// Connected to a server that is not.
    TooOld {
        /// What the server says.
        found: String,
        /// What we need.
        wanted: &'static str,
    },
    /// Closed for good: by us, or as the client's own task has ended.
    Closed,
}

/// Sets it. Clones set the same one.
#[derive(Clone, Debug)]
pub(super) struct Links {
    state: watch::Sender<Link>,
    /// The number of the last connection.
    last: Arc<AtomicU64>,
    /// How many the client had had when the last one was told.
    told: Arc<AtomicU64>,
}

impl Links {
    pub(super) fn new() -> (Links, watch::Receiver<Link>) {
        let (state, receiver) = watch::channel(Link::Down);
        (Links { state, last: Arc::default(), told: Arc::default() }, receiver)
    }

    /// There is a connection to a server that is new enough.
    pub(super) fn up(&self) {
        self.state.send_modify(|link| *link = self.next());
    }

    /// The client has told of its connections so far.
    pub(super) fn told(&self, connects: u64) {
        self.told.store(connects, Ordering::Release);
    }

    /// Whether this is all that the client has had: what comes by one that was not told of yet is
    /// not to be taken for something of the one before.
    pub(super) fn knows(&self, connects: u64) -> bool {
        self.told.load(Ordering::Acquire) == connects
    }

    /// The connection, if there is one, is to be told from what it was.
    pub(super) fn renumber(&self) {
        self.state.send_if_modified(|link| {
            let is_up = matches!(link, Link::Up(_));
            if is_up {
                *link = self.next();
            }
            is_up
        });
    }

    /// There is none.
    pub(super) fn set(&self, link: Link) {
        self.state.send_replace(link);
    }

    pub(super) fn is(&self, link: &Link) -> bool {
        *self.state.borrow() == *link
    }

    /// To be called while the state is locked, so that numbers appear in their order.
    fn next(&self) -> Link {
        Link::Up(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
