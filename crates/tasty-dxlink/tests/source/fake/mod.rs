//! A scripted tastytrade: a small HTTP responder and a websocket server that says what a test tells it to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) use broker_net::testkit::{Reply, Request, no_trust, trust};
use futures_util::{SinkExt, StreamExt};
use greeks_model::testkit::{self, ContextEnds};
use greeks_model::{AccountId, QuoteSource, SessionEnd, SessionState, SourceError, SourceEvent};
use tasty_dxlink::{TastyConfig, TastySource};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

pub(crate) const REFRESH: &str = "canary-refresh";
pub(crate) const SECRET: &str = "canary-secret";
pub(crate) const QUOTE: &str = "canary-quote";
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

type Answer = Box<dyn Fn(&Request) -> Option<Reply> + Send>;

/// Both servers, and what they were asked.
pub(crate) struct Broker {
    pub(crate) api: String,
    pub(crate) streamer: String,
    /// Not in [`Broker::config`]: a test that wants an account streamer sets it.
    pub(crate) account_streamer: String,
    listener: TcpListener,
    account_listener: TcpListener,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    overrides: Arc<Mutex<Vec<Answer>>>,
    task: JoinHandle<()>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) const POSITION_A: &str = r#"{"account-number":"5WT00001","instrument-type":"Equity Option","symbol":"AAPL  261218C00232500","underlying-symbol":"AAPL","quantity":3,"quantity-direction":"Short","multiplier":100}"#;
pub(crate) const POSITION_B: &str = r#"{"account-number":"5WT00001","instrument-type":"Equity Option","symbol":"SPXW  261124P06650000","underlying-symbol":"SPX","quantity":"1","quantity-direction":"Long","multiplier":"100","streamer-symbol":".SPXW261124P6650"}"#;
pub(crate) const POSITION_F: &str = r#"{"account-number":"5WT00001","instrument-type":"Future Option","symbol":"./MNQZ6D4AU6 260922C24575","underlying-symbol":"/MNQZ6","quantity":1,"quantity-direction":"Long","multiplier":2}"#;

/// Only one of the customer's accounts is streamed.
pub(crate) fn one_account(mut config: TastyConfig) -> TastyConfig {
    config.accounts = Some(vec![AccountId::new("5WT00001").unwrap()]);
    config
}

