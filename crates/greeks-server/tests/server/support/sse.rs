//! A client of the stream that sees its events one by one.
#![allow(unreachable_pub)]

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SOON;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Event {
    pub fn version(&self) -> u64 {
        self.data["version"].as_u64().unwrap_or_else(|| panic!("no version: {self:?}"))
    }
}

/// A stream that is read when asked.
pub struct Sse {
    pub stream: TcpStream,
    pub head: String,
    raw: Vec<u8>,
    text: Vec<u8>,
    scanned: usize,
}

impl Sse {
    pub async fn open(address: SocketAddr, target: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut raw = Vec::new();
        let end = loop {
            if let Some(at) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            assert_ne!(timeout(SOON, stream.read_buf(&mut raw)).await.unwrap().unwrap(), 0);
        };
        let head = String::from_utf8(raw.drain(..end + 4).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Self { stream, head, raw, text: Vec::new(), scanned: 0 }
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        timeout(SOON, self.read()).await.expect("no event in time")
    }

    /// The next event of this name; others are passed over.
    pub async fn named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before a {name}"));
            if event.name == name {
                return event;
            }
        }
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            let found = self.text[self.scanned..].windows(2).position(|window| window == b"\n\n");
            if let Some(at) = found.map(|at| at + self.scanned) {
                let event: Vec<u8> = self.text.drain(..at + 2).collect();
                self.scanned = 0;
                return Some(parse(&String::from_utf8(event).unwrap()));
            }
            self.scanned = self.text.len().saturating_sub(1);
            match self.chunk() {
                Some(chunk) if chunk.is_empty() => return None,
                Some(chunk) => self.text.extend(chunk),
                None => match self.stream.read_buf(&mut self.raw).await {
                    Ok(1..) => {}
                    _ => return None,
                },
            }
        }
    }

    /// The next chunk if it is whole.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let at = self.raw.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&self.raw[..at]).unwrap(), 16).unwrap();
        let (begin, end) = (at + 2, at + 2 + size);
        if self.raw.len() < end + 2 {
            return None;
        }
        let chunk = self.raw[begin..end].to_vec();
        assert_eq!(&self.raw[end..end + 2], b"\r\n");
        self.raw.drain(..end + 2);
        Some(chunk)
    }
}

fn parse(text: &str) -> Event {
    let (mut name, mut id, mut data) = (String::new(), None, String::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        match field {
            "event" => name = value.into(),
            "id" => id = Some(value.into()),
            "data" => data.push_str(value),
            other => panic!("{other}"),
        }
    }
    Event { name, id, data: serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {text}")) }
}
