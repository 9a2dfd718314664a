//! The gateway's end of a websocket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::{PATIENCE, State};

pub(crate) struct Wire {
    pub(crate) socket: WebSocketStream<TcpStream>,
    /// Of the upgrade.
    pub(crate) cookie: String,
    state: Arc<Mutex<State>>,
    authenticated: bool,
}

impl Wire {
    // The trait's signature is the library's.
    #[allow(clippy::result_large_err)]
    pub(super) async fn upgrade(socket: TcpStream, state: Arc<Mutex<State>>) -> Self {
        let mut cookie = String::new();
        let callback = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            if let Some(value) = request.headers().get("cookie") {
                cookie = value.to_str().unwrap().to_owned();
            }
            Ok(response)
        };
        let socket = accept_hdr_async(socket, callback).await.unwrap();
        Self { socket, cookie, state, authenticated: false }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn say_binary(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// Bytes that the library would not send.
    pub(crate) async fn say_raw(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).await.unwrap();
    }

    /// What a gateway says first, up to `sts authenticated:true`.
    pub(crate) async fn greet(&mut self) {
        self.say(r#"{"topic":"system","success":"user123","isFT":false,"isPaper":true}"#).await;
        self.say(r#"{"topic":"act","args":{"accounts":["U0000001"],"selectedAccount":"U0000001"}}"#).await;
        self.authenticated = true;
        self.say(r#"{"topic":"sts","args":{"authenticated":true}}"#).await;
        self.say(r#"{"topic":"sts","args":{"competing":false}}"#).await;
        self.say(r#"{"topic":"sts","args":{"message":""}}"#).await;
    }

    /// Whatever the client says next. Before it may, it is a violation.
    pub(crate) async fn hear(&mut self) -> String {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => {
                    if !self.authenticated {
                        self.state.lock().unwrap().violations.push(format!("{text} before sts"));
                    }
                    return text.to_string();
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message that begins so; the others are passed over.
    pub(crate) async fn hear_until(&mut self, start: &str) -> String {
        loop {
            let text = self.hear().await;
            if text.starts_with(start) {
                return text;
            }
        }
    }

    /// The next subscriptions: exactly of these contracts, in this order.
    pub(crate) async fn expect_subscriptions(&mut self, contracts: &[i64]) {
        let mut heard = Vec::new();
        while heard.len() < contracts.len() {
            let text = self.hear_until("smd+").await;
            let (contract, fields) = text.strip_prefix("smd+").unwrap().split_once('+').unwrap();
            assert!(fields.contains(r#""84""#), "fields are texts: {text}");
            heard.push(contract.parse::<i64>().unwrap());
        }
        assert_eq!(heard, contracts);
    }

    /// Whether the client says nothing for so long.
    pub(crate) async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.socket.next()).await.is_err()
    }

    /// What the client says up to its close frame; `None` when the connection ends without one.
    pub(crate) async fn until_closed(&mut self) -> Option<Vec<String>> {
        let mut heard = Vec::new();
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("not closed") {
                Some(Ok(Message::Text(text))) => heard.push(text.to_string()),
                Some(Ok(Message::Close(_))) => return Some(heard),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The client leaves in good order: subscriptions end, and the connection by a close frame.
    pub(crate) async fn expect_farewell(&mut self, contracts: &[i64]) {
        let heard = self.until_closed().await.expect("no close frame");
        let mut ended: Vec<i64> =
            heard.iter().filter_map(|text| text.strip_prefix("umd+")?.split('+').next()?.parse().ok()).collect();
        let mut expected = contracts.to_vec();
        ended.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ended, expected, "{heard:?}");
    }
}
