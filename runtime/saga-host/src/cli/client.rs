//! The runtime's HTTP API, as the command line asks it.

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// The runtime answers within milliseconds, or is in trouble.
const TIMEOUT: Duration = Duration::from_secs(15);
const EXIT_FAILED: u8 = 1;
const EXIT_UNREACHABLE: u8 = 3;
const EXIT_NOT_ALLOWED: u8 = 4;
const EXIT_NOT_FOUND: u8 = 5;
const EXIT_CONFLICT: u8 = 6;

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("cannot reach the runtime at {url}: {why}; is `serve` running there? (--url)")]
    Unreachable { url: String, why: String },
    #[error(
        "no token: set FERMATA_TOKEN, or FERMATA_{}_TOKEN as deploy/dev.env does",
        role.to_uppercase()
    )]
    NoToken { role: &'static str },
    #[error("{detail}{}", fields(errors))]
    Refused { status: StatusCode, detail: String, errors: Vec<Field> },
    #[error("{0}")]
    Other(String),
}

/// A field that the runtime blames.
#[derive(Debug, Deserialize)]
pub(super) struct Field {
    pointer: String,
    detail: String,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    errors: Vec<Field>,
}

impl CliError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            CliError::Unreachable { .. } => EXIT_UNREACHABLE,
            CliError::NoToken { .. } => EXIT_NOT_ALLOWED,
            CliError::Other(_) => EXIT_FAILED,
            CliError::Refused { status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => EXIT_NOT_ALLOWED,
                StatusCode::NOT_FOUND => EXIT_NOT_FOUND,
                StatusCode::CONFLICT => EXIT_CONFLICT,
                _ => EXIT_FAILED,
            },
        }
    }

    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, CliError::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

fn fields(errors: &[Field]) -> String {
    errors.iter().map(|it| format!("\n  {}: {}", it.pointer, it.detail)).collect()
}

/// The least role that a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Viewer,
    Approver,
}

/// A runtime, and a token for it.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    pub(super) fn new(url: &str, needs: Needs) -> Result<Client, CliError> {
        let token = token(needs, |name| std::env::var(name).ok())?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).build();
        let http = http.map_err(|error| CliError::Other(format!("no HTTP client: {error}")))?;
        Ok(Client { http, url: url.trim_end_matches('/').to_owned(), token })
    }

    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Value, CliError> {
        let request = self.request(Method::GET, path).query(query);
        json(&self.send(request).await?)
    }

    pub(super) async fn get_text(&self, path: &str) -> Result<String, CliError> {
        let request = self.request(Method::GET, path).header("accept", "text/plain");
        self.send(request).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        let request = self.request(Method::POST, path).json(body);
        json(&self.send(request).await?)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<String, CliError> {
        let unreachable = |error: reqwest::Error| {
            // The client's own text ends in "for url (…)", and the cause says more.
            let why = std::error::Error::source(&error).map(ToString::to_string);
            let why = why.unwrap_or_else(|| error.without_url().to_string());
            CliError::Unreachable { url: self.url.clone(), why }
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(text);
        }
        let problem: Option<Problem> = serde_json::from_str(&text).ok();
        let (detail, errors) = match problem {
            Some(problem) => (problem.detail, problem.errors),
            None => (format!("the runtime answers {status}"), Vec::new()),
        };
        Err(CliError::Refused { status, detail, errors })
    }
}

fn json(text: &str) -> Result<Value, CliError> {
    serde_json::from_str(text)
        .map_err(|_| CliError::Other("the answer is not JSON: is this a runtime? (--url)".into()))
}

/// The token of the least role that suffices; of a list, the first that is no hash.
fn token(needs: Needs, env: impl Fn(&str) -> Option<String>) -> Result<String, CliError> {
    let (role, names) = match needs {
        Needs::Viewer => ("viewer", ["VIEWER", "APPROVER", "OPERATOR", "ADMIN"].as_slice()),
        Needs::Approver => ("approver", ["APPROVER", "OPERATOR", "ADMIN"].as_slice()),
    };
    let roles = names.iter().map(|it| format!("FERMATA_{it}_TOKEN"));
    let mut set = std::iter::once("FERMATA_TOKEN".to_owned()).chain(roles);
    set.find_map(|name| first_of(&env(&name)?)).ok_or(CliError::NoToken { role })
}

fn first_of(list: &str) -> Option<String> {
    let entries = list.split(',').map(str::trim).filter(|it| !it.contains("sha256:"));
    let tokens = entries.map(|it| it.split_once(':').map_or(it, |(_, token)| token));
    tokens.filter(|it| !it.is_empty()).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_takes_the_token_of_the_least_role_that_suffices() {
        let env = |name: &str| match name {
            "FERMATA_VIEWER_TOKEN" => Some("v".to_owned()),
            "FERMATA_APPROVER_TOKEN" => Some("alice:sha256:00,bob:a".to_owned()),
            _ => None,
        };
        assert_eq!(token(Needs::Viewer, env).expect("a token"), "v");
        assert_eq!(token(Needs::Approver, env).expect("a token"), "a");
        let error = token(Needs::Approver, |_| None).expect_err("none is set");
        assert!(error.to_string().contains("FERMATA_APPROVER_TOKEN"), "{error}");
        assert_eq!(error.exit_code(), EXIT_NOT_ALLOWED);
        let env = |name: &str| (name == "FERMATA_TOKEN").then(|| "mine".to_owned());
        assert_eq!(token(Needs::Viewer, env).expect("a token"), "mine");
    }
}
