//! Who is spoken to: number 15 of the list of failures that users of other clients report.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::fake::*;
use greeks_model::{OperatorReason, Retry};
use ibkr_stream::IbkrConfig;
use ibkr_stream::tls::{Fingerprint, fingerprint};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A TLS server with a certificate for another name that reads what it is sent up to the end of an HTTP head, answers
/// nothing, and gives it back.
struct Listener {
    port: u16,
    certificate: CertificateDer<'static>,
    heard: JoinHandle<String>,
}

impl Listener {
    fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["gateway.invalid".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket);
            let mut heard = Vec::new();
            let mut buffer = [0; 1024];
            while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(read) if read > 0 => heard.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            String::from_utf8_lossy(&heard).into_owned()
        });
        Self { port, certificate, heard }
    }
}

/// Trusts the certificate, or one that nobody has.
fn trusting(certificate: &CertificateDer<'static>, it: bool) -> Arc<rustls::ClientConfig> {
    let other = CertificateDer::from(b"another".to_vec());
    let expected = Fingerprint::of(if it { certificate } else { &other });
    Arc::new(fingerprint(Arc::new(rustls::crypto::ring::default_provider()), expected).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_the_rest_side_speaks_to_the_known_certificate_alone() {
    for known in [false, true] {
        let server = Listener::start();
        let config = IbkrConfig::new(&format!("https://localhost:{}", server.port));
        let tls = trusting(&server.certificate, known);
        let (retry, text) = Client::with(config, 64, tls).fail().await;
        let heard = server.heard.join().unwrap();
        if known {
            assert_eq!(retry, Retry::Backoff, "{text}");
            assert!(heard.starts_with("POST /v1/api/tickle HTTP/1.1"), "{heard}");
        } else {
            assert_eq!(retry, Retry::Operator(OperatorReason::UntrustedPeer), "{text}");
            assert_eq!(heard, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_so_does_the_websocket() {
    for known in [false, true] {
        let server = Listener::start();
        let gateway = Gateway::start().await;
        let mut config = gateway.config();
        config.websocket_url = Some(format!("wss://localhost:{}/v1/api/ws", server.port));
        let tls = trusting(&server.certificate, known);
        let (retry, text) = Client::with(config, 64, tls).fail().await;
        let heard = server.heard.join().unwrap();
        if known {
            assert_eq!(retry, Retry::Backoff, "{text}");
            assert!(heard.contains("canary0001"), "the cookie travels inside: {heard}");
        } else {
            assert_eq!(retry, Retry::Operator(OperatorReason::UntrustedPeer), "{text}");
            assert_eq!(heard, "");
        }
    }
}
