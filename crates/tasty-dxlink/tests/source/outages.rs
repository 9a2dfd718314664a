//! The API away while the streamer is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fake::*;
use greeks_model::{AccountId, Retry, SessionState, SourceEvent};

#[tokio::test]
async fn without_the_api_what_it_said_last_is_streamed_until_it_is_back() {
    let broker = Broker::start().await;
    let is_down = Arc::new(AtomicBool::new(false));
    let down = Arc::clone(&is_down);
    broker.on(move |_| down.load(Ordering::SeqCst).then(|| Reply::status(503, "<html>")));
    let (mut client, mut streamer) = broker.streaming(one_account(broker.config())).await;
    is_down.store(true, Ordering::SeqCst);
    streamer.socket.close(None).await.unwrap();
    assert_eq!(client.failure().await.retry, Retry::Backoff);
    while client.ends.events.try_recv().is_ok() {}

    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    streamer.say(&deltas(&[(SYMBOL_A, 0.5)])).await;
    assert_eq!(delta(&client.quote().await), Some(0.5));
    let told = SessionState::Degraded { reason: "positions of 1 account(s) could not be read".into() };
    client.state(|state| *state == told).await;
    assert_eq!(broker.count("/api-quote-tokens"), 1);

    broker.positions(&[POSITION_B]);
    is_down.store(false, Ordering::SeqCst);
    let change = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(change.contains("remove") && change.contains(SYMBOL_A), "{change}");
    client.state(connected).await;
    stop(client).await;
}

#[tokio::test]
async fn an_account_that_is_open_no_longer_is_followed_no_longer() {
    let broker = Broker::start().await;
    let (mut client, mut streamer) = broker.streaming(broker.config()).await;
    let accounts =
        r#"{"data":{"items":[{"account":{"account-number":"5WT00002","is-closed":false},"authority-level":"owner"}]}}"#;
    broker.answer("/customers/me/accounts", Reply::ok(accounts));
    streamer.socket.close(None).await.unwrap();
    client.failure().await;
    while client.ends.events.try_recv().is_ok() {}
    client.start();
    assert_eq!(client.event().await, SourceEvent::Unfollowed(vec![AccountId::new("5WT00001").unwrap()]));
    assert!(matches!(client.event().await, SourceEvent::Positions(told) if told.account_id.as_str() == "5WT00002"));
    stop(client).await;
}

#[tokio::test]
async fn without_the_api_a_refused_token_is_not_used_again() {
    let broker = Broker::start().await;
    let (mut client, mut streamer) = broker.streaming(one_account(broker.config())).await;
    streamer.say(r#"{"type":"ERROR","channel":0,"error":"UNAUTHORIZED","message":"x"}"#).await;
    assert_eq!(client.failure().await.retry, Retry::Now);
    broker.on(|_| Some(Reply::status(503, "<html>")));
    client.start();
    let error = client.failure().await;
    assert!(error.cause.to_string().contains("status 503"), "{}", error.cause);
}
