//! NATS itself: to call a procedure as the runtime does, to stand in for a service, and to see
//! whatever goes over the wire.

use crate::{
    Failure,
    stack::{Stack, root},
};
use async_nats::{Client, ConnectOptions, HeaderMap, Message};
use futures::{StreamExt as _, stream::select_all};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

/// Longer than any procedure takes that answers at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The user of [`Witness`], which no configuration of ours has.
const WITNESS: &str = "witness";

/// A connection as one of the users of `deploy/nats-users.conf`.
pub struct Wire {
    client: Client,
}

/// What a procedure answered.
#[derive(Clone, Debug)]
pub struct Said {
    /// The header `Fermata-Outcome`.
    pub outcome: String,
    /// The body.
    pub body: Value,
}

/// How a stand-in answers a request.
#[derive(Clone, Debug)]
pub enum StandIn {
    /// With this, as if all were well.
    Says(Value),
    /// With a rejection of this code.
    Rejects(&'static str),
    /// With what is not even JSON, as if all were well.
    Babbles,
}

impl Wire {
    /// Connects as this user.
    ///
    /// # Errors
    /// The broker does not take it.
    pub async fn of(stack: &Stack, user: &str) -> Result<Wire, Failure> {
        let password = &stack.env()[&format!("{}_NATS_PASSWORD", user.to_uppercase())];
        connect(stack, user, password).await.map(|client| Wire { client })
    }

    /// Calls a procedure.
    ///
    /// # Errors
    /// No answer came.
    pub async fn ask(&self, subject: &str, key: &str, body: &Value) -> Result<Said, Failure> {
        self.ask_raw(subject, key, &body.to_string()).await
    }

    /// As [`Wire::ask`], with any bytes as the body.
    ///
    /// # Errors
    /// No answer came.
    pub async fn ask_raw(&self, subject: &str, key: &str, body: &str) -> Result<Said, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert("Idempotency-Key", key);
        let (to, body) = (subject.to_owned(), body.to_owned().into());
        let asking = self.client.request_with_headers(to, headers, body);
        let answer = tokio::time::timeout(ANSWER_WITHIN, asking).await;
        let answer = answer.map_err(|_| format!("{subject} does not answer"))?;
        let answer = answer.map_err(|err| format!("{subject} does not answer: {err}"))?;
        let outcome = header(&answer, "Fermata-Outcome");
        Ok(Said { outcome, body: json(&answer.payload) })
    }

    /// Publishes an event, and waits until the broker has stored it.
    ///
    /// # Errors
    /// It does not.
    pub async fn publish(&self, subject: &str, id: &str, body: &Value) -> Result<(), Failure> {
        self.publish_raw(subject, id, &body.to_string()).await
    }

    /// As [`Wire::publish`], with any bytes as the body.
    ///
    /// # Errors
    /// It does not.
    pub async fn publish_raw(&self, subject: &str, id: &str, body: &str) -> Result<(), Failure> {
        let failed = |err: &dyn std::fmt::Display| format!("{subject} is not stored: {err}");
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        let stream = async_nats::jetstream::new(self.client.clone());
        let body = body.to_owned().into();
        let sent = stream.publish_with_headers(subject.to_owned(), headers, body).await;
        sent.map_err(|err| failed(&err))?.await.map(|_| ()).map_err(|err| failed(&err))
    }

    /// Answers on a subject in the place of a service, until what is given back is dropped.
    ///
    /// # Errors
    /// The user may not listen there.
    pub async fn stand_in(&self, subject: &str, how: StandIn) -> Result<Standing, Failure> {
        let requests = self.client.subscribe(subject.to_owned()).await;
        let mut requests = requests.map_err(|err| format!("{subject}: {err}"))?;
        self.client.flush().await.map_err(|err| err.to_string())?;
        let client = self.client.clone();
        let standing = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let Some(reply) = request.reply else { continue };
                let mut headers = HeaderMap::new();
                let body = match &how {
                    StandIn::Says(body) => {
                        headers.insert("Fermata-Outcome", "ok");
                        body.to_string()
                    }
                    StandIn::Babbles => {
                        headers.insert("Fermata-Outcome", "ok");
                        "{\"shipmentId\":".to_owned()
                    }
                    StandIn::Rejects(code) => {
                        headers.insert("Fermata-Outcome", "rejected");
                        serde_json::json!({ "code": code, "reason": "as a test wants it" })
                            .to_string()
                    }
                };
                // A runtime that is not there to hear it asks again.
                let _sent = client.publish_with_headers(reply, headers, body.into()).await;
            }
        });
        Ok(Standing(standing))
    }
}

