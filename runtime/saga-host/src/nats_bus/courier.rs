//! Requests out and answers in: each request is sent until its service answers or the core wants
//! it no more. Nobody waits for an answer: it comes to the step's own subject whenever it comes.

use super::{
    failure::{NOT_PERMITTED, OUT_OF_TOUCH, Teller},
    random,
    reply::{self, Answers, Class, REPLIES},
    schedule::{Attempts, NO_ANSWER, Schedule},
    told::{Inbox, Told, times},
    waiting::Waiting,
};
use crate::{
    clock,
    engine::{Handle, Owed},
    telemetry::Telemetry,
};
use async_nats::{HeaderMap, Message, Subscriber};
use chassis::{
    nats::{Nats, Refusals},
    percent,
};
use futures::StreamExt as _;
use saga_core::{
    effect::{Request, RequestId},
    id::SagaId,
    input::{Answer, Answered, Input},
};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// After a restart many calls leave over this time at most, fewer sooner.
const RECOVERY_MS_MAX: u64 = 10_000;
/// Calls per second at which a restart asks again.
const RECOVERY_PER_S: u64 = 50;
/// What came for a request.
type Heard = (RequestId, What);

/// Whether a request is to be sent again.
pub(super) enum What {
    /// The answer is on its way to the core.
    Answered,
    /// So is one that is of no use.
    Useless(String),
    /// The service could not, or there is none.
    Failed(String),
}

/// Sends requests.
pub(super) struct Courier {
    nats: Nats,
    refusals: Refusals,
    owed: mpsc::UnboundedReceiver<Owed>,
    heard: mpsc::UnboundedReceiver<Heard>,
    questions: Inbox,
    teller: Teller,
    telemetry: Telemetry,
    schedule: Schedule,
    /// How many calls the restart has left open.
    recovered: u64,
}

impl Courier {
    pub(super) fn new(
        nats: Nats,
        owed: mpsc::UnboundedReceiver<Owed>,
        heard: mpsc::UnboundedReceiver<Heard>,
        questions: Inbox,
        telemetry: Telemetry,
    ) -> Courier {
        let (refusals, teller) = (nats.refusals(), Teller::default());
        let (schedule, recovered) = (Schedule::default(), 0);
        Courier { nats, refusals, owed, heard, questions, teller, telemetry, schedule, recovered }
    }

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
                subjects = self.refusals.next() => self.refused(&subjects),
                Some((sagas, answer)) = self.questions.recv() => {
                    let _gone = answer.send(self.tell(&sagas));
                }
                () = super::up(&self.nats), if !is_up => (),
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
            Owed::Send(group, request) => self.schedule.add(group, request, Instant::now()),
            Owed::Forget(id) => self.schedule.forget(&id),
            Owed::Hurry(saga) => self.schedule.hurry(saga, Instant::now()),
            Owed::Recovered(group, request) => {
                self.recovered = self.recovered.saturating_add(1);
                let over = self.recovered.saturating_mul(1_000 / RECOVERY_PER_S);
                let at = Duration::from_millis(random(over.min(RECOVERY_MS_MAX)));
                self.schedule.add(group, request, Instant::now() + at);
            }
        }
    }

    fn hear(&mut self, (id, what): Heard) {
        let now = Instant::now();
        match what {
            What::Answered => self.schedule.answered(&id, None, now),
            What::Useless(why) => self.schedule.answered(&id, Some(&why), now),
            What::Failed(why) => {
                if let Some(subject) = self.schedule.failed(&id, &why, now, random) {
                    self.warn(&id, &subject, &why);
                }
            }
        }
    }

    /// The broker says of which subject a request was refused, not of which request.
    fn refused(&mut self, subjects: &[String]) {
        for subject in subjects {
            for id in self.schedule.in_flight(subject) {
                self.hear((id, What::Failed(NOT_PERMITTED.to_owned())));
            }
        }
    }

    fn warn(&mut self, id: &RequestId, subject: &str, why: &str) {
        if let Some(untold) = self.teller.tells(subject, Instant::now()) {
            let (saga, step, is_undo) = (id.saga, &id.step, id.is_undo);
            tracing::warn!(%saga, %step, is_undo, subject, why, untold, "a call failed");
        }
    }

    async fn send_ready(&mut self, stop: &CancellationToken) {
        let ready = self.schedule.ready(Instant::now(), random);
        for (id, subject) in self.schedule.silent() {
            self.warn(&id, &subject, NO_ANSWER);
        }
        let client = self.nats.client().clone();
        for (request, attempt) in ready {
            self.telemetry.requests.inc();
            if attempt > 1 {
                self.telemetry.retries.inc();
            }
            let (subject, reply) = (request.subject.clone(), reply::subject(&request));
            let body = request.body.text().to_owned().into();
            let sent =
                client.publish_with_reply_and_headers(subject, reply, headers(&request), body);
            // The first ones may have waited for a network that stood still, and another process
            // may have our place since.
            let sent = match self.nats.up() {
                Some(connection) => tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.nats.broken(connection) => Err(OUT_OF_TOUCH.to_owned()),
                    sent = sent => sent.map_err(|error| error.to_string()),
                },
                None => Err(OUT_OF_TOUCH.to_owned()),
            };
            if let Err(error) = sent {
                let failed = self.schedule.failed(&request.id, &error, Instant::now(), random);
                if let Some(subject) = failed {
                    self.warn(&request.id, &subject, &error);
                }
            }
        }
    }

    fn tell(&self, sagas: &[SagaId]) -> Told {
        let now = (Instant::now(), clock::now());
        let requests = sagas.iter().flat_map(|saga| self.schedule.attempts(*saga));
        let told = requests.map(|(id, Attempts { attempts, next_at, failure })| {
            (id, times(now, attempts, next_at, failure.as_ref()))
        });
        told.collect()
    }
}

fn headers(request: &Request) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Idempotency-Key", request.key.as_str());
    headers.insert("Saga", request.id.saga.to_string().as_str());
    headers.insert("Saga-Began", clock::rfc3339(request.began).as_str());
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
            let _gone = self.heard.send((id, What::Failed("too many answers wait".into())));
        }
    }

    fn read(&mut self, message: &Message) -> Option<Input> {
        let Some((id, epoch)) = reply::step_of(&message.subject) else {
            tracing::debug!(subject = %message.subject, "an answer to nothing of ours");
            return None;
        };
        let class = reply::classify(message.status, message.headers.as_ref(), &message.payload);
        let (what, answer) = match class {
            Class::Failed(why) => (What::Failed(why), None),
            Class::Answer(Answer::Useless { reason }) => {
                (What::Useless(reason.clone()), Some(Answer::Useless { reason }))
            }
            Class::Answer(answer) => (What::Answered, Some(answer)),
        };
        if let Some(answer) = &answer
            && self.answered.is_other(&id, answer)
        {
            self.telemetry.inconsistent_answers.inc();
            let (saga, step) = (id.saga, &id.step);
            tracing::warn!(%saga, %step, "a service answered a call again, not as before");
        }
        // The courier ends before this does.
        let _gone = self.heard.send((id.clone(), what));
        let RequestId { saga, step, is_undo } = id;
        Some(Input::Answered(Answered { saga, epoch, step, is_undo, answer: answer? }))
    }
}
