use super::*;
use crate::{
    Handle, Refusal, Service,
    wire::{Answer, Request},
};
use chassis::{
    db::{DbOptions, Fault, Faults},
    http::Metrics,
};
use std::sync::mpsc as blocking;
use tempfile::TempDir;

/// A thread over a store of its own, without a broker.
struct Started {
    handle: Handle,
    inlet: Inlet,
    broken: Shutdown,
    faults: Faults,
    relay: mpsc::UnboundedReceiver<RelayNote>,
    _dir: TempDir,
}

fn start(clock: Clock) -> Started {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let options = DbOptions { faults: faults.clone(), ..DbOptions::default() };
    let db = Db::open(dir.path(), options).unwrap();
    let (relay_notes, relay) = mpsc::unbounded_channel();
    let broken = Shutdown::new();
    let owner = Owner {
        db: db.clone(),
        core: Service::new("test", "for tests").into_core(),
        clock,
        metrics: KitMetrics::new(&Metrics::new()),
        relay: relay_notes,
        nats: None,
        broken: broken.clone(),
    };
    let inlet = owner.start().unwrap();
    let handle = Handle { db, inlet: inlet.clone() };
    Started { handle, inlet, broken, faults, relay, _dir: dir }
}

fn usual() -> Started {
    start(Arc::new(Utc::now))
}

fn put(tx: &mut Tx, key: &str) {
    tx.put(key, "there");
}

fn is_there(started: &Started, key: &str) -> bool {
    started.handle.db().get(key.as_bytes()).unwrap().is_some()
}

/// Keeps the thread busy until what it returns is dropped, so that what comes meanwhile is one
/// group.
async fn busy(started: &Started) -> blocking::Sender<()> {
    let (release, held) = blocking::channel::<()>();
    let (entered, is_in) = oneshot::channel();
    let handle = started.handle.clone();
    tokio::spawn(async move {
        let waits = handle.write(move |_, _| {
            entered.send(()).unwrap();
            // It ends when the sender is dropped.
            let _dropped = held.recv();
            Ok(())
        });
        waits.await.unwrap();
    });
    is_in.await.unwrap();
    release
}

#[tokio::test]
async fn what_one_of_a_group_does_wrong_touches_no_other() {
    let started = usual();
    let handle = &started.handle;
    handle.write(|_, _| Ok(())).await.unwrap();
    let begun_at = handle.db().position();
    let release = busy(&started).await;
    let good = |key: &'static str| {
        handle.write(move |tx, _| {
            put(tx, key);
            Ok(())
        })
    };
    let rejects = handle.write::<(), _>(|tx, _| {
        put(tx, "rejected");
        put(tx, "first");
        Err(Refusal::rejected("no", "never"))
    });
    let panics = handle.write::<(), _>(|tx, _| {
        put(tx, "panicked");
        panic!("planned")
    });
    let spoils = handle.write(|tx, _| {
        put(tx, "spoilt");
        tx.put(vec![0, b'm'], "a row of the store's own");
        Ok(())
    });
    let (reply, answer) = oneshot::channel();
    let request = Request::read("no.such", b"{}", None).unwrap();
    let asks = async {
        assert!(started.inlet.send(Input::Request { request, reply }).await);
        answer.await.unwrap()
    };
    let release = async { drop(release) };
    let (first, rejected, panicked, spoilt, asked, last, ()) =
        tokio::join!(good("first"), rejects, panics, spoils, asks, good("last"), release);
    first.unwrap();
    last.unwrap();
    assert!(matches!(rejected, Err(Refusal::Rejected(_))));
    assert!(matches!(panicked, Err(Refusal::Failed(_))));
    assert!(matches!(spoilt, Err(Refusal::Store(error)) if !error.is_fatal()));
    assert!(matches!(asked, Answer::Failed { .. }));
    assert!(is_there(&started, "first") && is_there(&started, "last"));
    for key in ["rejected", "panicked", "spoilt"] {
        assert!(!is_there(&started, key), "{key}");
    }
    assert_eq!(handle.db().position(), begun_at + 1);
    assert!(!started.broken.is_asked());
    started.inlet.stop().await;
}

#[tokio::test]
async fn nothing_leaves_of_a_group_whose_commit_fails() {
    for fault in [Fault::Apply, Fault::Flush, Fault::Sync, Fault::Sidecar] {
        let mut started = usual();
        let release = busy(&started).await;
        started.faults.plan(fault, 0);
        let one = started.handle.write(|tx, at| {
            let (id, key, subject) = ("e".to_owned(), "k".to_owned(), "a.trigger.b".to_owned());
            crate::publish(tx, crate::NewEvent { id, subject, key, body: 1, at })
        });
        // It changes nothing, but what it saw was of a group that never came to be.
        let other = started.handle.write(|tx, _| Ok(tx.scan(b"\x01o", None, 9)?.len()));
        let (one, other, ()) = tokio::join!(one, other, async { drop(release) });
        assert!(matches!(one, Err(Refusal::Store(_))), "{one:?}");
        assert!(matches!(other, Err(Refusal::Store(_))), "{other:?}");
        started.broken.asked().await;
        assert!(started.relay.try_recv().is_err());
        // Later ones hear of it too.
        assert!(started.handle.write(|_, _| Ok(())).await.is_err());
    }
}

#[tokio::test]
async fn a_thread_that_panics_ends_the_process_and_not_in_silence() {
    let started = start(Arc::new(|| panic!("planned")));
    assert!(started.handle.write(|_, _| Ok(())).await.is_err());
    started.broken.asked().await;
}
