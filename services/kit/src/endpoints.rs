//! The procedures on NATS: a micro service whose endpoints feed the owner's thread.

use crate::{
    core::Input,
    owner::Inlet,
    receipts::{Known, Receipt},
    relay::receipt_subject,
    wire::{Answer, Request, one_line},
};
use async_nats::{
    Subject, Subscriber,
    service::{self, ServiceExt as _, endpoint::Endpoint},
};
use chassis::nats::{Nats, NatsError};
use futures::{StreamExt, future::try_join_all};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinSet,
};

/// Requests of one procedure that are being answered; further ones wait in the client's buffer.
/// Each has places of its own, so that one whose provider hangs does not stop the others.
const REQUESTS_MAX: u32 = 512;
/// How long requests get to be answered when the process stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Where the runtime tells which store it has, and asks who knows better.
const EPOCH_SUBJECT: &str = "fermata.epoch";

/// Endpoints that are open.
pub(crate) struct Endpoints {
    micro: service::Service,
    tasks: JoinSet<()>,
    /// Of each procedure.
    places: Vec<Arc<Semaphore>>,
}

impl Endpoints {
    /// Opens an endpoint for each subject, and the inbox for receipts.
    pub(crate) async fn open(
        name: &str,
        description: &str,
        subjects: impl Iterator<Item = &'static str>,
        nats: &Nats,
        inlet: &Inlet,
    ) -> Result<Endpoints, async_nats::Error> {
        let connection = nats.connection().await?;
        let client = nats.client();
        let micro = client
            .service_builder()
            .description(description)
            .queue_group(name)
            .start(name, env!("CARGO_PKG_VERSION"))
            .await?;
        let mut places = Vec::new();
        let mut tasks = JoinSet::new();
        for subject in subjects {
            let endpoint = micro.endpoint(subject).await?;
            let own = Arc::new(Semaphore::new(REQUESTS_MAX as usize));
            tasks.spawn(serve(subject, endpoint, nats.clone(), inlet.clone(), Arc::clone(&own)));
            places.push(own);
        }
        for subject in [receipt_subject(name), EPOCH_SUBJECT.to_owned()] {
            let messages = client.subscribe(subject).await?;
            tasks.spawn(receipts(nats.clone(), messages, inlet.clone()));
        }
        tokio::select! {
            () = nats.arrived() => (),
            // What says that it has arrived got lost with it.
            () = nats.broken(connection) => return Err("the connection was lost".into()),
        }
        Ok(Endpoints { micro, tasks, places })
    }

    /// Takes no more requests, and answers those that are here.
    pub(crate) async fn drain(mut self) {
        if let Err(error) = self.micro.stop().await {
            tracing::warn!(%error, "the endpoints did not stop");
        }
        let all = try_join_all(self.places.iter().map(|places| places.acquire_many(REQUESTS_MAX)));
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!("left requests unanswered behind; their callers ask again");
        }
        self.tasks.shutdown().await;
    }
}

async fn serve(
    subject: &'static str,
    mut endpoint: Endpoint,
    nats: Nats,
    inlet: Inlet,
    places: Arc<Semaphore>,
) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Some(request) = endpoint.next().await else { return };
        // While there was no connection another process may have got our place.
        match nats.ready().await {
            Ok(()) => (),
            Err(NatsError::Closed) => return,
            // Its caller asks again.
            Err(_) => continue,
        }
        let (nats, inlet) = (nats.clone(), inlet.clone());
        tokio::spawn(async move {
            // The same while it was dealt with: an answer from a store that was replaced is wrong.
            if let Some(answer) = ask(subject, &request, &inlet).await
                && nats.ready().await.is_ok()
            {
                respond(&request, answer).await;
            }
            drop(place);
        });
    }
}

/// No answer means that the process is ending: the caller asks again.
async fn ask(subject: &str, request: &service::Request, inlet: &Inlet) -> Option<Answer> {
    let message = &request.message;
    match Request::read(subject, &message.payload, message.headers.as_ref()) {
        Err(rejection) => Some(Answer::rejected(&rejection)),
        Ok(request) => {
            let (reply, answer) = oneshot::channel();
            inlet.send(Input::Request { request, reply }).await.then_some(())?;
            answer.await.ok()
        }
    }
}

async fn respond(request: &service::Request, answer: Answer) {
    if request.message.reply.is_none() {
        return;
    }
    let headers = answer.headers();
    let response = match answer {
        Answer::Ok { body } | Answer::Rejected { body, .. } => Ok(body.into()),
        Answer::Failed { why } => Err(service::error::Error { status: one_line(&why), code: 500 }),
    };
    if let Err(error) = request.respond_with_headers(response, headers).await {
        tracing::warn!(%error, "an answer could not be sent; its caller asks again");
    }
}

async fn receipts(nats: Nats, mut messages: Subscriber, inlet: Inlet) {
    while let Some(message) = messages.next().await {
        match serde_json::from_slice::<Receipt>(&message.payload) {
            Ok(receipt) => {
                let reply = message.reply.map(|reply| objection(nats.clone(), reply));
                inlet.send(Input::Receipt { receipt, objection: reply }).await;
            }
            Err(error) => tracing::warn!(%error, "a receipt does not read"),
        }
    }
}

/// Answers a notice of the runtime when the service knows better; else nobody does.
fn objection(nats: Nats, reply: Subject) -> oneshot::Sender<Known> {
    let (object, objected) = oneshot::channel::<Known>();
    tokio::spawn(async move {
        let Ok(known) = objected.await else { return };
        let Ok(body) = serde_json::to_vec(&known) else { return };
        // One whose place another has now knows nothing better; the next notice is heard as well.
        if !nats.is_up() {
            return;
        }
        if let Err(error) = nats.client().publish(reply, body.into()).await {
            tracing::debug!(%error, "an objection did not leave; the next notice gets it");
        }
    });
    object
}