/// Somebody who answers in the place of a service.
pub struct Standing(JoinHandle<()>);

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A message that went over the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The procedure or the event; of an answer `<procedure>.reply`.
    pub schema: String,
    /// The header `Idempotency-Key` of a request.
    pub key: String,
    /// The header `Fermata-Outcome` of an answer.
    pub outcome: String,
    /// The body.
    pub body: Value,
}

/// Sees every request with its answer, and every event.
pub struct Witness {
    seen: Arc<Mutex<Vec<Seen>>>,
    watching: JoinHandle<()>,
}

impl Witness {
    /// A configuration of the broker that lets a witness listen: that of development with a user
    /// more. The value of `NATS_CONF`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn conf(dir: &Path) -> Result<PathBuf, Failure> {
        let read = |name: &str| {
            let path = root().join("deploy").join(name);
            fs::read_to_string(&path).map_err(|err| format!("{}: {err}", path.display()))
        };
        let user = format!(
            "users: [\n    {{ user: {WITNESS}, password: {WITNESS}, permissions: \
             {{ publish: [], subscribe: [\">\"] }} }}"
        );
        let conf = read("nats.conf")?.replacen("users: [", &user, 1);
        let conf_path = dir.join("nats.conf");
        for (path, text) in
            [(&conf_path, conf), (&dir.join("nats-users.conf"), read("nats-users.conf")?)]
        {
            fs::write(path, text).map_err(|err| format!("{}: {err}", path.display()))?;
        }
        Ok(conf_path)
    }

    /// Begins to listen to everything, answers too. To the broker an inbox with a listener is in
    /// use: after a restart of the runtime, what the broker gives to the inbox of the process
    /// before is seen here, and comes to the runtime seconds later.
    ///
    /// # Errors
    /// The broker does not let it.
    pub async fn of(stack: &Stack) -> Result<Witness, Failure> {
        Witness::on(stack, &[">"]).await
    }

    /// As [`Witness::of`], of these subjects alone.
    ///
    /// # Errors
    /// The broker does not let it.
    pub async fn on(stack: &Stack, subjects: &[&str]) -> Result<Witness, Failure> {
        let client = connect(stack, WITNESS, WITNESS).await?;
        let mut messages = Vec::new();
        for subject in subjects {
            let heard = client.subscribe((*subject).to_owned()).await;
            messages.push(heard.map_err(|err| err.to_string())?);
        }
        let mut messages = select_all(messages);
        client.flush().await.map_err(|err| err.to_string())?;
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let into = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            let _open = client;
            let mut asked = BTreeMap::new();
            while let Some(message) = messages.next().await {
                if let Some(seen) = named(&message, &mut asked) {
                    into.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
                }
            }
        });
        Ok(Witness { seen, watching })
    }

    /// All that was seen until now.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// `asked` has the procedure for each subject on which an answer is awaited.
fn named(message: &Message, asked: &mut BTreeMap<String, String>) -> Option<Seen> {
    let subject = message.subject.to_string();
    let key = header(message, "Idempotency-Key");
    let is_ours = proto_schemas::MESSAGES.iter().any(|it| it.subject == subject)
        || subject.contains(".trigger.")
        || !key.is_empty();
    let schema = if is_ours {
        if let Some(reply) = message.reply.as_ref().filter(|_| !subject.contains(".trigger.")) {
            asked.insert(reply.to_string(), subject.clone());
        }
        subject
    } else {
        format!("{}.reply", asked.get(&subject)?)
    };
    let outcome = header(message, "Fermata-Outcome");
    Some(Seen { schema, key, outcome, body: json(&message.payload) })
}

fn header(message: &Message, name: &str) -> String {
    let value = message.headers.as_ref().and_then(|it| it.get(name));
    value.map(|it| it.as_str().to_owned()).unwrap_or_default()
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

async fn connect(stack: &Stack, user: &str, password: &str) -> Result<Client, Failure> {
    let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        .custom_inbox_prefix(format!("_INBOX_{user}"));
    let connected = options.connect(stack.env()["NATS_ADDR"].as_str()).await;
    connected.map_err(|err| format!("{user} cannot connect: {err}"))
}
