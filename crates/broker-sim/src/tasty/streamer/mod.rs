//! The account streamer: a listener and its connections.

mod messages;
mod session;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};
use tokio_util::sync::CancellationToken;

pub(crate) use self::messages::Notice;
use self::session::Session;
use super::state::Shared;
use super::violations::Rule;
use crate::service::accept;

/// For the HTTP upgrade.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// For a client to take a message, or to answer a close.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Connections open at a time; more are refused.
const MAX_CONNECTIONS: usize = 100;

/// What clients send is small.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

type Socket = WebSocketStream<TcpStream>;

/// Accepts connections until `stop`, then closes them in good order.
pub(crate) async fn listen(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let ended = stop.clone();
    let serve = move |stream, number| serve(stream, number, Arc::clone(&shared), ended.clone());
    accept(listener, MAX_CONNECTIONS, stop, serve).await;
}

async fn serve(stream: TcpStream, number: u64, shared: Arc<Shared>, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES));
    let mut socket = match timeout(HANDSHAKE_LIMIT, accept_async_with_config(stream, Some(config))).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return tracing::debug!(number, %error, "handshake failed"),
        Err(_) => return tracing::debug!(number, "handshake took too long"),
    };
    let drop_all = shared.streamer_token();
    let mut open = Open::new(Arc::clone(&shared));
    let mut session = Session::new(number, shared, Instant::now());
    match run(&mut socket, &mut session, &mut open, &drop_all, &stop).await {
        End::Gone => {}
        End::Abrupt => {
            if let Err(error) = socket.get_ref().set_zero_linger() {
                tracing::debug!(%error, "cannot reset the connection");
            }
        }
        End::Orderly(code, reason) => close(&mut socket, code, reason).await,
    }
}

/// How a connection came to its end.
enum End {
    /// The peer closed, or the socket broke.
    Gone,
    /// Reset without a word.
    Abrupt,
    /// Close with this code and reason.
    Orderly(CloseCode, &'static str),
}

async fn run(
    socket: &mut Socket,
    session: &mut Session,
    open: &mut Open,
    drop_all: &CancellationToken,
    stop: &CancellationToken,
) -> End {
    let mut notices = open.shared.notices.subscribe();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return End::Orderly(CloseCode::Away, "going away"),
            () = drop_all.cancelled() => return End::Abrupt,
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => session.on_text(text.as_str(), Instant::now()),
                Some(Ok(Message::Binary(_))) => {
                    session.note(Rule::Binary, "a binary message to the account streamer");
                    return End::Orderly(CloseCode::Unsupported, "text only");
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
            },
            notice = notices.recv() => match notice {
                Ok(notice) => session.on_notice(&notice),
                // As with the real one, a message can be missed: REST has the truth.
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "the account streamer missed changes"),
                Err(RecvError::Closed) => return End::Orderly(CloseCode::Away, "going away"),
            },
            () = sleep_until(session.deadline()) => {}
        }
        session.on_time(Instant::now());
        open.set_connected(session.is_connected());
        for text in std::mem::take(&mut session.out) {
            if !timeout(WRITE_LIMIT, socket.send(Message::text(text))).await.is_ok_and(|sent| sent.is_ok()) {
                return End::Abrupt;
            }
            open.shared.counters.update(|stats| stats.streamer_messages += 1);
        }
        if let Some(reason) = session.close {
            return End::Orderly(CloseCode::Policy, reason);
        }
    }
}

async fn close(socket: &mut Socket, code: CloseCode, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    let orderly = async {
        socket.send(Message::Close(Some(frame))).await?;
        while let Some(message) = socket.next().await {
            message?;
        }
        Ok::<(), tokio_tungstenite::tungstenite::Error>(())
    };
    if !timeout(WRITE_LIMIT, orderly).await.is_ok_and(|closed| closed.is_ok()) {
        tracing::debug!("the close of the account streamer was not answered");
    }
}

/// Counts a connection while it lives, also when its task is aborted.
struct Open {
    shared: Arc<Shared>,
    connected: bool,
}

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.counters.update(|stats| {
            stats.streamer_connections += 1;
            stats.streamer_open += 1;
        });
        Self { shared, connected: false }
    }

    fn set_connected(&mut self, connected: bool) {
        if connected && !self.connected {
            self.connected = true;
            self.shared.counters.update(|stats| stats.streamer_connected += 1);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.counters.update(|stats| {
            stats.streamer_open -= 1;
            stats.streamer_connected -= u64::from(self.connected);
        });
    }
}