pub(crate) fn items(items: &[&str]) -> String {
    format!(r#"{{"data":{{"items":[{}]}},"context":"/x"}}"#, items.join(","))
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let rest = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let account_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let account_streamer = format!("ws://{}", account_listener.local_addr().unwrap());
        let api = format!("http://{}", rest.local_addr().unwrap());
        let streamer = format!("ws://{}/realtime", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let overrides: Arc<Mutex<Vec<Answer>>> = Arc::default();
        let task = tokio::spawn(serve(rest, streamer.clone(), Arc::clone(&requests), Arc::clone(&overrides)));
        Self { api, streamer, account_streamer, listener, account_listener, requests, overrides, task }
    }

    /// Answers requests for which `answer` gives a reply; later ones come first.
    pub(crate) fn on(&self, answer: impl Fn(&Request) -> Option<Reply> + Send + 'static) {
        self.overrides.lock().unwrap().insert(0, Box::new(answer));
    }

    /// Answers GETs whose path holds `part`.
    pub(crate) fn answer(&self, part: &'static str, reply: Reply) {
        self.on(move |request| request.line.contains(part).then(|| reply.clone()));
    }

    pub(crate) fn positions(&self, positions: &[&str]) {
        self.answer("/positions", Reply::ok(items(positions)));
    }

    /// As [`Broker::positions`], for those that were made up.
    pub(crate) fn hold(&self, positions: &[String]) {
        self.positions(&positions.iter().map(String::as_str).collect::<Vec<_>>());
    }

    pub(crate) fn config(&self) -> TastyConfig {
        let mut config = TastyConfig::new(REFRESH.into(), SECRET.into());
        config.api_url = self.api.clone();
        config.rest_spacing = Duration::ZERO;
        config.chunk_pause = Duration::ZERO;
        config.head_start = Duration::ZERO;
        config
    }

    /// With an account streamer.
    pub(crate) fn config_with_accounts(&self) -> TastyConfig {
        let mut config = self.config();
        config.streamer_url = Some(self.account_streamer.clone());
        config
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| request.line.clone()).collect()
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(part)).count()
    }

    /// The next websocket.
    pub(crate) async fn accept(&self) -> Streamer {
        Self::upgrade(self.accept_raw().await).await
    }

    /// The next connection to the streamer, before its upgrade.
    pub(crate) async fn accept_raw(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.expect("nobody dialled").unwrap().0
    }

    /// The next websocket to the account streamer.
    pub(crate) async fn accept_account(&self) -> Streamer {
        Self::upgrade(self.accept_account_raw().await).await
    }

    /// The next connection to the account streamer, before its upgrade.
    pub(crate) async fn accept_account_raw(&self) -> TcpStream {
        timeout(PATIENCE, self.account_listener.accept()).await.expect("nobody dialled").unwrap().0
    }

    /// The next websocket to the account streamer, with the accounts taken.
    pub(crate) async fn connect_account(&self) -> Streamer {
        let mut accounts = self.accept_account().await;
        let connect = accounts.hear().await;
        assert!(connect.contains(r#""action":"connect""#), "{connect}");
        accounts.say(&acknowledgement(&connect)).await;
        accounts
    }

    async fn upgrade(socket: TcpStream) -> Streamer {
        let limits = tokio_tungstenite::tungstenite::protocol::WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        Streamer { socket: accept_async_with_config(socket, Some(limits)).await.unwrap() }
    }

    /// The next websocket, up to AUTHORIZED.
    pub(crate) async fn authorize(&self) -> Streamer {
        let mut streamer = self.accept().await;
        streamer.expect("SETUP").await;
        streamer.say(include_str!("../../fixtures/setup.json")).await;
        streamer.say(include_str!("../../fixtures/auth_unauthorized.json")).await;
        let auth = streamer.expect("AUTH").await;
        assert!(auth.contains(QUOTE), "{auth}");
        streamer.say(include_str!("../../fixtures/auth_authorized.json")).await;
        streamer
    }

    /// The next websocket, up to the requests for both channels.
    pub(crate) async fn request_channels(&self) -> Streamer {
        let mut streamer = self.authorize().await;
        for channel in [1, 3] {
            let request = streamer.expect("CHANNEL_REQUEST").await;
            assert!(request.contains(&format!("\"channel\":{channel},")), "{request}");
        }
        streamer
    }

    /// The next websocket, up to the subscriptions of both channels.
    pub(crate) async fn subscribe(&self) -> Streamer {
        let mut streamer = self.request_channels().await;
        for channel in [1, 3] {
            streamer.say(&format!(r#"{{"type":"CHANNEL_OPENED","channel":{channel},"service":"FEED"}}"#)).await;
            streamer.expect("FEED_SETUP").await;
            streamer.expect("FEED_SUBSCRIPTION").await;
        }
        streamer
    }

    /// A client whose session streams, and its streamer.
    pub(crate) async fn streaming(&self, config: TastyConfig) -> (Client, Streamer) {
        let mut client = Client::new(config, 64);
        client.start();
        let mut streamer = self.subscribe().await;
        streamer.say(CONFIG).await;
        client.state(connected).await;
        (client, streamer)
    }
}

/// The account streamer's consent to a message of the client.
pub(crate) fn acknowledgement(said: &str) -> String {
    let said: serde_json::Value = serde_json::from_str(said).unwrap();
    serde_json::json!({"status": "ok", "action": said["action"], "web-socket-session-id": "5b6e2799", "request-id": said["request-id"]})
        .to_string()
}

async fn serve(rest: TcpListener, streamer: String, log: Arc<Mutex<Vec<Request>>>, overrides: Arc<Mutex<Vec<Answer>>>) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok((mut socket, _)) = rest.accept().await {
        let (streamer, log, overrides) = (streamer.clone(), Arc::clone(&log), Arc::clone(&overrides));
        tasks.spawn(async move {
            let Some(request) = Request::read(&mut socket).await else { return };
            log.lock().unwrap().push(request.clone());
            let number = log.lock().unwrap().len();
            let special = overrides.lock().unwrap().iter().find_map(|answer| answer(&request));
            let reply = special.unwrap_or_else(|| plain_answer(&request, &streamer, number));
            reply.send(&mut socket).await;
        });
    }
}

fn plain_answer(request: &Request, streamer: &str, number: usize) -> Reply {
    let authorized = request.headers.contains("authorization: bearer canary-access");
    let path = request.line.split(' ').nth(1).unwrap_or_default();
    match path {
        "/oauth/token" if request.body.contains(REFRESH) && request.body.contains(SECRET) => {
            Reply::ok(format!(r#"{{"access_token":"canary-access-{number}","token_type":"Bearer","expires_in":900}}"#))
        }
        "/oauth/token" => Reply::status(400, r#"{"error":"invalid_grant"}"#),
        _ if !authorized => Reply::status(401, r#"{"error":{"code":"token_invalid","message":"x"}}"#),
        "/customers/me/accounts" => Reply::ok(include_str!("../../fixtures/accounts.json")),
        "/accounts/5WT00001/positions" => Reply::ok(items(&[POSITION_A, POSITION_B])),
        "/accounts/5WT00002/positions" => Reply::ok(items(&[])),
        "/api-quote-tokens" => Reply::ok(format!(
            r#"{{"data":{{"token":"{QUOTE}-{number}","dxlink-url":"{streamer}","level":"api"}},"context":"/api-quote-tokens"}}"#
        )),
        _ => Reply::status(404, r#"{"error":{"code":"not_found","message":"x"}}"#),
    }
}

/// The server's end of a websocket.
pub(crate) struct Streamer {
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Streamer {
    pub(crate) async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text.trim())).await.unwrap();
    }

    /// The next message that is no KEEPALIVE; must be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> String {
        loop {
            let text = self.hear().await;
            if text.contains(&format!("\"type\":\"{kind}\"")) {
                return text;
            }
            assert!(text.contains("KEEPALIVE"), "expected {kind}, got {text}");
        }
    }

    /// Opens a channel, in as few words as a streamer may use; the client sets it up.
    pub(crate) async fn open(&mut self, channel: u32) {
        self.say(&format!(r#"{{"type":"CHANNEL_OPENED","channel":{channel}}}"#)).await;
        self.expect("FEED_SETUP").await;
    }

    pub(crate) async fn hear(&mut self) -> String {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Whether the client says nothing for so long.
    pub(crate) async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.socket.next()).await.is_err()
    }

    /// Reads until the client's close frame or the end of the connection.
    pub(crate) async fn until_closed(&mut self) -> bool {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("not closed") {
                Some(Ok(Message::Close(_))) => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
        }
    }
}

/// A source under test and the ends of its context.
pub(crate) struct Client {
    pub(crate) ends: ContextEnds,
    cx: greeks_model::SourceContext,
    source: Option<TastySource>,
    running: Option<JoinHandle<(TastySource, Result<SessionEnd, SourceError>)>>,
}

impl Client {
    pub(crate) fn new(config: TastyConfig, capacity: usize) -> Self {
        Self::with_tls(config, capacity, no_trust())
    }

    pub(crate) fn with_tls(config: TastyConfig, capacity: usize, tls: Arc<rustls::ClientConfig>) -> Self {
        let (cx, ends) = testkit::context(capacity, false);
        Self { ends, cx, source: Some(TastySource::new(config, tls).unwrap()), running: None }
    }

    /// Begins a session.
    pub(crate) fn start(&mut self) {
        let mut source = self.source.take().unwrap();
        let cx = self.cx.clone();
        self.running = Some(tokio::spawn(async move {
            let result = source.run_session(&cx).await;
            (source, result)
        }));
    }

    /// Waits for the end of the session.
    pub(crate) async fn end(&mut self) -> Result<SessionEnd, SourceError> {
        let (source, result) = timeout(PATIENCE, self.running.take().unwrap()).await.expect("no end").unwrap();
        self.source = Some(source);
        result
    }

    /// Waits for the failure of the session; checks that it tells no secret.
    pub(crate) async fn failure(&mut self) -> SourceError {
        let error = self.end().await.unwrap_err();
        let text = format!("{error} {error:?} {}", error.cause);
        assert!(!text.contains("canary") && !text.contains("5WT0000"), "{text}");
        let text = format!("{:?}", self.source);
        assert!(text.contains("TastySource") && !text.contains("canary") && !text.contains("5WT0000"), "{text}");
        error
    }

    pub(crate) async fn event(&mut self) -> SourceEvent {
        timeout(PATIENCE, self.ends.events.recv()).await.expect("no event").expect("closed")
    }

    /// The next event that tells no positions.
    pub(crate) async fn quote(&mut self) -> SourceEvent {
        loop {
            match self.event().await {
                SourceEvent::Positions(_) => {}
                other => return other,
            }
        }
    }

    pub(crate) async fn state(&mut self, wanted: impl Fn(&SessionState) -> bool) -> SessionState {
        let status = timeout(PATIENCE, self.ends.status.wait_for(|status| wanted(&status.state))).await;
        status.expect("the state did not come").unwrap().state.clone()
    }
}

pub(crate) fn delta(event: &SourceEvent) -> Option<f64> {
    match event {
        SourceEvent::Quote { update, .. } => update.delta,
        other => panic!("{other:?}"),
    }
}

pub(crate) const fn connected(state: &SessionState) -> bool {
    matches!(state, SessionState::Connected)
}

/// Ends a client's session.
pub(crate) async fn stop(mut client: Client) {
    client.ends.cancel.cancel();
    client.end().await.unwrap();
}

pub(crate) const CONFIG: &str = r#"{"type":"FEED_CONFIG","channel":1,"dataFormat":"COMPACT","aggregationPeriod":0,"eventFields":{"Greeks":["eventSymbol","time","delta"]}}"#;

/// One FEED_DATA for [`CONFIG`].
pub(crate) fn deltas(rows: &[(&str, f64)]) -> String {
    let rows: Vec<String> =
        rows.iter().map(|(symbol, delta)| format!(r#""{symbol}",1700000000000,{delta:?}"#)).collect();
    format!(r#"{{"type":"FEED_DATA","channel":1,"data":["Greeks",[{}]]}}"#, rows.join(","))
}

pub(crate) const SYMBOL_A: &str = ".AAPL261218C232.5";
pub(crate) const SYMBOL_B: &str = ".SPXW261124P6650";
