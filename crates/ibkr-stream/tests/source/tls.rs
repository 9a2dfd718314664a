//! Who is spoken to: number 15 of the list of failures that users of other clients report.

use std::sync::Arc;

use broker_net::testkit::TlsListener;

use crate::fake::*;
use greeks_model::{OperatorReason, Retry};
use ibkr_stream::IbkrConfig;
use ibkr_stream::tls::{Fingerprint, fingerprint};
use rustls::pki_types::CertificateDer;

/// Trusts the certificate, or one that nobody has.
fn trusting(certificate: &CertificateDer<'static>, it: bool) -> Arc<rustls::ClientConfig> {
    let other = CertificateDer::from(b"another".to_vec());
    let expected = Fingerprint::of(if it { certificate } else { &other });
    Arc::new(fingerprint(Arc::new(rustls::crypto::ring::default_provider()), expected).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_the_rest_side_speaks_to_the_known_certificate_alone() {
    for known in [false, true] {
        let server = TlsListener::start("gateway.invalid");
        let config = IbkrConfig::new(&format!("https://localhost:{}", server.port));
        let tls = trusting(&server.certificate, known);
        let (retry, text) = Client::with(config, 64, tls).fail().await;
        let heard = server.heard();
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
        let server = TlsListener::start("gateway.invalid");
        let gateway = Gateway::start().await;
        let mut config = gateway.config();
        config.websocket_url = Some(format!("wss://localhost:{}/v1/api/ws", server.port));
        let tls = trusting(&server.certificate, known);
        let (retry, text) = Client::with(config, 64, tls).fail().await;
        let heard = server.heard();
        if known {
            assert_eq!(retry, Retry::Backoff, "{text}");
            assert!(heard.contains("canary0001"), "the cookie travels inside: {heard}");
        } else {
            assert_eq!(retry, Retry::Operator(OperatorReason::UntrustedPeer), "{text}");
            assert_eq!(heard, "");
        }
    }
}
