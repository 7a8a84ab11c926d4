use super::*;
use crate::spool::Spool;
use chassis::db::{Db, DbOptions};
use chrono::DateTime;
use proto_schemas::notifications::NotificationKind;
use service_kit::{Refusal, Undo};
use std::{fs, path::Path};

/// The procedure over a store and a spool.
struct Office {
    send: Send,
    tx: Tx,
    dir: tempfile::TempDir,
}

impl Office {
    fn new() -> Office {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("store"), DbOptions::default()).unwrap();
        let post = Post::Spool(Spool::open(&dir.path().join("spool")).unwrap());
        let from = "Orders <orders@shop.example>".parse().unwrap();
        Office { send: Send { post, from }, tx: Tx::over(&db), dir }
    }

    /// All three parts of a call, as the kit runs them.
    async fn ask(&mut self, call: Call<SendNotification>) -> Outcome<NotificationSent> {
        let letter = match self.send.begin(&mut self.tx, &call)? {
            Begun::Done(sent) => return Ok(sent),
            Begun::Work(letter) => letter,
        };
        let done = match self.send.work(letter.clone(), attempt()).await {
            Ok(()) => Ok(()),
            Err(WorkError::Rejected(rejection)) => Err(rejection),
            Err(WorkError::Failed(why)) => return Err(Refusal::Failed(why)),
        };
        self.send.finish(&mut self.tx, &call, letter, done)
    }

    fn spool(&self) -> Vec<(String, String)> {
        mails(&self.dir.path().join("spool"))
    }
}

fn mails(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let read = |file: fs::DirEntry| {
        (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap())
    };
    let mut mails: Vec<_> = files.map(read).collect();
    mails.sort();
    mails
}

fn attempt() -> Attempt {
    Attempt { key: "saga/0/1".to_owned(), class: 1, may_have_happened: false }
}

fn call(kind: NotificationKind) -> Call<SendNotification> {
    let body = serde_json::json!({
        "orderId": "o-1", "kind": kind, "to": "ada@example.com", "name": "Ada",
        "total": "100.00", "currency": "USD",
    });
    Call {
        body: proto_schemas::read(body.to_string().as_bytes()).unwrap(),
        key: "saga/0/1".to_owned(),
        at: DateTime::UNIX_EPOCH,
        undo: None,
        attempt_class: 1,
    }
}

#[tokio::test]
async fn a_mail_is_in_the_spool_before_the_answer_leaves() {
    let mut office = Office::new();
    let sent = office.ask(call(NotificationKind::OrderConfirmed)).await.unwrap();
    assert_eq!(sent.message_id, "order_confirmed.o-1@shop.example");
    let spool = office.spool();
    assert_eq!(spool.len(), 1);
    assert_eq!(spool[0].0, "order_confirmed.o-1@shop.example.eml");
    assert!(spool[0].1.contains("Subject: Your order o-1 is confirmed\r\n"));
}

#[tokio::test]
async fn the_same_mail_under_another_key_is_not_sent_again() {
    let mut office = Office::new();
    let first = office.ask(call(NotificationKind::OrderConfirmed)).await.unwrap();
    let spool = office.spool();
    let mut again = call(NotificationKind::OrderConfirmed);
    again.key = "saga/1/1".to_owned();
    again.body.name = "Eve".into();
    assert_eq!(office.ask(again).await.unwrap(), first);
    assert_eq!(office.spool(), spool);
    office.ask(call(NotificationKind::OrderCompleted)).await.unwrap();
    assert_eq!(office.spool().len(), 2);
}

#[tokio::test]
async fn a_crash_between_mail_and_answer_leaves_one_mail() {
    let mut office = Office::new();
    let call = call(NotificationKind::OrderConfirmed);
    let Ok(Begun::Work(letter)) = office.send.begin(&mut office.tx, &call) else {
        panic!("no work");
    };
    office.send.work(letter.clone(), attempt()).await.unwrap();
    let spool = office.spool();
    let again = Attempt { may_have_happened: true, ..attempt() };
    office.send.work(letter, again).await.unwrap();
    assert_eq!(office.spool(), spool);
}

#[tokio::test]
async fn the_undo_of_an_order_tells_the_customer_why() {
    let mut office = Office::new();
    let reason = Some("rejected by bob:\r\nBcc: eve@evil.example".to_owned());
    let undo = Some(Undo { of: None, kind: None, reason });
    office.ask(Call { undo, ..call(NotificationKind::OrderCancelled) }).await.unwrap();
    let (_, mail) = office.spool().remove(0);
    assert!(mail.contains("The reason: rejected by bob:  Bcc: eve@evil.example"), "{mail}");
    assert!(!mail.contains("\nBcc:"), "{mail}");
}

#[tokio::test]
async fn an_address_that_no_mail_can_have_is_rejected_before_anything_is_written() {
    let mut office = Office::new();
    let mut call = call(NotificationKind::OrderConfirmed);
    call.body.to = "ada@example.com\r\nBcc: eve@evil.example".into();
    let Err(Refusal::Rejected(rejection)) = office.ask(call).await else { panic!("sent") };
    assert_eq!(rejection.code(), "bad_address");
    assert_eq!(office.spool(), []);
    assert!(office.tx.is_empty());
}

#[tokio::test]
async fn a_spool_that_is_gone_is_tried_again() {
    let mut office = Office::new();
    fs::remove_dir(office.dir.path().join("spool")).unwrap();
    let call = call(NotificationKind::OrderConfirmed);
    assert!(matches!(office.ask(call.clone()).await, Err(Refusal::Failed(_))));
    fs::create_dir(office.dir.path().join("spool")).unwrap();
    office.ask(call).await.unwrap();
    assert_eq!(office.spool().len(), 1);
}
