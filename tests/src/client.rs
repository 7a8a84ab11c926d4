//! The public APIs, as a stranger would call them: HTTP and JSON, nothing else.

use crate::{Failure, scenarios::PROCESS_ORDER, until};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, time::Duration};
use uuid::Uuid;

/// How long an order may take from one step to the next before a scenario gives up: a minute and a
/// half, or as many seconds as `SCENARIO_PATIENCE_S` says.
fn patience() -> Duration {
    let seconds = std::env::var("SCENARIO_PATIENCE_S").ok().and_then(|it| it.parse().ok());
    Duration::from_secs(seconds.unwrap_or(90))
}

/// Where everything is, and who we are.
#[derive(Clone)]
pub struct Api {
    http: Client,
    urls: Urls,
    tokens: Tokens,
    patience: Duration,
}

/// The base URL of each process, without a slash at the end.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the process of its name")]
pub struct Urls {
    pub runtime: String,
    pub order: String,
    pub payment: String,
    pub warehouse: String,
    pub delivery: String,
    pub notification: String,
    pub sandbox: String,
}

/// Bearer tokens by role.
#[derive(Clone)]
struct Tokens {
    viewer: String,
    approver: String,
    operator: String,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// Nobody in particular.
    Anyone,
    /// Whoever may look.
    Viewer,
    /// A manager.
    Approver,
    /// An operator.
    Operator,
}

/// A status and a body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body; `null` when it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The body, if the status is this one.
    ///
    /// # Errors
    /// It is another one.
    pub fn expect(self, status: u16) -> Result<Value, Failure> {
        if self.status.as_u16() == status {
            return Ok(self.body);
        }
        Err(format!("expected {status}, got {self}"))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.body)
    }
}

impl Api {
    /// From variables of the environment's form: `…_HTTP_ADDR`, `FERMATA_…_TOKEN`.
    ///
    /// # Errors
    /// One is missing.
    pub fn of(env: &BTreeMap<String, String>) -> Result<Api, Failure> {
        let get = |name: &str| env.get(name).cloned().ok_or_else(|| format!("{name} is not set"));
        let url = |name: &str| get(name).map(|addr| format!("http://{addr}"));
        // A process may install it once; a second time says no more than that it is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(Duration::from_secs(20)).build();
        Ok(Api {
            http: http.map_err(|err| format!("failed to make an HTTP client: {err}"))?,
            urls: Urls {
                runtime: url("FERMATA_HTTP_ADDR")?,
                order: url("ORDER_HTTP_ADDR")?,
                payment: url("PAYMENT_HTTP_ADDR")?,
                warehouse: url("WAREHOUSE_HTTP_ADDR")?,
                delivery: url("DELIVERY_HTTP_ADDR")?,
                notification: url("NOTIFICATION_HTTP_ADDR")?,
                sandbox: url("SANDBOX_HTTP_ADDR")?,
            },
            tokens: Tokens {
                viewer: get("FERMATA_VIEWER_TOKEN")?,
                approver: get("FERMATA_APPROVER_TOKEN")?,
                operator: get("FERMATA_OPERATOR_TOKEN")?,
            },
            patience: patience(),
        })
    }

