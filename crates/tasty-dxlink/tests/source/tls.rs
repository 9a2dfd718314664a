//! Who is spoken to: certificates of the API and of the streamer.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::fake::*;
use greeks_model::{OperatorReason, QuoteSource, Retry, SessionState, SourceEvent, testkit};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tasty_dxlink::TastySource;

/// A TLS server that reads what it is sent up to the end of an HTTP head, answers nothing, and gives it back.
struct Listener {
    port: u16,
    certificate: CertificateDer<'static>,
    heard: JoinHandle<String>,
}

impl Listener {
    fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
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

    fn heard(self) -> String {
        self.heard.join().unwrap()
    }
}

fn trusting(certificate: &CertificateDer<'static>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    tls_with(roots)
}

async fn retry_of(config: tasty_dxlink::TastyConfig, tls: Arc<rustls::ClientConfig>) -> Retry {
    let mut source = TastySource::new(config, tls).unwrap();
    let (cx, _ends) = testkit::context(64, false);
    let session = tokio::time::timeout(PATIENCE, source.run_session(&cx));
    session.await.expect("no end").unwrap_err().retry
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_with_another_certificate_is_told_nothing() {
    for trusted in [false, true] {
        let server = Listener::start();
        let mut config = tasty_dxlink::TastyConfig::new(REFRESH.into(), SECRET.into());
        config.api_url = format!("https://localhost:{}", server.port);
        config.rest_timeout = Duration::from_secs(5);
        let tls = if trusted { trusting(&server.certificate) } else { tls() };
        let retry = retry_of(config, tls).await;
        let heard = server.heard();
        if trusted {
            assert_eq!(retry, Retry::Backoff);
            assert!(heard.starts_with("POST /oauth/token HTTP/1.1"), "{heard}");
        } else {
            assert_eq!(retry, Retry::Operator(OperatorReason::UntrustedPeer));
            assert_eq!(heard, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamer_with_another_certificate_is_told_nothing() {
    for trusted in [false, true] {
        let server = Listener::start();
        let broker = Broker::start().await;
        let body =
            format!(r#"{{"data":{{"token":"{QUOTE}","dxlink-url":"wss://localhost:{}/realtime"}}}}"#, server.port);
        broker.answer("/api-quote-tokens", Reply::ok(body));
        let tls = if trusted { trusting(&server.certificate) } else { tls() };
        let retry = retry_of(broker.config(), tls).await;
        let heard = server.heard();
        if trusted {
            assert_eq!(retry, Retry::Backoff);
            assert!(heard.starts_with("GET /realtime HTTP/1.1") && heard.contains("greekd/"), "{heard}");
        } else {
            assert_eq!(retry, Retry::Operator(OperatorReason::UntrustedPeer));
            assert_eq!(heard, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_streamer_with_another_certificate_is_told_nothing_and_the_stream_goes_on() {
    for trusted in [false, true] {
        let server = Listener::start();
        let broker = Broker::start().await;
        let mut config = broker.config();
        config.streamer_url = Some(format!("wss://localhost:{}", server.port));
        config.account_outage_after = Duration::from_millis(100);
        let roots = if trusted { trusting(&server.certificate) } else { tls() };
        let mut client = Client::with_tls(config, 64, roots);
        client.start();
        let mut streamer = broker.subscribe().await;
        streamer.say(CONFIG).await;
        let heard = server.heard();
        if trusted {
            assert!(heard.starts_with("GET / HTTP/1.1") && heard.contains("greekd/"), "{heard}");
            assert!(!heard.contains("canary"), "the token travels inside: {heard}");
        } else {
            assert_eq!(heard, "");
        }
        client
            .state(|state| matches!(state, SessionState::Degraded { reason } if reason.contains("account streamer")))
            .await;
        streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
        assert!(matches!(client.quote().await, SourceEvent::Quote { .. }));
        stop(client).await;
    }
}
