//! Opening a websocket.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::UrlError;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use crate::tcp;
use crate::tls::is_certificate_fault;
use crate::url::host_only;

/// An open websocket.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Nothing that clients of brokers write comes near this size.
const MAX_WRITE_BUFFER: usize = 1 << 20;

/// How to dial.
#[derive(Clone, Debug)]
pub struct DialSettings {
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// Further headers of the upgrade. Mark secret values as sensitive: `Debug` shows the others.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The largest message accepted from the other side.
    pub max_message_bytes: usize,
    /// Limit for the look-up of the name, TCP, TLS and the upgrade together.
    pub within: Duration,
}

/// Why there is no websocket. Its text holds no path and no query. As for HTTP, a new reason is to break its readers.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The user agent cannot be sent as a header.
    #[error("the user agent cannot be sent as a header")]
    UserAgent,
    /// The other side's certificate was not accepted.
    #[error("the certificate of {host} is not trusted")]
    UntrustedPeer {
        /// Who should have answered.
        host: String,
        /// The cause.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// The connection or the upgrade failed.
    #[error("cannot open the websocket to {host}")]
    Failed {
        /// Who was dialled.
        host: String,
        /// The cause.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// It took too long.
    #[error("no websocket to {host} within {after:?}")]
    Timeout {
        /// Who was dialled.
        host: String,
        /// How long.
        after: Duration,
    },
}

/// Opens a websocket, at whichever address of the host answers first. `ws` is not encrypted: whoever made the URL has made
/// sure that its host is this machine. A connection whose other end has vanished breaks within half a minute.
///
/// # Errors
/// [`DialError`].
///
/// # Cancel safety
/// A dropped attempt leaves nothing behind.
pub async fn dial(url: &Url, settings: &DialSettings, tls: &Arc<rustls::ClientConfig>) -> Result<Socket, DialError> {
    let host = host_only(url.as_str());
    let failed = |source: tungstenite::Error| {
        let (host, source) = (host.clone(), Box::new(source));
        if is_certificate_fault(source.as_ref()) {
            return DialError::UntrustedPeer { host, source };
        }
        DialError::Failed { host, source }
    };
    let mut request = url.as_str().into_client_request().map_err(failed)?;
    let agent = HeaderValue::from_str(&settings.user_agent).map_err(|_| DialError::UserAgent)?;
    request.headers_mut().insert(header::USER_AGENT, agent);
    for (name, value) in &settings.headers {
        request.headers_mut().append(name, value.clone());
    }
    let limits = WebSocketConfig::default()
        .max_message_size(Some(settings.max_message_bytes))
        .max_frame_size(Some(settings.max_message_bytes))
        .max_write_buffer_size(MAX_WRITE_BUFFER);
    let connector = match url.scheme() {
        "wss" => Connector::Rustls(Arc::clone(tls)),
        _ => Connector::Plain,
    };
    let dialled = async {
        let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().ok_or(UrlError::UnsupportedUrlScheme)?;
        let socket = tcp::connect(name, port).await?;
        client_async_tls_with_config(request, socket, Some(limits), Some(connector)).await
    };
    match timeout(settings.within, dialled).await {
        Ok(result) => result.map(|(socket, _)| socket).map_err(failed),
        Err(_) => Err(DialError::Timeout { host, after: settings.within }),
    }
}
