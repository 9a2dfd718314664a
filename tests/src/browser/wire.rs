//! The DevTools protocol: commands with answers, and events, over one websocket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// For the answer to one command; generous, since machines are shared.
const ANSWER: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection to a browser.
#[derive(Debug)]
pub(super) struct Wire {
    sink: tokio::sync::Mutex<SplitSink<Socket, Message>>,
    state: Arc<Mutex<State>>,
    reader: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    commands: u64,
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    /// By session.
    events: HashMap<String, Vec<Value>>,
}

impl Wire {
    pub(super) async fn connect(url: &str) -> Self {
        // Screenshots and heaps are large.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) =
            connect_async_with_config(url, Some(config), true).await.expect("a connection to the browser");
        let (sink, stream) = socket.split();
        let state = Arc::<Mutex<State>>::default();
        let reader = tokio::spawn(read(stream, Arc::clone(&state)));
        Self { sink: tokio::sync::Mutex::new(sink), state, reader }
    }

    /// The result of a command, to the browser or to the page of a session.
    pub(super) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut state = lock(&self.state);
            state.commands += 1;
            let id = state.commands;
            state.waiting.insert(id, sender);
            id
        };
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        self.sink.lock().await.send(Message::text(command.to_string())).await.expect("the browser listens");
        let answer = timeout(ANSWER, answer).await.unwrap_or_else(|_| panic!("the browser does not answer {method}"));
        let mut answer = answer.unwrap_or_else(|_| panic!("the browser has gone before it answered {method}"));
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].take()
    }

    /// The events of a session so far.
    pub(super) fn events(&self, session: &str) -> Vec<Value> {
        lock(&self.state).events.get(session).cloned().unwrap_or_default()
    }

    /// Takes the events of one method out of those of a session.
    pub(super) fn take(&self, session: &str, method: &str) -> Vec<Value> {
        let mut state = lock(&self.state);
        let Some(events) = state.events.get_mut(session) else { return Vec::new() };
        let (taken, others) = std::mem::take(events).into_iter().partition(|event| event["method"] == method);
        *events = others;
        taken
    }

    /// Forgets the events of a session.
    pub(super) fn forget(&self, session: &str) {
        lock(&self.state).events.remove(session);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut stream: SplitStream<Socket>, state: Arc<Mutex<State>>) {
    while let Some(Ok(message)) = stream.next().await {
        let Ok(text) = message.to_text() else { continue };
        let Ok(message) = serde_json::from_str::<Value>(text) else { continue };
        let mut state = lock(&state);
        if let Some(id) = message["id"].as_u64() {
            if let Some(sender) = state.waiting.remove(&id) {
                // Who asked may have given up.
                sender.send(message).ok();
            }
        } else if let Some(session) = message["sessionId"].as_str() {
            // What a stream brings is told for every piece, and nobody asks for it.
            if message["method"] != "Network.dataReceived" && message["method"] != "Network.eventSourceMessageReceived"
            {
                state.events.entry(session.to_owned()).or_default().push(message);
            }
        }
    }
    // Nothing is answered any more.
    lock(&state).waiting.clear();
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
