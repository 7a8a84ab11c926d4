//! Requests out and answers in: each request is sent until its service answers or the core wants
//! it no more. Nobody waits for an answer: it comes to the step's own subject whenever it comes.

use super::{
    reply::{self, Answers, Class, REPLIES},
    schedule::{Attempts, Schedule},
    waiting::Waiting,
};
use crate::{
    clock,
    engine::{Handle, Owed},
    telemetry::Telemetry,
};
use async_nats::{HeaderMap, Message, Subscriber};
use chassis::{nats::Nats, percent};
use futures::StreamExt as _;
use rand::Rng as _;
use saga_core::{
    effect::{Request, RequestId},
    id::{SagaId, Time},
    input::{Answered, Input},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// After a restart many calls leave over this time at most, fewer sooner.
const RECOVERY_MS_MAX: u64 = 10_000;
/// Calls per second at which a restart asks again.
const RECOVERY_PER_S: u64 = 50;
/// Questions of the HTTP door that wait.
const QUESTIONS_MAX: usize = 64;
/// Longer is no longer a look at a table.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);
/// What came for a request: why it is worth asking again, or nothing when the answer is on its way
/// to the core.
type Heard = (RequestId, Option<String>);
type Question = (Vec<SagaId>, oneshot::Sender<Told>);
/// What is known of open requests: attempts, and when the next one is due.
pub(crate) type Told = BTreeMap<RequestId, (u32, Option<Time>)>;

/// Sends requests.
pub(super) struct Courier {
    pub(super) nats: Nats,
    pub(super) owed: mpsc::UnboundedReceiver<Owed>,
    pub(super) heard: mpsc::UnboundedReceiver<Heard>,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) telemetry: Telemetry,
    pub(super) schedule: Schedule,
    /// How many calls the restart has left open.
    pub(super) recovered: u64,
}

/// The way to ask the courier; clones share it.
#[derive(Clone)]
pub(crate) struct CourierHandle(mpsc::Sender<Question>);

impl CourierHandle {
    pub(super) fn new() -> (CourierHandle, mpsc::Receiver<Question>) {
        let (questions, inbox) = mpsc::channel(QUESTIONS_MAX);
        (CourierHandle(questions), inbox)
    }

    /// What is known of the requests of these sagas; nothing when the courier is too busy to say.
    pub(crate) async fn told(&self, sagas: Vec<SagaId>) -> Told {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.0.send((sagas, answer)).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(QUESTION_TIMEOUT, asked).await.ok().flatten().unwrap_or_default()
    }
}

impl Courier {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let is_up = self.nats.is_up();
            let next = self.schedule.next().filter(|_| is_up);
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                Some(owed) = self.owed.recv() => {
                    self.take(owed);
                    while let Ok(more) = self.owed.try_recv() {
                        self.take(more);
                    }
                }
                Some(heard) = self.heard.recv() => {
                    self.hear(heard);
                    while let Ok(more) = self.heard.try_recv() {
                        self.hear(more);
                    }
                }
                Some((sagas, answer)) = self.questions.recv() => {
                    let _gone = answer.send(self.tell(&sagas));
                }
                () = up(&self.nats), if !is_up => (),
                () = sleep => (),
            }
            if self.nats.is_up() {
                self.send_ready(&stop).await;
            }
            let open = i64::try_from(self.schedule.len()).unwrap_or(i64::MAX);
            self.telemetry.calls_open.set(open);
        }
    }

    fn take(&mut self, owed: Owed) {
        match owed {
            Owed::Send(request) => self.schedule.add(request, Instant::now()),
            Owed::Forget(id) => self.schedule.forget(&id),
            Owed::Recovered(request) => {
                self.recovered = self.recovered.saturating_add(1);
                let over = self.recovered.saturating_mul(1_000 / RECOVERY_PER_S);
                let at = Duration::from_millis(random(over.min(RECOVERY_MS_MAX)));
                self.schedule.add(request, Instant::now() + at);
            }
        }
    }

    fn hear(&mut self, (id, failure): Heard) {
        match failure {
            None => self.schedule.answered(&id, Instant::now()),
            Some(why) => {
                tracing::debug!(saga = %id.saga, step = %id.step, why, "a call failed");
                self.schedule.failed(&id, Instant::now(), random);
            }
        }
    }

    async fn send_ready(&mut self, stop: &CancellationToken) {
        for (request, attempt) in self.schedule.ready(Instant::now(), random) {
            self.telemetry.requests.inc();
            if attempt > 1 {
                self.telemetry.retries.inc();
            }
            let (subject, reply) = (request.subject.clone(), reply::subject(&request));
            let body = request.body.text().to_owned().into();
            let client = self.nats.client();
            let sent =
                client.publish_with_reply_and_headers(subject, reply, headers(&request), body);
            let sent = tokio::select! {
                () = stop.cancelled() => return,
                sent = sent => sent,
            };
            if let Err(error) = sent {
                let (saga, step) = (request.id.saga, &request.id.step);
                tracing::warn!(%saga, %step, %error, "a request did not leave; it is sent again");
                self.schedule.failed(&request.id, Instant::now(), random);
            }
        }
    }

    fn tell(&self, sagas: &[SagaId]) -> Told {
        let (instant, now) = (Instant::now(), clock::now());
        let time = |at: Instant| now.after_ms(millis(at.saturating_duration_since(instant)));
        let requests = sagas.iter().flat_map(|saga| self.schedule.attempts(*saga));
        requests
            .map(|(id, Attempts { attempts, next_at })| (id, (attempts, next_at.map(time))))
            .collect()
    }
}

