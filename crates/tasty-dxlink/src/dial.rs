//! Opening a websocket.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use crate::Error;
use crate::config::host_only;
use crate::error::is_certificate_fault;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Nothing this client writes comes near this size.
const MAX_WRITE_BUFFER: usize = 1 << 20;

/// How to dial.
#[derive(Clone, Debug)]
pub(crate) struct DialSettings {
    pub(crate) user_agent: String,
    /// The largest message accepted from the other side.
    pub(crate) max_message_bytes: usize,
    /// Limit for TCP, TLS and the upgrade together.
    pub(crate) within: Duration,
}

/// Opens a websocket. `ws` is not encrypted: whoever made the URL has made sure that its host is this machine.
pub(crate) async fn dial(url: &Url, settings: &DialSettings, tls: &Arc<rustls::ClientConfig>) -> Result<Socket, Error> {
    let host = host_only(url.as_str());
    let failed = |source: tungstenite::Error| {
        if is_certificate_fault(&source) {
            return Error::UntrustedPeer { host: host.clone(), source: Box::new(source) };
        }
        Error::Dial { host: host.clone(), source: Box::new(source) }
    };
    let mut request = url.as_str().into_client_request().map_err(failed)?;
    let agent = HeaderValue::from_str(&settings.user_agent)
        .map_err(|_| Error::configuration("user_agent", "cannot be sent as a header"))?;
    request.headers_mut().insert(header::USER_AGENT, agent);
    let limits = WebSocketConfig::default()
        .max_message_size(Some(settings.max_message_bytes))
        .max_frame_size(Some(settings.max_message_bytes))
        .max_write_buffer_size(MAX_WRITE_BUFFER);
    let connector = match url.scheme() {
        "wss" => Connector::Rustls(Arc::clone(tls)),
        _ => Connector::Plain,
    };
    let dialled = connect_async_tls_with_config(request, Some(limits), true, Some(connector));
    match timeout(settings.within, dialled).await {
        Ok(result) => result.map(|(socket, _)| socket).map_err(failed),
        Err(_) => Err(Error::StepTimeout { step: "websocket", after: settings.within }),
    }
}
