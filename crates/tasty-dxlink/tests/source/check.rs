//! What a look at everything finds, without a stream.

use std::time::Duration;

use crate::fake::*;
use broker_net::testkit::TlsListener;
use greeks_model::{OperatorReason, Retry, UnixNanos};
use tasty_dxlink::{CheckReport, Error, Outcome, TastyConfig};
use tokio::net::TcpStream;

/// What is found, while a streamer does as `served` says.
async fn check(config: TastyConfig, served: impl Future<Output = ()>) -> Result<CheckReport, Error> {
    let tls = no_trust();
    let (report, ()) = tokio::join!(tasty_dxlink::check(&config, &tls, UnixNanos::EPOCH), served);
    report
}

/// Refuses an upgrade, as a gateway in trouble does.
async fn refuse(mut socket: TcpStream, status: u16) {
    Request::read(&mut socket).await.expect("no request");
    Reply::status(status, "<html>").send(&mut socket).await;
}

#[tokio::test]
async fn both_streamers_are_opened_and_left_in_good_order() {
    let broker = Broker::start().await;
    let report = check(broker.config_with_accounts(), async {
        let dxlink = async {
            let mut streamer = broker.authorize().await;
            assert!(streamer.until_closed().await);
        };
        let accounts = async {
            let mut accounts = broker.connect_account().await;
            assert!(accounts.until_closed().await);
        };
        tokio::join!(dxlink, accounts);
    });
    let report = report.await.unwrap();
    assert!(report.failure().is_none() && !report.has_warnings(), "{report:?}");
    assert_eq!((report.accounts.len(), report.option_positions, report.skipped_positions), (2, 2, 0));
    let expected = format!(
        "credentials: accepted\naccounts: ··0001, ··0002\noption positions: 2, not understood: 0\nquotes: live\n\
         account streamer: {}, tells of these accounts\nstreamer: {}, accepts the quote token",
        broker.account_streamer,
        broker.streamer.trim_end_matches("/realtime"),
    );
    assert_eq!(report.to_string(), expected);
    assert!(!format!("{report:?}").contains("canary"));
}

