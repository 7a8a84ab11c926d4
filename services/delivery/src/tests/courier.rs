//! A courier: parcels once per key, which cannot be stopped once they have left.

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

#[derive(Default)]
pub(in crate::tests) struct World {
    /// Newest last.
    pub(in crate::tests) parcels: Vec<Value>,
    keys: HashMap<String, usize>,
    /// This many next calls act, and their answer is lost.
    pub(in crate::tests) lose_answers: u32,
}

#[derive(Clone)]
pub(in crate::tests) struct Courier {
    pub(in crate::tests) base: String,
    world: Arc<Mutex<World>>,
}

impl Courier {
    pub(in crate::tests) fn start() -> Courier {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let base = format!("http://{}/courier", listener.local_addr().unwrap());
        let world = Arc::<Mutex<World>>::default();
        let router = Router::new()
            .route("/courier/shipments", post(create).get(list))
            .route("/courier/shipments/{id}/cancel", post(cancel))
            .with_state(Arc::clone(&world));
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Courier { base, world }
    }

    pub(in crate::tests) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap())
    }

    /// Parcels that are not stopped.
    pub(in crate::tests) fn on_their_way(&self) -> usize {
        let runs = |parcel: &&Value| parcel["status"] != "cancelled";
        self.with(|world| world.parcels.iter().filter(runs).count())
    }
}

type Answer = (StatusCode, Json<Value>);

async fn create(
    State(world): State<Arc<Mutex<World>>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let world = &mut *world.lock().unwrap();
    for name in ["name", "address", "items"] {
        assert!(!body[name].is_null(), "{name} is missing in {body}");
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let next = world.parcels.len();
    let index = *world.keys.entry(key).or_insert(next);
    if index == next {
        world.parcels.push(json!({
            "shipmentId": format!("shp_{next}"),
            "orderId": body["orderId"],
            "trackingNumber": format!("TRK{next}"),
            "status": "created",
        }));
    }
    if world.lose_answers > 0 {
        world.lose_answers -= 1;
        return (StatusCode::BAD_GATEWAY, Json(Value::Null));
    }
    (StatusCode::CREATED, Json(world.parcels[index].clone()))
}

async fn list(
    State(world): State<Arc<Mutex<World>>>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let world = world.lock().unwrap();
    let of = |parcel: &&Value| parcel["orderId"] == query["orderId"].as_str();
    let found: Vec<_> = world.parcels.iter().rev().filter(of).take(1).cloned().collect();
    Json(json!({ "items": found }))
}

async fn cancel(
    State(world): State<Arc<Mutex<World>>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer {
    assert!(headers.contains_key("idempotency-key"));
    let world = &mut *world.lock().unwrap();
    let Some(parcel) = world.parcels.iter_mut().find(|it| it["shipmentId"] == id.as_str()) else {
        return (StatusCode::NOT_FOUND, Json(json!({ "error": "there is no such parcel" })));
    };
    if parcel["status"] != "created" && parcel["status"] != "cancelled" {
        return (StatusCode::CONFLICT, Json(json!({ "error": "the parcel has left" })));
    }
    parcel["status"] = json!("cancelled");
    (StatusCode::OK, Json(parcel.clone()))
}
