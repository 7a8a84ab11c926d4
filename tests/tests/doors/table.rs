//! A row of the table: one bad request, the door that it comes to, and what must be said to it.

use system_tests::{
    Failure,
    client::As,
    fingerprint::Change,
    raw::{self, Said},
    stack::Stack,
};

/// One request, and what must come of it.
#[derive(Clone)]
pub(crate) struct Row {
    /// What is wrong with it.
    what: String,
    /// Process, method and path, separated by blanks.
    door: String,
    who: As,
    /// Beside those that every request has.
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    is_chunked: bool,
    status: u16,
    /// The JSON pointers that are blamed, and no others.
    pointers: Vec<String>,
    /// A part of the detail.
    says: &'static str,
    /// The HTTP library refuses what is no HTTP by itself, without a body.
    is_bare: bool,
    /// Whether it is a command of a known person, whose refusal is audited.
    is_audited: bool,
    /// All that is sent, in the place of everything above.
    raw: Option<Vec<u8>>,
}

/// A row that blames no field, of a request without a token or a body.
pub(crate) fn row(what: impl Into<String>, door: impl Into<String>, status: u16) -> Row {
    Row {
        what: what.into(),
        door: door.into(),
        who: As::Anyone,
        headers: Vec::new(),
        body: None,
        is_chunked: false,
        status,
        pointers: Vec::new(),
        says: "",
        is_bare: false,
        is_audited: false,
        raw: None,
    }
}

/// What a row wrote but may not, or did not but should: an audit record, where its sender may act.
pub(crate) fn stray(line: &str, is_audited: bool, changes: &[Change]) -> Option<String> {
    let is_audit = |it: &Change| it.store == "fermata" && it.key.first() == Some(&b'a');
    match changes {
        [] if !is_audited => None,
        [change] if is_audited && is_audit(change) => None,
        _ => Some(format!("{line} has written {changes:?}")),
    }
}

impl Row {
    pub(crate) fn by(self, who: As) -> Row {
        Row { who, ..self }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Row {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(self, body: impl AsRef<[u8]>) -> Row {
        Row { body: Some(body.as_ref().to_vec()), ..self }
    }

    /// In chunks, so that its length is not known beforehand.
    pub(crate) fn chunked(self) -> Row {
        Row { is_chunked: true, ..self }
    }

    pub(crate) fn is(self, status: u16) -> Row {
        Row { status, ..self }
    }

    /// Several pointers have a blank between them.
    pub(crate) fn blames(self, pointers: &str) -> Row {
        Row { pointers: pointers.split(' ').map(str::to_owned).collect(), ..self }
    }

    pub(crate) fn says(self, says: &'static str) -> Row {
        Row { says, ..self }
    }

    /// Sends these bytes, to be refused by the HTTP library.
    pub(crate) fn raw(self, raw: impl AsRef<[u8]>) -> Row {
        Row { raw: Some(raw.as_ref().to_vec()), is_bare: true, ..self }
    }

    pub(crate) fn audited(self, is_audited: bool) -> Row {
        Row { is_audited, ..self }
    }

    /// What it wrote but may not, or did not but should.
    pub(crate) fn stray(&self, changes: &[Change]) -> Option<String> {
        stray(&self.line(), self.is_audited, changes)
    }

    pub(crate) fn bare(self) -> Row {
        Row { is_bare: true, ..self }
    }

    /// The row in one line, as the table shows it.
    pub(crate) fn line(&self) -> String {
        let pointers = if self.pointers.is_empty() { "-" } else { &self.pointers.join(" ") };
        let door: String = self.door.chars().take(80).collect();
        format!("| {} | {door} | {} | {pointers} |", self.what, self.status)
    }

    /// Sends it; an error says what was answered instead.
    pub(crate) async fn check(&self, stack: &Stack) -> Result<(), Failure> {
        let said = self.send(stack).await?;
        match self.fault(&said) {
            None => Ok(()),
            Some(why) => Err(format!("{} {why}: {}\n{}", self.line(), said.head, said.body)),
        }
    }

    /// Sends it, whatever is answered.
    pub(crate) async fn send(&self, stack: &Stack) -> Result<Said, Failure> {
        let mut door = self.door.splitn(3, ' ');
        let process = door.next().unwrap_or_default();
        let address = &stack.env()[&format!("{}_HTTP_ADDR", process.to_uppercase())];
        let (method, path) = (door.next().unwrap_or_default(), door.next().unwrap_or_default());
        let said = raw::say(address, None, &self.request(stack, method, path)).await;
        said.map_err(|why| format!("{}: {why}", self.line()))
    }

    fn request(&self, stack: &Stack, method: &str, path: &str) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        let has = |name: &str| self.headers.iter().any(|it| it.0.eq_ignore_ascii_case(name));
        let token = match self.who {
            As::Anyone => None,
            As::Viewer => Some("FERMATA_VIEWER_TOKEN"),
            As::Approver => Some("FERMATA_APPROVER_TOKEN"),
            As::Operator => Some("FERMATA_OPERATOR_TOKEN"),
        };
        if let Some(token) = token {
            head += &format!("Authorization: Bearer {}\r\n", stack.env()[token]);
        }
        let body = self.body.clone().unwrap_or_default();
        if self.body.is_some() && !has("Content-Type") {
            head += "Content-Type: application/json\r\n";
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.is_chunked {
            head += "Transfer-Encoding: chunked\r\n\r\n";
            let size = format!("{:x}\r\n", body.len());
            return [head.as_bytes(), size.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        }
        if self.body.is_some() && !has("Content-Length") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        [head.as_bytes(), b"\r\n", &body].concat()
    }

    /// What is not as it should be.
    fn fault(&self, said: &Said) -> Option<&'static str> {
        if said.status != self.status {
            return Some("has another status");
        }
        if self.is_bare {
            return None;
        }
        let is_problem = said.header("Content-Type") == Some("application/problem+json")
            && said.body["status"] == self.status
            && said.body["type"] == "about:blank"
            && said.body["title"].is_string();
        let needs = match self.status {
            401 => Some("WWW-Authenticate"),
            405 => Some("Allow"),
            429 | 503 => Some("Retry-After"),
            _ => None,
        };
        match said.body["detail"].as_str() {
            _ if !is_problem => Some("is no problem+json"),
            _ if said.pointers() != self.pointers => Some("blames other fields"),
            _ if needs.is_some_and(|name| said.header(name).is_none()) => Some("lacks a header"),
            Some(detail) if detail.contains(self.says) => None,
            _ => Some("says something else"),
        }
    }
}