#[tokio::test]
async fn refused_credentials_end_a_check() {
    let broker = Broker::start().await;
    broker.answer("/oauth/token", Reply::status(400, r#"{"error":"invalid_grant"}"#));
    let error = check(broker.config(), async {}).await.unwrap_err();
    assert!(error.to_string().contains("create a new grant"), "{error}");
}

#[tokio::test]
async fn a_streamer_that_is_in_trouble_is_a_failure() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.step_timeout = Duration::from_millis(300);
    let report = check(config.clone(), async { refuse(broker.accept_raw().await, 502).await }).await.unwrap();
    assert!(matches!(report.failure(), Some(Error::Dial { .. })), "{report}");
    let told = "fails: cannot open the websocket to ws://127.0.0.1:";
    assert!(report.to_string().contains(told) && report.to_string().contains("502"), "{report}");

    // Opens and says nothing.
    let mute = async {
        let mut streamer = broker.accept().await;
        streamer.expect("SETUP").await;
        assert!(streamer.expect("ERROR").await.contains("TIMEOUT"));
        assert!(streamer.until_closed().await);
    };
    let report = check(config.clone(), mute).await.unwrap();
    assert!(matches!(report.failure(), Some(Error::StepTimeout { step: "SETUP", .. })), "{report}");

    let closed = r#"{"data":{"token":"canary","dxlink-url":"ws://127.0.0.1:1/x","level":"api"}}"#;
    broker.answer("/api-quote-tokens", Reply::ok(closed));
    let report = check(config.clone(), async {}).await.unwrap();
    assert!(matches!(report.failure(), Some(Error::Dial { .. })), "{report}");
}

#[tokio::test]
async fn a_quote_token_that_is_refused_is_a_failure() {
    let broker = Broker::start().await;
    let config = broker.config();
    for with_words in [true, false] {
        let report = check(config.clone(), async {
            let mut streamer = broker.accept().await;
            streamer.expect("SETUP").await;
            streamer.say(include_str!("../fixtures/setup.json")).await;
            streamer.say(include_str!("../fixtures/auth_unauthorized.json")).await;
            streamer.expect("AUTH").await;
            if with_words {
                streamer.say(include_str!("../fixtures/auth_unauthorized.json")).await;
            } else {
                streamer.socket.close(None).await.unwrap();
            }
            streamer.until_closed().await;
        });
        let report = report.await.unwrap();
        assert!(matches!(report.failure(), Some(Error::Unauthorized)), "{report}");
        assert!(report.to_string().ends_with("fails: the streamer refused the quote token"), "{report}");
    }
}

#[tokio::test]
async fn a_streamer_that_loses_a_session_is_asked_once_more() {
    let broker = Broker::start().await;
    let lost = r#"{"type":"ERROR","channel":0,"error":"UNAUTHORIZED","message":"Session not found: api"}"#;
    let report = check(broker.config(), async {
        let mut streamer = broker.accept().await;
        streamer.expect("SETUP").await;
        streamer.say(include_str!("../fixtures/setup.json")).await;
        streamer.say(lost).await;
        broker.authorize().await.until_closed().await;
    });
    assert!(report.await.unwrap().failure().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamer_with_another_certificate_is_a_failure() {
    let server = TlsListener::start("localhost");
    let broker = Broker::start().await;
    let body = format!(r#"{{"data":{{"token":"{QUOTE}","dxlink-url":"wss://localhost:{}/x"}}}}"#, server.port);
    broker.answer("/api-quote-tokens", Reply::ok(body));
    let report = check(broker.config(), async {}).await.unwrap();
    let retry = report.failure().map(Error::retry);
    assert_eq!(retry, Some(Retry::Operator(OperatorReason::UntrustedPeer)), "{report}");
    assert_eq!(server.heard(), "");
}

#[tokio::test]
async fn an_account_streamer_that_fails_is_a_warning() {
    let broker = Broker::start().await;
    let mut config = broker.config_with_accounts();
    config.step_timeout = Duration::from_millis(500);
    for (way, words) in [
        ("refused upgrade", "503"),
        ("mute", "no acknowledgement of the account streamer"),
        ("refusal", r#"refused "connect" (no ***)"#),
    ] {
        let dxlink = async { assert!(broker.authorize().await.until_closed().await) };
        let accounts = async {
            if way == "refused upgrade" {
                return refuse(broker.accept_account_raw().await, 503).await;
            }
            let mut accounts = broker.accept_account().await;
            accounts.hear().await;
            if way == "refusal" {
                accounts.say(r#"{"status":"error","action":"connect","message":"no 5WT00001"}"#).await;
            }
            accounts.until_closed().await;
        };
        let report = check(config.clone(), async { tokio::join!(dxlink, accounts).0 }).await.unwrap();
        assert!(report.failure().is_none() && report.has_warnings(), "{way}: {report}");
        let text = report.to_string();
        let told = format!("\naccount streamer: {} fails, positions are polled: ", broker.account_streamer);
        assert!(text.contains(&told) && text.contains(words), "{way}: {text}");
    }
}

#[tokio::test]
async fn no_open_account_is_a_warning() {
    let broker = Broker::start().await;
    broker.answer("/customers/me/accounts", Reply::ok(items(&[])));
    let config = broker.config_with_accounts();
    let report = check(config.clone(), async { assert!(broker.authorize().await.until_closed().await) }).await.unwrap();
    assert!(report.failure().is_none() && report.has_warnings());
    assert!(matches!(report.account_streamer.as_ref().unwrap().outcome, Outcome::NotTried));
    assert!(report.to_string().contains("\naccounts: none is open, so there is nothing to stream\n"), "{report}");
}
