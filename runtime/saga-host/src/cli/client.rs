//! The runtime's HTTP API, as the command line asks it.

use super::{
    problem::CliError,
    screen::plain_line,
    token::{Needs, Token},
};
use crate::http::STORE;
use chassis::is_loopback;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url, header::RETRY_AFTER, redirect::Policy,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{sync::OnceLock, time::Duration};

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
    /// The instance of the store that has answered.
    store: OnceLock<String>,
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
        Ok(Client { http: http_client(&parsed)?, url: parsed, token, store: OnceLock::new() })
    }

    /// Where the runtime is.
    pub(super) fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Which runtime it was: its address, and its store, as two can have one address in turn.
    pub(super) fn place(&self) -> String {
        match self.store.get() {
            Some(store) => format!("at {}, store {store}", self.url()),
            None => format!("at {}", self.url()),
        }
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
        // A time for the whole answer would end the stream, too.
        let response = match tokio::time::timeout(TIMEOUT, request.send()).await {
            Ok(sent) => sent.map_err(|error| self.unreachable(error))?,
            Err(_) => return Err(self.away(no_answer())),
        };
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
        if let Some(store) = response.headers().get(STORE).and_then(|it| it.to_str().ok()) {
            self.store.get_or_init(|| plain_line(store));
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
            .advise(StatusCode::NOT_FOUND, || format!("is {} a runtime? (--url)", self.url()))
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
            true => no_answer(),
            false => cause.to_string(),
        };
        self.away(why)
    }

    /// It cannot be talked to.
    pub(super) fn away(&self, why: String) -> CliError {
        CliError::Unreachable { url: self.url().to_owned(), why }
    }
}

/// A runtime redirects nobody, and a change that is sent on somewhere else would become a question.
fn http_client(url: &Url) -> Result<reqwest::Client, CliError> {
    let mut http = reqwest::Client::builder().connect_timeout(TIMEOUT).redirect(Policy::none());
    if is_loopback(url.as_str()) {
        http = http.no_proxy();
    }
    http.build().map_err(|error| CliError::Other(format!("no HTTP client: {error}")))
}

fn no_answer() -> String {
    format!("no answer within {} s", TIMEOUT.as_secs())
}

/// What an answer holds.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, CliError> {
    serde_json::from_str(text).map_err(|_| CliError::not_json())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    async fn at(listener: &TcpListener) -> Client {
        // Another test may have done it.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let token = Token { value: "t".into(), variable: "FERMATA_TOKEN".into() };
        let url: Url = url.parse().expect("a URL");
        Client { http: http_client(&url).expect("a client"), url, token, store: OnceLock::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_never_begins_is_given_up() {
        // The kernel takes the connection, and nobody ever reads from it.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let error = at(&listener).await.stream(&["sagas", "s", "stream"], None).await;
        let error = error.expect_err("no answer comes");
        assert!(error.is_for_now() && error.exit_code() == 3, "{error}");
    }

    #[tokio::test]
    async fn what_is_no_runtime_is_said_and_nothing_is_sent_on() {
        for (answer, expected) in [
            (
                "307 Temporary Redirect\r\nlocation: /elsewhere",
                "307 Temporary Redirect; is it one? (--url)",
            ),
            ("404 Not Found", "404 Not Found; is http://127.0.0.1"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let client = at(&listener).await;
            let answering = async {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = [0; 1024];
                let _read = stream.read(&mut request).await.expect("a request");
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("sent");
            };
            let (answered, ()) = tokio::join!(client.get(&["sagas"]), answering);
            let error = answered.expect_err("it is no runtime").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
