//! Who is spoken to: certificates of the API and of the streamer.

use std::sync::Arc;
use std::time::Duration;

use crate::fake::*;
use broker_net::testkit::TlsListener;
use greeks_model::{OperatorReason, QuoteSource, Retry, SessionState, SourceEvent, testkit};
use rustls::pki_types::CertificateDer;
use tasty_dxlink::TastySource;

fn trusting(certificate: &CertificateDer<'static>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    trust(roots)
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
        let server = TlsListener::start("localhost");
        let mut config = tasty_dxlink::TastyConfig::new(REFRESH.into(), SECRET.into());
        config.api_url = format!("https://localhost:{}", server.port);
        config.rest_timeout = Duration::from_secs(5);
        let tls = if trusted { trusting(&server.certificate) } else { no_trust() };
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
        let server = TlsListener::start("localhost");
        let broker = Broker::start().await;
        let body =
            format!(r#"{{"data":{{"token":"{QUOTE}","dxlink-url":"wss://localhost:{}/realtime"}}}}"#, server.port);
        broker.answer("/api-quote-tokens", Reply::ok(body));
        let tls = if trusted { trusting(&server.certificate) } else { no_trust() };
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
        let server = TlsListener::start("localhost");
        let broker = Broker::start().await;
        let mut config = broker.config();
        config.streamer_url = Some(format!("wss://localhost:{}", server.port));
        config.account_outage_after = Duration::from_millis(100);
        let roots = if trusted { trusting(&server.certificate) } else { no_trust() };
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
