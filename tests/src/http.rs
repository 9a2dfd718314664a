//! Requests to greekd's own server, over a plain socket.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::daemon::{Daemon, tail};
use crate::tasty::PATIENCE;
use crate::wait::until;

/// For one answer.
const ANSWER: Duration = Duration::from_secs(20);

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Where this greekd serves, as soon as it does.
///
/// # Panics
/// When it does not in time.
pub async fn address(daemon: &Daemon) -> String {
    until("HTTP is served", PATIENCE, async || daemon.http()).await
}

/// Gets `path`.
///
/// # Panics
/// When there is no answer.
pub async fn get(address: &str, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")).await
}

/// Posts a JSON document to `path`.
///
/// # Panics
/// When there is no answer.
pub async fn post(address: &str, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    ask(address, &(head + &body)).await
}

/// The same as [`get`], which must succeed, as JSON.
///
/// # Panics
/// When it does not.
pub async fn json(daemon: &Daemon, address: &str, path: &str) -> Value {
    let answer = get(address, path).await;
    assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.text, tail(&daemon.stderr()));
    answer.json()
}

async fn ask(address: &str, request: &str) -> Answer {
    let asking = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(ANSWER, asking).await.expect("an answer in time").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Answer { status, text: if chunked { whole(body) } else { body.to_owned() } }
}

/// A body that came in chunks.
fn whole(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let Some(chunk) = usize::from_str_radix(size, 16).ok().and_then(|size| rest.get(..size)) else { break };
        body.push_str(chunk);
        chunks = rest.get(chunk.len() + 2..).unwrap_or_default();
    }
    body
}

/// How many seconds the oldest record that the database does not have has waited; `None` while the program does not say.
pub async fn oldest_waits(address: &str) -> Option<f64> {
    let metrics = get(address, "/metrics").await.text;
    metrics.lines().find_map(|line| line.strip_prefix("greekd_journal_oldest_seconds "))?.parse().ok()
}
