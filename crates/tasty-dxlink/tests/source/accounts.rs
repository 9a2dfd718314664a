//! Accounts that are opened and closed while a session lasts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fake::*;
use greeks_model::{SessionEnd, SessionState};

/// Lets the API list these accounts, until they are changed.
fn listed(broker: &Broker, numbers: &[&str]) -> Arc<Mutex<Reply>> {
    let shared = Arc::new(Mutex::new(list(numbers)));
    let reply = Arc::clone(&shared);
    broker.on(move |request| request.line.contains("/customers/me/accounts").then(|| reply.lock().unwrap().clone()));
    shared
}

fn list(numbers: &[&str]) -> Reply {
    let rows: Vec<String> =
        numbers.iter().map(|it| format!(r#"{{"account":{{"account-number":"{it}","is-closed":false}}}}"#)).collect();
    Reply::ok(items(&rows.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Waits until the list has been read so many times more.
async fn read_again(broker: &Broker, times: usize) {
    let count = || broker.count("/customers/me/accounts");
    let until = count() + times;
    let read = async {
        while count() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("not read again");
}

fn config(broker: &Broker) -> tasty_dxlink::TastyConfig {
    let mut config = broker.config();
    config.accounts_poll = Duration::from_millis(100);
    config.position_poll = Duration::from_millis(100);
    config
}

#[tokio::test]
async fn an_account_that_is_opened_is_streamed_by_a_new_session() {
    let broker = Broker::start().await;
    let accounts = listed(&broker, &["5WT00002"]);
    broker.answer("/5WT00002/positions", Reply::ok(items(&[POSITION_B])));
    let (mut client, streamer) = broker.streaming(config(&broker)).await;
    read_again(&broker, 3).await;
    // None of these says anything.
    for failure in [Reply::status(503, "<html>"), Reply::ok("{}"), Reply::status(401, r#"{"error":{"code":"x"}}"#)] {
        *accounts.lock().unwrap() = failure;
        read_again(&broker, 2).await;
    }
    assert_eq!(client.ends.status.borrow().state, SessionState::Connected);
    *accounts.lock().unwrap() = list(&["5WT00001", "5WT00002"]);
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    drop(streamer);
    client.start();
    let mut streamer = broker.request_channels().await;
    streamer.open(1).await;
    let subscription = streamer.expect("FEED_SUBSCRIPTION").await;
    assert!(subscription.contains(SYMBOL_A) && subscription.contains(SYMBOL_B), "{subscription}");
    stop(client).await;
}

#[tokio::test]
async fn an_account_is_gone_when_the_list_says_so_twice() {
    let broker = Broker::start().await;
    let accounts = listed(&broker, &["5WT00001", "5WT00002"]);
    let (mut client, _streamer) = broker.streaming(config(&broker)).await;
    read_again(&broker, 2).await;
    // Each answer that lacks an account is followed by one that does not.
    let lacks = Mutex::new(false);
    broker.on(move |request| {
        let mut lacks = lacks.lock().unwrap();
        if !request.line.contains("/customers/me/accounts") {
            return None;
        }
        *lacks = !*lacks;
        lacks.then(|| list(&[]))
    });
    read_again(&broker, 6).await;
    assert_eq!(client.ends.status.borrow().state, SessionState::Connected);
    *accounts.lock().unwrap() = list(&[]);
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
}

#[tokio::test]
async fn without_an_open_account_the_state_says_so_until_there_is_one() {
    let broker = Broker::start().await;
    let accounts = listed(&broker, &[]);
    let mut config = config(&broker);
    // It is not waited for that long while there is none.
    config.accounts_poll = Duration::from_secs(600);
    let mut client = Client::new(config, 64);
    client.start();
    let mut streamer = broker.authorize().await;
    let told = client.state(|state| *state != SessionState::Connecting).await;
    assert_eq!(told, SessionState::Degraded { reason: "no account of these credentials is open".into() });
    read_again(&broker, 2).await;
    assert!(streamer.is_quiet(Duration::from_millis(100)).await, "nothing is subscribed");
    *accounts.lock().unwrap() = list(&["5WT00001"]);
    assert_eq!(client.end().await.unwrap(), SessionEnd::Closed);
    client.start();
    let mut streamer = broker.subscribe().await;
    streamer.say(CONFIG).await;
    client.state(connected).await;
    stop(client).await;
}