    /// The same, which waits for so long at each step.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Api {
        Api { patience, ..self }
    }

    /// How long an order may take from one step to the next.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Where everything is.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// One request, whatever comes of it.
    ///
    /// # Errors
    /// No answer came.
    pub async fn ask(
        &self,
        who: As,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        self.ask_with(who, method, url, body, None).await
    }

    /// One request with these headers and this body, whatever comes of it.
    ///
    /// # Errors
    /// No answer came.
    pub async fn raw(
        &self,
        who: As,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, Failure> {
        let mut request = self.authorised(who, self.http.request(method, url));
        if !headers.iter().any(|it| it.0 == "Content-Type") {
            request = request.header("Content-Type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answered(url, request.body(body.to_owned())).await
    }

    async fn ask_with(
        &self,
        who: As,
        method: Method,
        url: &str,
        body: Option<&Value>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut request = self.http.request(method, url);
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        answered(url, self.authorised(who, request)).await
    }

    fn authorised(&self, who: As, request: RequestBuilder) -> RequestBuilder {
        match who {
            As::Anyone => request,
            As::Viewer => request.bearer_auth(&self.tokens.viewer),
            As::Approver => request.bearer_auth(&self.tokens.approver),
            As::Operator => request.bearer_auth(&self.tokens.operator),
        }
    }

    /// Reads as a viewer, once: the process may be away.
    ///
    /// # Errors
    /// No answer came, or it is not 200.
    pub async fn glance(&self, url: &str) -> Result<Value, Failure> {
        self.ask(As::Viewer, Method::GET, url, None).await?.expect(200)
    }

    /// Every item of a list, page by page; `query` begins with `?` if there is one.
    ///
    /// # Errors
    /// No list came.
    pub async fn list(&self, url: &str, query: &str) -> Result<Vec<Value>, Failure> {
        let mark = if query.is_empty() { '?' } else { '&' };
        let base = format!("{url}{query}{mark}limit=200");
        let (mut items, mut url) = (Vec::new(), base.clone());
        loop {
            let page = self.get(&url).await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => url = format!("{base}&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    /// Reads as a viewer.
    ///
    /// # Errors
    /// The answer is not 200.
    pub async fn get(&self, url: &str) -> Result<Value, Failure> {
        self.patiently(As::Viewer, Method::GET, url, None).await?.expect(200)
    }

    /// Writes, again and again while the process is away: every write is idempotent.
    ///
    /// # Errors
    /// No answer came.
    pub async fn post(&self, who: As, url: &str, body: &Value) -> Result<Answer, Failure> {
        self.patiently(who, Method::POST, url, Some(body)).await
    }

    async fn patiently(
        &self,
        who: As,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let key = Uuid::new_v4().to_string();
        until(&format!("{url} answers"), self.patience, || async {
            let answer = self.ask_with(who, method.clone(), url, body, Some(&key)).await?;
            let is_away = answer.status == StatusCode::SERVICE_UNAVAILABLE;
            if is_away { Err(answer.to_string()) } else { Ok(answer) }
        })
        .await
    }

    /// Places an order, and gives its id.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn place(&self, order: &Value) -> Result<String, Failure> {
        let url = format!("{}/api/orders", self.urls.order);
        let placed = self.post(As::Anyone, &url, order).await?.expect(201)?;
        text(&placed, "/orderId")
    }

    /// The order as it is now.
    ///
    /// # Errors
    /// There is none.
    pub async fn order(&self, order_id: &str) -> Result<Value, Failure> {
        self.get(&format!("{}/api/orders/{order_id}", self.urls.order)).await
    }

    /// Waits until the order has this status, and gives the order.
    ///
    /// # Errors
    /// It did not get there.
    pub async fn order_is(&self, order_id: &str, status: &str) -> Result<Value, Failure> {
        until(&format!("order {order_id} is {status}"), self.patience, || async {
            let order = self.order(order_id).await?;
            if order["status"] == status { Ok(order) } else { Err(format!("it is {order}")) }
        })
        .await
    }

    /// Sagas of this key, the newest first.
    ///
    /// # Errors
    /// No list came.
    pub async fn sagas_of(&self, key: &str) -> Result<Vec<Value>, Failure> {
        let list = self.get(&format!("{}/api/sagas?key={key}", self.urls.runtime)).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The saga of this order, which a definition names.
    ///
    /// # Errors
    /// There is none.
    pub async fn saga(&self, definition: &str, key: &str) -> Result<Value, Failure> {
        let sagas = self.sagas_of(key).await?;
        let saga = sagas.into_iter().find(|it| it["definition"] == definition);
        saga.ok_or_else(|| format!("no saga {definition} of {key}"))
    }

    /// Waits until the saga has this status, and gives the saga.
    ///
    /// # Errors
    /// It did not get there.
    pub async fn saga_is(
        &self,
        definition: &str,
        key: &str,
        status: &str,
    ) -> Result<Value, Failure> {
        until(&format!("saga {definition} of {key} is {status}"), self.patience, || async {
            let saga = self.saga(definition, key).await?;
            if saga["status"] == status { Ok(saga) } else { Err(format!("it is {saga}")) }
        })
        .await
    }

    /// The whole journal of a saga, oldest first.
    ///
    /// # Errors
    /// There is none.
    pub async fn journal(&self, saga_id: &str) -> Result<Vec<Value>, Failure> {
        self.list(&format!("{}/api/sagas/{saga_id}/journal", self.urls.runtime), "").await
    }

    /// A manager's decision.
    ///
    /// # Errors
    /// No answer came.
    pub async fn approve(&self, order_id: &str, approved: bool) -> Result<Answer, Failure> {
        let url = format!("{}/api/orders/approve", self.urls.order);
        let reason = if approved { Value::Null } else { Value::from("looks like fraud") };
        let mut body = json!({ "orderId": order_id, "approved": approved });
        if !reason.is_null() {
            body["reason"] = reason;
        }
        self.post(As::Approver, &url, &body).await
    }

    /// An operator's move.
    ///
    /// # Errors
    /// No answer came.
    pub async fn make_move(&self, saga_id: &str, action: &str) -> Result<Answer, Failure> {
        let url = format!("{}/api/sagas/{saga_id}/{action}", self.urls.runtime);
        self.post(As::Operator, &url, &json!({ "reason": "the customer asked" })).await
    }

    /// Lets the customer pay, fail or let expire; gives the ids of the webhooks that tell of it.
    ///
    /// # Errors
    /// The provider refused.
    pub async fn customer(
        &self,
        session: &str,
        does: &str,
        how: Value,
    ) -> Result<Vec<String>, Failure> {
        let url = format!("{}/sandbox/sessions/{session}/{does}", self.urls.sandbox);
        let told = self.told(&url, &how).await?;
        let ids = told["webhooks"].as_array().into_iter().flatten();
        Ok(ids.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The provider's id of the payment that an order's saga has taken.
    ///
    /// # Errors
    /// It has taken none.
    pub async fn payment_of(&self, order_id: &str) -> Result<String, Failure> {
        until(&format!("{order_id} has a payment"), self.patience, || async {
            let saga = text(&self.saga(PROCESS_ORDER, order_id).await?, "/id")?;
            let journal = self.journal(&saga).await?;
            let paid = journal.iter().find_map(|it| text(it, "/body/paymentId").ok());
            paid.ok_or_else(|| format!("no payment in {journal:?}"))
        })
        .await
    }

    /// Lets somebody do something at the provider's own pages, or the customer's bank.
    ///
    /// # Errors
    /// The provider refused.
    pub async fn at_the_provider(&self, does: &str, how: Value) -> Result<Value, Failure> {
        self.told(&format!("{}/sandbox/{does}", self.urls.sandbox), &how).await
    }

    /// Lets the courier say something of an order.
    ///
    /// # Errors
    /// The courier refused.
    pub async fn courier(&self, order_id: &str, status: &str, how: Value) -> Result<(), Failure> {
        let url = format!("{}/sandbox/orders/{order_id}/{status}", self.urls.sandbox);
        self.told(&url, &how).await.map(|_| ())
    }

    /// What stands on a shelf: available, reserved and shipped pieces.
    ///
    /// # Errors
    /// There is no such shelf.
    pub async fn stock(&self, sku: &str) -> Result<(u64, u64, u64), Failure> {
        let stock = self.get(&format!("{}/api/stock/{sku}", self.urls.warehouse)).await?;
        let count =
            |field: &str| stock[field].as_u64().ok_or_else(|| format!("no {field} in {stock}"));
        Ok((count("available")?, count("reserved")?, count("shipped")?))
    }

    /// What the provider and the courier did for an order.
    ///
    /// # Errors
    /// The sandbox did not say.
    pub async fn effects(&self, order_id: &str) -> Result<Value, Failure> {
        self.get(&format!("{}/sandbox/effects?orderId={order_id}", self.urls.sandbox)).await
    }

    async fn told(&self, url: &str, how: &Value) -> Result<Value, Failure> {
        let answer = self.post(As::Anyone, url, how).await?;
        let is_done = answer.status.is_success();
        if is_done { Ok(answer.body) } else { Err(format!("{url} answered {answer}")) }
    }
}

async fn answered(url: &str, request: RequestBuilder) -> Result<Answer, Failure> {
    let response = request.send().await.map_err(|err| format!("no answer from {url}: {err}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|err| format!("half an answer: {err}"))?;
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
}

/// A text in a body.
///
/// # Errors
/// There is none.
pub fn text(body: &Value, pointer: &str) -> Result<String, Failure> {
    let found = body.pointer(pointer).and_then(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| format!("no {pointer} in {body}"))
}

/// An order over this many pieces at 50.00; from a new customer or not.
pub fn order_of(pieces: u32, is_new_customer: bool, name: &str) -> Value {
    json!({
        "items": [{ "sku": "WIDGET-001", "quantity": pieces, "price": "50.00" }],
        "total": format!("{}.00", u64::from(pieces) * 50),
        "customer": { "name": name, "email": format!("{name}@example.com") },
        "newCustomer": is_new_customer,
        "shippingAddress": {
            "street": "Main Street 1", "city": "Springfield", "zip": "12345", "country": "US",
        },
    })
}
