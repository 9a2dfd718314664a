//! The stream: a listener and its connections.

mod columns;
mod connection;
mod feed;
mod messages;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;

use self::connection::Connection;
use super::faults::use_up;
use super::state::{Registered, Shared};
use crate::service::accept;

/// Where the stream lives on its host.
pub(crate) const PATH: &str = "/realtime";

/// For the HTTP upgrade.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Connections open at a time; more are refused.
const MAX_CONNECTIONS: usize = 1_000;

/// Accepts connections until `stop`, then closes them in good order.
pub(crate) async fn listen(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let ended = stop.clone();
    let serve = move |stream, number| serve(stream, number, Arc::clone(&shared), ended.clone());
    accept(listener, MAX_CONNECTIONS, stop, serve).await;
}

async fn serve(stream: TcpStream, number: u64, shared: Arc<Shared>, stop: CancellationToken) {
    let ended = CancellationToken::new();
    // However this task ends, whoever waits for its end learns of it.
    let _ended = ended.clone().drop_guard();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let slow_accept = shared.faults().connection.slow_accept;
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = tokio::time::sleep(slow_accept), if !slow_accept.is_zero() => {}
        () = std::future::ready(()), if slow_accept.is_zero() => {}
    }
    if shared.is_refusing() || shared.change_faults(|faults| use_up(&mut faults.connection.refuse_upgrades)) {
        if timeout(HANDSHAKE_LIMIT, refuse(stream)).await.is_err() {
            tracing::debug!(number, "a refused client did not read its refusal");
        }
        return;
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(16 << 20))
        .max_frame_size(Some(16 << 20))
        .max_write_buffer_size(64 << 20);
    let handshake = accept_hdr_async_with_config(stream, check_path, Some(config));
    let socket = match timeout(HANDSHAKE_LIMIT, handshake).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return tracing::debug!(number, %error, "handshake failed"),
        Err(_) => return tracing::debug!(number, "handshake took too long"),
    };
    let (command, commands) = watch::channel(None);
    let (mischief, inflicted) = mpsc::channel(16);
    shared.connections().insert(number, Registered { command, mischief, ended });
    shared.counters.update(|stats| {
        stats.connections += 1;
        stats.open += 1;
    });
    let guard = Unregister { shared: Arc::clone(&shared), number };
    let mut connection = Connection {
        number,
        shared: Arc::clone(&shared),
        command: commands,
        mischief: inflicted,
        stop,
        streaming: false,
        subscribed: 0,
    };
    connection.run(socket).await;
    shared.counters.update(|stats| {
        stats.streaming -= u64::from(connection.streaming);
        stats.greeks_subscribed -= connection.subscribed;
    });
    drop(guard);
}

/// Takes a connection off the list, also when its task is aborted.
struct Unregister {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Unregister {
    fn drop(&mut self) {
        self.shared.connections().remove(&self.number);
        self.shared.counters.update(|stats| stats.open -= 1);
    }
}

#[expect(clippy::result_large_err, reason = "the signature is that of the handshake callback")]
fn check_path(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() == PATH {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some("there is no stream at this path".to_owned()));
    *refusal.status_mut() = StatusCode::NOT_FOUND;
    Err(refusal)
}

/// What a gateway answers while the servers behind it are away.
async fn refuse(mut stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let mut request = [0_u8; 4096];
    let answered = async {
        if stream.read(&mut request).await? == 0 {
            return Ok(());
        }
        stream.write_all(ANSWER).await?;
        stream.shutdown().await
    };
    if let Err(error) = answered.await {
        tracing::debug!(%error, "a refused client went away");
    }
}
