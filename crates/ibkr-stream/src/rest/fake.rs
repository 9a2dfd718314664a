//! A small gateway for tests: answers each request with what a closure says, and remembers what was asked.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Rest;
use crate::IbkrConfig;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    /// Method and path with query, below the host: `GET /v1/api/tickle`.
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What the gateway answers; a status of 0 closes the connection without a word.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: &'static str,
    pub(crate) body: String,
}

impl From<&str> for Answer {
    fn from(body: &str) -> Self {
        Self { status: 200, headers: "", body: body.into() }
    }
}

impl From<String> for Answer {
    fn from(body: String) -> Self {
        Self { status: 200, headers: "", body }
    }
}

impl From<(u16, &str)> for Answer {
    fn from((status, body): (u16, &str)) -> Self {
        Self { status, headers: "", body: body.into() }
    }
}

/// The gateway. What it answers to is the path below `/v1/api` with its query: `GET /portfolio/accounts`.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) config: IbkrConfig,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    pub(crate) async fn start<A: Into<Answer>>(answer: impl Fn(&str) -> A + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = IbkrConfig::new(&format!("http://{}/v1/api", listener.local_addr().unwrap()));
        config.rest_spacing = Duration::ZERO;
        config.tickle_spacing = Duration::ZERO;
        config.account_list_spacing = Duration::ZERO;
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let Some(request) = read(&mut socket).await else { continue };
                let below = request.line.replacen("/v1/api", "", 1);
                seen.lock().unwrap().push(request);
                let Answer { status, headers, body } = answer(&below).into();
                let head = format!(
                    "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                if status > 0 {
                    socket.write_all(format!("{head}{body}").as_bytes()).await.ok();
                }
            }
        });
        Self { config, asked, task }
    }

    pub(crate) fn rest(&self) -> Rest {
        rest(&self.config)
    }

    /// What was asked since the last look.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// How many requests have come since the last look, which this is not.
    pub(crate) fn asked_count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The lines of what was asked since the last look, below `/v1/api`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line.replacen("/v1/api", "", 1)).collect()
    }
}

pub(crate) fn rest(config: &IbkrConfig) -> Rest {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = Arc::new(tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth());
    Rest::new(config, config.checked().unwrap().api, &tls).unwrap()
}

async fn read(socket: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let line = head.lines().next()?.strip_suffix(" HTTP/1.1")?.to_owned();
                return Some(Asked { at: Instant::now(), line, head: head.to_owned(), body: body.to_owned() });
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
