//! Tokens and limits against a small HTTP server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use broker_net::testkit::{Reply, Request, no_trust};
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// A token service: mints tokens that live `expires_in` seconds, or answers `fault`.
struct TokenService {
    rest: Rest,
    mints: Arc<AtomicUsize>,
    fault: Arc<StdMutex<Option<(u16, &'static str)>>>,
    task: JoinHandle<()>,
}

impl Drop for TokenService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TokenService {
    async fn start(expires_in: f64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = TastyConfig::new("refresh".into(), "secret".into());
        config.api_url = format!("http://{}", listener.local_addr().unwrap());
        config.rest_spacing = Duration::ZERO;
        let rest = Rest::new(&config, config.checked().unwrap().api, &no_trust()).unwrap();
        let mints = Arc::new(AtomicUsize::new(0));
        let fault: Arc<StdMutex<Option<(u16, &'static str)>>> = Arc::default();
        let (counted, faulty) = (Arc::clone(&mints), Arc::clone(&fault));
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                Request::read(&mut socket).await.unwrap();
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                // Long enough for the others to come and wait.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let reply = match *faulty.lock().unwrap() {
                    Some(fault) => Reply::from(fault),
                    None => Reply::ok(format!(r#"{{"access_token":"access-{number}","expires_in":{expires_in}}}"#)),
                };
                reply.send(&mut socket).await;
            }
        });
        Self { rest, mints, fault, task }
    }

    fn fail(&self, fault: Option<(u16, &'static str)>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn mints(&self) -> usize {
        self.mints.load(Ordering::SeqCst)
    }

    async fn eight(&self, refused: Option<u64>) -> Vec<Result<u64, Error>> {
        let calls = (0..8).map(|_| async { self.rest.access_token(refused).await.map(|token| token.number) });
        join_all(calls).await
    }
}

#[tokio::test]
async fn concurrent_callers_share_one_renewal() {
    let service = TokenService::start(900.0).await;
    assert!(service.eight(None).await.into_iter().all(|token| matches!(token, Ok(1))));
    assert_eq!(service.mints(), 1);
    assert!(service.eight(Some(1)).await.into_iter().all(|token| matches!(token, Ok(2))), "all were refused the first");
    assert_eq!(service.mints(), 2);
    assert!(service.eight(Some(1)).await.into_iter().all(|token| matches!(token, Ok(2))));
    assert_eq!(service.mints(), 2);
}

#[tokio::test]
async fn concurrent_callers_share_one_failure() {
    for (fault, expected) in [
        ((400, r#"{"error":"invalid_grant"}"#), "rejected the credentials"),
        ((503, "<html>"), "status 503"),
        ((200, "<html>"), "cannot be read"),
    ] {
        let service = TokenService::start(900.0).await;
        service.fail(Some(fault));
        for result in service.eight(None).await {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(service.mints(), 1, "{expected}");
        service.fail(None);
        let next = service.rest.access_token(None).await;
        // Refused credentials are not tried again at once; a service in trouble is.
        assert_eq!((next.is_ok(), service.mints()), if fault.0 == 400 { (false, 1) } else { (true, 2) });
    }
}

#[tokio::test]
async fn a_token_in_force_outlives_an_outage_of_the_service() {
    let service = TokenService::start(1.0).await;
    assert_eq!(service.rest.access_token(None).await.unwrap().number, 1);
    service.fail(Some((503, "")));
    // Due for renewal, and still in force.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(service.eight(None).await.into_iter().all(|token| matches!(token, Ok(1))));
    assert_eq!(service.mints(), 2, "not one attempt per call");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let error = service.rest.access_token(None).await.unwrap_err();
    assert_eq!(error.retry(), greeks_model::Retry::Backoff, "over, but not for good");
    service.fail(None);
    assert_eq!(service.rest.access_token(None).await.unwrap().number, 2);
}

/// Lets the timers' time pass at once.
async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_refusal_for_an_unknown_reason_is_believed_when_it_stays() {
    let doubtful = Some((400, r#"{"error_code":"invalid_request","error_description":"User is not a customer"}"#));
    let service = TokenService::start(900.0).await;
    let minute = Duration::from_secs(60);
    let ask = async || service.rest.access_token(None).await.map_err(|error| error.needs_operator());
    // It passes, and is forgotten.
    service.fail(doubtful);
    assert!(!ask().await.unwrap_err());
    skip(minute).await;
    assert!(!ask().await.unwrap_err());
    service.fail(None);
    assert_eq!((ask().await.unwrap_err(), service.mints()), (false, 2), "not asked again within a minute");
    skip(minute).await;
    assert_eq!(ask().await.unwrap().number, 1);
    // It stays; a token in force is used to its end meanwhile.
    service.fail(doubtful);
    skip(Duration::from_secs(850)).await;
    assert_eq!((ask().await.unwrap().number, ask().await.unwrap().number, service.mints()), (1, 1, 4));
    for is_final in [false, true] {
        skip(minute).await;
        assert_eq!(ask().await.unwrap_err(), is_final);
    }
}
