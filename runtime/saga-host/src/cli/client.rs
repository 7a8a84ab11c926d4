//! The runtime's HTTP API, as the command line asks it.

use super::{
    problem::CliError,
    token::{Needs, Token},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header::RETRY_AFTER};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::time::Duration;

/// The runtime answers within milliseconds, or is in trouble.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Items of a page at most: the API gives no more.
pub(super) const PAGE_ITEMS_MAX: usize = 200;

/// Parameters of a question.
pub(super) type Query = Vec<(&'static str, String)>;

/// A runtime, and a token for it.
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    token: Token,
}

/// Items as the API gave them, and whether there are more.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Items {
    pub(super) items: Vec<Box<RawValue>>,
    pub(super) next: Option<String>,
}

impl Client {
    pub(super) fn new(url: &str, needs: Needs) -> Result<Client, CliError> {
        let unusable = |why: String| {
            CliError::Usage(format!("--url {url} is no address ({why}): say http://host:port"))
        };
        let parsed = Url::parse(url).map_err(|error| unusable(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(unusable(format!("{} is not http", parsed.scheme())));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            // It would be printed wherever the address is.
            return Err(CliError::Usage("--url holds a login: a token is what it takes".into()));
        }
        let token = Token::from_process(needs)?;
        let http = reqwest::Client::builder().connect_timeout(TIMEOUT).build();
        let http = http.map_err(|error| CliError::Other(format!("no HTTP client: {error}")))?;
        Ok(Client { http, url: parsed, token })
    }

    /// Where the runtime is.
    pub(super) fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// One thing, as the API gave it.
    pub(super) async fn get(&self, path: &[&str]) -> Result<Box<RawValue>, CliError> {
        read(&self.answer(self.request(Method::GET, path)).await?.1)
    }

    /// So many items, from as many pages as it takes, unless fewer are enough.
    pub(super) async fn list(
        &self,
        path: &[&str],
        query: &Query,
        items_max: usize,
        is_enough: impl Fn(&Items) -> bool,
    ) -> Result<Items, CliError> {
        let mut all = Items::default();
        loop {
            let limit = PAGE_ITEMS_MAX.min(items_max - all.items.len()).to_string();
            let mut request = self.request(Method::GET, path).query(query);
            request = request.query(&[("limit", limit)]);
            if let Some(cursor) = &all.next {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: Items = read(&self.answer(request).await?.1)?;
            all.items.extend(page.items);
            all.next = page.next;
            // A page of tasks may hold some more than was asked for.
            let is_full = all.items.len() >= items_max;
            if is_full || all.next.is_none() || is_enough(&all) {
                return Ok(all);
            }
        }
    }

    /// Whether it has had an effect now, and what came of it.
    pub(super) async fn post(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<(StatusCode, Box<RawValue>), CliError> {
        let (status, text) = self.answer(self.request(Method::POST, path).json(body)).await?;
        Ok((status, read(&text)?))
    }

    /// A stream of server-sent events behind this one; nothing when there will never be more.
    pub(super) async fn stream(
        &self,
        path: &[&str],
        seen: Option<&str>,
    ) -> Result<Option<Response>, CliError> {
        let mut request = self.authorised(Method::GET, path).header("accept", "text/event-stream");
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(None),
            status if status.is_success() => Ok(Some(response)),
            _ => Err(self.refusal(response).await),
        }
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.authorised(method, path).timeout(TIMEOUT)
    }

    fn authorised(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        self.http.request(method, url).bearer_auth(&self.token.value)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<(StatusCode, String), CliError> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(response).await);
        }
        let text = response.text().await.map_err(|error| self.unreachable(error))?;
        Ok((status, text))
    }

    async fn refusal(&self, response: Response) -> CliError {
        let (status, variable) = (response.status(), &self.token.variable);
        let again = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok());
        let again = again.map_or("try again later".into(), |it| format!("try again in {it} s"));
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return self.unreachable(error),
        };
        CliError::of_answer(status, &text)
            .advise(StatusCode::TOO_MANY_REQUESTS, || again.clone())
            .advise(StatusCode::SERVICE_UNAVAILABLE, || again.clone())
            .advise(StatusCode::UNAUTHORIZED, || {
                format!("it came from {variable}: set it to one that the runtime was started with")
            })
            .advise(StatusCode::FORBIDDEN, || {
                format!("it came from {variable}: set FERMATA_TOKEN to one of a higher role")
            })
    }

    pub(super) fn unreachable(&self, error: reqwest::Error) -> CliError {
        // The client's own text ends in "for url (…)", and the last cause says most.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let why = match error.is_timeout() {
            true => format!("no answer within {} s", TIMEOUT.as_secs()),
            false => cause.to_string(),
        };
        CliError::Unreachable { url: self.url().to_owned(), why }
    }
}

/// What an answer holds.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, CliError> {
    serde_json::from_str(text).map_err(|_| CliError::not_json())
}
