//! HTTP as bytes: for requests that no honest client makes.

use crate::Failure;
use serde_json::Value;
use std::{net::IpAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Longer than any process lets a request take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug)]
pub struct Said {
    /// The HTTP status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body; `null` when it is not JSON.
    pub body: Value,
}

impl Said {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The places that a problem blames.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.filter_map(|it| it["pointer"].as_str()).collect()
    }
}

/// Opens a connection, from this address if one is given: all of 127/8 is this machine.
///
/// # Errors
/// Nobody listens there.
pub async fn connect(address: &str, from: Option<IpAddr>) -> Result<TcpStream, Failure> {
    let failed = |err: std::io::Error| format!("failed to reach {address}: {err}");
    let peer = address.parse().map_err(|err| format!("{address} is no address: {err}"))?;
    let socket = TcpSocket::new_v4().map_err(failed)?;
    if let Some(from) = from {
        socket.bind((from, 0).into()).map_err(failed)?;
    }
    socket.connect(peer).await.map_err(failed)
}

/// Sends these bytes over a connection of their own, and reads the answer to its end; a request
/// should ask for the connection to be closed.
///
/// # Errors
/// No answer came.
pub async fn say(address: &str, from: Option<IpAddr>, bytes: &[u8]) -> Result<Said, Failure> {
    let stream = connect(address, from).await?;
    let (mut reading, mut writing) = stream.into_split();
    let mut answer = Vec::new();
    let talk = async {
        // One that is refused half-way need not be read to its end.
        let sending = async {
            let _cut_short = writing.write_all(bytes).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sending => (),
            _ = reading.read_to_end(&mut answer) => (),
        }
    };
    let in_time = tokio::time::timeout(ANSWER_WITHIN, talk).await;
    read(&answer).ok_or_else(|| match in_time {
        Ok(()) => format!("{address} closed without an answer"),
        Err(_) => format!("{address} did not answer"),
    })
}

fn read(answer: &[u8]) -> Option<Said> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Some(Said { status, head: head.to_owned(), body })
}
