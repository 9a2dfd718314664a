//! Servers for the tests of broker clients: HTTP a request at a time, and TLS with a certificate of its own.
// What fails here fails a test, and the message is for the person who reads it.
#![allow(clippy::expect_used)]

use std::fmt;
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a client may keep silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Trusts nobody: for servers without TLS, or that are to be refused.
#[must_use]
pub fn no_trust() -> Arc<ClientConfig> {
    trust(RootCertStore::empty())
}

/// Trusts these authorities.
#[must_use]
pub fn trust(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(builder.expect("versions that ring has").with_root_certificates(roots).with_no_client_auth())
}

/// What a client has asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was read.
    pub at: Instant,
    /// Method, path and query: `GET /v1/api/tickle`.
    pub line: String,
    /// The header lines in small letters.
    pub headers: String,
    /// As long as its `Content-Length` says.
    pub body: String,
}

impl Request {
    /// The next request; `None` when the client leaves before its end.
    pub async fn read(socket: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        while socket.read_buf(&mut bytes).await.ok()? > 0 {
            let text = String::from_utf8_lossy(&bytes);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let (line, headers) = head.split_once("\r\n")?;
            let headers = headers.to_ascii_lowercase();
            let length = headers.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let line = line.strip_suffix(" HTTP/1.1")?.to_owned();
                return Some(Self { at: Instant::now(), line, headers, body: body.to_owned() });
            }
        }
        None
    }
}

/// What the server says to it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// With 0 the connection breaks instead.
    pub status: u16,
    /// Lines with their ends.
    pub headers: String,
    /// Is sent with its length.
    pub body: String,
    /// Passes before the reply goes out.
    pub delay: Duration,
}

impl Reply {
    /// This body, with status 200.
    pub fn ok(body: impl Into<String>) -> Self {
        Self::status(200, body)
    }

    /// This status and body.
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: String::new(), body: body.into(), delay: Duration::ZERO }
    }

    /// The connection breaks.
    #[must_use]
    pub fn none() -> Self {
        Self::status(0, "")
    }

    /// Sends it, after its delay; the client may have gone.
    pub async fn send(&self, socket: &mut TcpStream) {
        tokio::time::sleep(self.delay).await;
        if self.status == 0 {
            return;
        }
        let Self { status, headers, body, .. } = self;
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}");
        if let Err(error) = socket.write_all(text.as_bytes()).await {
            tracing::debug!(%error, "a reply was not taken");
        }
    }
}

impl From<&str> for Reply {
    fn from(body: &str) -> Self {
        Self::ok(body)
    }
}

impl From<String> for Reply {
    fn from(body: String) -> Self {
        Self::ok(body)
    }
}

impl From<(u16, &str)> for Reply {
    fn from((status, body): (u16, &str)) -> Self {
        Self::status(status, body)
    }
}

/// A TLS server for one client: reads what it is sent up to the end of an HTTP head, and answers nothing.
pub struct TlsListener {
    /// On 127.0.0.1.
    pub port: u16,
    /// Its own authority.
    pub certificate: CertificateDer<'static>,
    heard: JoinHandle<String>,
}

impl fmt::Debug for TlsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsListener").field("port", &self.port).finish_non_exhaustive()
    }
}

impl TlsListener {
    /// Listens, with a certificate for `name`.
    ///
    /// # Panics
    /// When the machine has no port or no randomness.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions that ring has")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a key that fits the certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let heard = std::thread::spawn(move || {
            let (socket, _) = listener.accept().expect("a client");
            socket.set_read_timeout(Some(PATIENCE)).expect("a limit of time");
            let connection = ServerConnection::new(Arc::new(config)).expect("a TLS session");
            let mut stream = StreamOwned::new(connection, socket);
            let (mut heard, mut buffer) = (Vec::new(), [0; 1024]);
            while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(read) if read > 0 => heard.extend(buffer.iter().take(read)),
                    _ => break,
                }
            }
            String::from_utf8_lossy(&heard).into_owned()
        });
        Self { port, certificate, heard }
    }

    /// What the client has said; empty when it has not trusted the certificate.
    ///
    /// # Panics
    /// When there was no client.
    #[must_use]
    pub fn heard(self) -> String {
        self.heard.join().expect("a client that came")
    }
}