fn random(max: u64) -> u64 {
    rand::rng().random_range(0..=max)
}

/// Ends when there is a connection; never for one that is closed or of no use.
async fn up(nats: &Nats) {
    if nats.ready().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn headers(request: &Request) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Idempotency-Key", request.key.as_str());
    if let Some(undo) = &request.undo {
        if let Some(call_key) = &undo.call_key {
            headers.insert("Undo-Of", call_key.as_str());
        }
        headers.insert("Abort-Kind", undo.abort.kind.as_str());
        headers.insert("Abort-Reason", percent::encoded(&undo.abort.reason).as_str());
    }
    if request.attempt_class > 1 {
        headers.insert("Attempt-Class", request.attempt_class.to_string().as_str());
    }
    headers
}

/// Takes the answers: those that count go to the core, which judges whose they are.
pub(super) struct Replies {
    pub(super) engine: Handle,
    pub(super) heard: mpsc::UnboundedSender<Heard>,
    pub(super) telemetry: Telemetry,
    pub(super) answered: Answers,
}

impl Replies {
    /// The subscription, to be made before the first request leaves.
    pub(super) async fn subscribe(nats: &Nats) -> Result<Subscriber, super::BusError> {
        let replies = nats.client().subscribe(REPLIES).await;
        replies.map_err(|error| super::BusError::Subscribe(error.to_string()))
    }

    pub(super) async fn run(mut self, mut replies: Subscriber, stop: CancellationToken) {
        let mut waiting = Waiting::default();
        loop {
            let next_bytes = waiting.next_bytes();
            tokio::select! {
                () = stop.cancelled() => return,
                room = self.engine.room_for(next_bytes.unwrap_or(0)), if next_bytes.is_some() => {
                    let (Ok(room), Some(input)) = (room, waiting.take()) else { return };
                    room.tell(input);
                }
                message = replies.next() => match message {
                    Some(message) => self.take(&message, &mut waiting),
                    None => return,
                },
            }
        }
    }

    fn take(&mut self, message: &Message, waiting: &mut Waiting) {
        let bytes = message.payload.len();
        if waiting.has_room(bytes) {
            if let Some(input) = self.read(message) {
                waiting.add(input, bytes);
            }
        } else if let Some((id, _)) = reply::step_of(&message.subject) {
            self.telemetry.dropped_answers.inc();
            // The courier ends before this does.
            let _gone = self.heard.send((id, Some("too many answers wait".into())));
        }
    }

    fn read(&mut self, message: &Message) -> Option<Input> {
        let Some((id, epoch)) = reply::step_of(&message.subject) else {
            tracing::debug!(subject = %message.subject, "an answer to nothing of ours");
            return None;
        };
        let class = reply::classify(message.status, message.headers.as_ref(), &message.payload);
        let (failure, answer) = match class {
            Class::Failed(why) => (Some(why), None),
            Class::Answer(answer) => (None, Some(answer)),
        };
        if let Some(answer) = &answer
            && self.answered.is_other(&id, answer)
        {
            self.telemetry.inconsistent_answers.inc();
            let (saga, step) = (id.saga, &id.step);
            tracing::warn!(%saga, %step, "a service answered a call again, not as before");
        }
        // The courier ends before this does.
        let _gone = self.heard.send((id.clone(), failure));
        let RequestId { saga, step, is_undo } = id;
        Some(Input::Answered(Answered { saga, epoch, step, is_undo, answer: answer? }))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
