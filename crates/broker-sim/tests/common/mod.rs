//! A raw client: it sends what it is told to, right or wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod rows;

use std::time::Duration;

use broker_sim::{MarketConfig, SimConfig, SimulatedMarket, TastySim};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

pub(crate) const LIMIT: Duration = Duration::from_secs(10);

pub(crate) const GREEKS_FIELDS: [&str; 12] = [
    "eventType",
    "eventSymbol",
    "time",
    "sequence",
    "index",
    "price",
    "volatility",
    "delta",
    "gamma",
    "theta",
    "rho",
    "vega",
];

/// A small, lively market.
pub(crate) fn config() -> SimConfig {
    let mut config = SimConfig::simulated(1);
    let opened = Some("2026-11-23T14:30:00Z".parse().unwrap());
    config.market =
        MarketConfig::Simulated(SimulatedMarket { seed: 1, positions: 12, rate: 200.0, underlying_rate: 20.0, opened });
    config
}

/// An answer of the REST double.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) async fn http(sim: &TastySim, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let address = sim.api_url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer { head: head.to_owned(), status: head.split(' ').nth(1).unwrap().parse().unwrap(), body: body.to_owned() }
}

pub(crate) const AGENT: (&str, &str) = ("User-Agent", "raw-client/1.0");

pub(crate) async fn log_in(sim: &TastySim) -> String {
    let credentials = sim.credentials();
    let body = json!({
        "grant_type": "refresh_token", "refresh_token": credentials.refresh_token,
        "client_secret": credentials.client_secret,
    });
    let answer =
        http(sim, "POST", "/oauth/token", &[AGENT, ("Content-Type", "application/json")], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

pub(crate) async fn get(sim: &TastySim, token: &str, path: &str) -> Answer {
    http(sim, "GET", path, &[AGENT, ("Authorization", &format!("Bearer {token}"))], "").await
}

pub(crate) async fn quote_token(sim: &TastySim) -> String {
    let access = log_in(sim).await;
    let answer = get(sim, &access, "/api-quote-tokens").await.json();
    assert_eq!(answer["data"]["dxlink-url"], sim.dxlink_url());
    answer["data"]["token"].as_str().unwrap().to_owned()
}

/// A websocket without any manners of its own.
pub(crate) struct Raw {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Raw {
    pub(crate) async fn connect(sim: &TastySim) -> Self {
        Self::connect_to(sim.dxlink_url()).await
    }

    pub(crate) async fn connect_to(url: &str) -> Self {
        let config = WebSocketConfig::default().max_frame_size(Some(64 << 20));
        Self { socket: connect_async_with_config(url, Some(config), true).await.unwrap().0 }
    }

    /// SETUP, AUTH and a channel with FEED_SETUP.
    pub(crate) async fn ready(sim: &TastySim, contract: &str, period: f64, format: &str) -> Self {
        let mut raw = Self::connect(sim).await;
        raw.setup(60.0).await;
        raw.expect("AUTH_STATE").await;
        raw.send(json!({"type": "AUTH", "channel": 0, "token": quote_token(sim).await})).await;
        assert_eq!(raw.expect("AUTH_STATE").await["state"], "AUTHORIZED");
        raw.send(
            json!({"type": "CHANNEL_REQUEST", "channel": 1, "service": "FEED", "parameters": {"contract": contract}}),
        )
        .await;
        raw.expect("CHANNEL_OPENED").await;
        raw.send(json!({
            "type": "FEED_SETUP", "channel": 1, "acceptAggregationPeriod": period, "acceptDataFormat": format,
            "acceptEventFields": {"Greeks": GREEKS_FIELDS, "Quote": ["eventType", "eventSymbol", "bidPrice", "askPrice"]},
        }))
        .await;
        let config = raw.expect("FEED_CONFIG").await;
        assert_eq!(config["dataFormat"], format);
        assert!(config.get("eventFields").is_none(), "field lists come when they are needed: {config}");
        raw
    }

    pub(crate) async fn setup(&mut self, keepalive: f64) {
        self.send(json!({
            "type": "SETUP", "channel": 0, "version": "0.1-raw/1.0", "keepaliveTimeout": keepalive,
            "acceptKeepaliveTimeout": keepalive,
        }))
        .await;
        assert_eq!(self.expect("SETUP").await["channel"], 0);
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, kind: &str, symbols: &[&str]) {
        let add: Vec<Value> = symbols.iter().map(|symbol| json!({"type": kind, "symbol": symbol})).collect();
        self.send(json!({"type": "FEED_SUBSCRIPTION", "channel": 1, "add": add})).await;
    }

    /// The next message; `None` after the close.
    pub(crate) async fn next(&mut self) -> Option<Result<Value, u16>> {
        Some(self.next_text().await?.map(|text| serde_json::from_str(&text).unwrap()))
    }

    /// The next message as it came.
    pub(crate) async fn next_text(&mut self) -> Option<Result<String, u16>> {
        loop {
            match timeout(LIMIT, self.socket.next()).await.expect("the server is silent")? {
                Ok(Message::Text(text)) => return Some(Ok(text.as_str().to_owned())),
                Ok(Message::Close(frame)) => {
                    // Reading on sends the answer.
                    while let Ok(Some(Ok(_))) = timeout(LIMIT, self.socket.next()).await {}
                    return Some(Err(frame.map_or(0, |frame| frame.code.into())));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message, which has to be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let message = self.next().await.expect("open").expect("no close");
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next message of this type; others are passed over.
    pub(crate) async fn find(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await.expect("open").expect("no close");
            if message["type"] == kind {
                return message;
            }
        }
    }

    pub(crate) async fn expect_close(&mut self) -> u16 {
        match self.next().await {
            Some(Err(code)) => code,
            other => panic!("{other:?} instead of a close"),
        }
    }
}
