//! A raw client of the gateway: it sends what it is told to, right or wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod tls;

use std::time::Duration;

use broker_sim::{IbkrCustomer, IbkrPosition, IbkrSim, IbkrSimConfig, MarketConfig, Pace, SimulatedMarket};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// What a client of this product asks of an option.
pub(crate) const OPTION_FIELDS: [&str; 10] = ["31", "84", "86", "6509", "7308", "7309", "7310", "7311", "7633", "7635"];

/// A small, lively market, a gateway without patience for the tests' own pace, and quick frames.
pub(crate) fn config() -> IbkrSimConfig {
    let opened = Some("2026-11-23T14:30:00Z".parse().unwrap());
    let market = SimulatedMarket { seed: 1, rate: 200.0, underlying_rate: 20.0, opened, positions: 0 };
    let mut config = IbkrSimConfig::with_market(MarketConfig::Simulated(market), 1);
    config.customer = IbkrCustomer { positions: 12, ..IbkrCustomer::default() };
    config.protocol.second = Duration::from_micros(1);
    config.protocol.accounts_every = Duration::ZERO;
    config.protocol.socket_messages = 1000;
    config.protocol.status_delay = Duration::from_millis(20);
    config.protocol.greeks_after = Duration::from_millis(40);
    config.pace = Pace::Natural(Duration::from_millis(20));
    config
}

/// REST and sockets of one gateway, whose certificate is pinned.
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) tls: std::sync::Arc<rustls::ClientConfig>,
}

impl Gateway {
    pub(crate) fn new(sim: &IbkrSim) -> Self {
        let tls = tls::pinned(&sim.fingerprint().unwrap_or_default());
        let client = Client::builder().tls_backend_preconfigured(tls.as_ref().clone()).no_proxy().build().unwrap();
        Self { url: sim.gateway_url(), client, tls }
    }

    /// Logged in, with a brokerage session, and primed.
    pub(crate) async fn ready(sim: &IbkrSim) -> Self {
        let gateway = Self::new(sim);
        assert_eq!(gateway.init(true, false).await.1["authenticated"], true);
        assert_eq!(gateway.get("/iserver/accounts").await.0, 200);
        assert_eq!(gateway.get("/portfolio/accounts").await.0, 200);
        gateway
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = timeout(LIMIT, request.send()).await.unwrap().unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn init(&self, publish: bool, compete: bool) -> (u16, Value) {
        self.post("/iserver/auth/ssodh/init", json!({ "publish": publish, "compete": compete })).await
    }

    /// The cookie of now. At most one a second, unless the limit is another.
    pub(crate) async fn session(&self) -> String {
        self.get("/tickle").await.1["session"].as_str().unwrap().to_owned()
    }

    /// All rows of an account.
    pub(crate) async fn rows(&self, account: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        for page in 0.. {
            let (status, body) = self.get(&format!("/portfolio/{account}/positions/{page}")).await;
            assert_eq!(status, 200, "{body}");
            let body = body.as_array().unwrap().clone();
            if body.is_empty() {
                break;
            }
            assert!(body.len() <= 100);
            rows.extend(body);
        }
        rows
    }

    pub(crate) async fn socket(&self) -> Raw {
        let cookie = format!("api={{\"session\":\"{}\"}}", self.session().await);
        Raw::dial(self, Some(&cookie)).await.unwrap()
    }

    /// A socket that has been told it is authenticated.
    pub(crate) async fn live(&self) -> Raw {
        let mut raw = self.socket().await;
        raw.until_authenticated().await;
        raw
    }
}

/// A websocket without any manners of its own.
pub(crate) struct Raw {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) texts: usize,
    pub(crate) binaries: usize,
}

impl Raw {
    pub(crate) async fn dial(
        gateway: &Gateway,
        cookie: Option<&str>,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let url = format!("{}/ws", gateway.url.replacen("http", "ws", 1));
        let mut request = url.into_client_request()?;
        if let Some(cookie) = cookie {
            request.headers_mut().insert("Cookie", cookie.parse().unwrap());
        }
        let config = WebSocketConfig::default().max_frame_size(Some(64 << 20)).max_message_size(Some(64 << 20));
        let connector = Connector::Rustls(std::sync::Arc::clone(&gateway.tls));
        let dialled = connect_async_tls_with_config(request, Some(config), true, Some(connector));
        let (socket, _) = timeout(LIMIT, dialled).await.expect("the upgrade takes too long")?;
        Ok(Self { socket, texts: 0, binaries: 0 })
    }

    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, conid: i64, fields: &[&str]) {
        self.send(format!("smd+{conid}+{}", json!({ "fields": fields }))).await;
    }

    /// The next frame as it came; `Err` with the code of a close, `None` when the connection broke.
    pub(crate) async fn next_bytes(&mut self) -> Option<Result<Vec<u8>, u16>> {
        loop {
            match timeout(LIMIT, self.socket.next()).await.expect("the server is silent")? {
                Ok(Message::Text(text)) => {
                    self.texts += 1;
                    return Some(Ok(text.as_bytes().to_vec()));
                }
                Ok(Message::Binary(bytes)) => {
                    self.binaries += 1;
                    return Some(Ok(bytes.to_vec()));
                }
                Ok(Message::Close(frame)) => {
                    while let Ok(Some(Ok(_))) = timeout(LIMIT, self.socket.next()).await {}
                    return Some(Err(frame.map_or(0, |frame| frame.code.into())));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next frame, which has to be JSON.
    pub(crate) async fn next(&mut self) -> Value {
        let bytes = self.next_bytes().await.expect("open").expect("no close");
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)))
    }

    /// The next frame that fulfils `condition`; others are passed over.
    pub(crate) async fn find(&mut self, mut condition: impl FnMut(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let frame = self.next().await;
                if condition(&frame) {
                    return frame;
                }
            }
        };
        timeout(LIMIT, found).await.expect("it never came")
    }

    pub(crate) async fn market_data(&mut self, conid: i64) -> Value {
        self.find(|frame| frame["topic"] == format!("smd+{conid}")).await
    }

    pub(crate) async fn until_authenticated(&mut self) {
        self.find(|frame| frame["args"]["authenticated"] == true).await;
        self.find(|frame| frame["args"].get("username").is_some()).await;
    }

    pub(crate) async fn expect_close(&mut self) -> u16 {
        loop {
            match self.next_bytes().await {
                Some(Ok(_)) => {}
                Some(Err(code)) => return code,
                None => panic!("a reset instead of a close"),
            }
        }
    }
}

/// Open option positions, one per contract.
pub(crate) fn contracts(sim: &IbkrSim) -> Vec<IbkrPosition> {
    let mut seen = std::collections::HashSet::new();
    sim.positions().into_iter().filter(|row| row.is_open_option() && seen.insert(row.conid)).collect()
}
