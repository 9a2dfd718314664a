//! The calls against a small gateway.

mod accounts;
mod positions;
mod session;

use std::sync::atomic::{AtomicUsize, Ordering};

use broker_net::testkit::{Reply, Request};
use futures_util::future::join_all;
use greeks_model::{AccountId, OperatorReason, Retry};
use secrecy::ExposeSecret;

use super::fake::{Gateway, rest};
use super::*;
use crate::wire::Conid;

fn account() -> AccountId {
    AccountId::new("U1234567").unwrap()
}

fn conids(numbers: impl IntoIterator<Item = i64>) -> Vec<Conid> {
    numbers.into_iter().map(|number| Conid::new(number).unwrap()).collect()
}

fn limited(headers: &str) -> Reply {
    Reply { headers: headers.into(), ..Reply::status(429, "") }
}

const HEALTHY: &str = r#"{"authenticated":true,"established":true,"competing":false,"connected":true,"message":"","MAC":"98:F2","serverInfo":{"serverName":null,"serverVersion":null},"fail":""}"#;

#[tokio::test]
async fn each_call_is_made_as_documented() {
    let gateway = Gateway::start(|line| match line {
        "POST /tickle" => format!(r#"{{"session":"abc","iserver":{{"authStatus":{HEALTHY}}}}}"#),
        "POST /iserver/auth/status" | "POST /iserver/auth/ssodh/init" => HEALTHY.into(),
        "GET /trsrv/secdef?conids=1%2C2" => r#"{"secdef":[{"conid":2},{"conid":3}]}"#.into(),
        "GET /iserver/accounts" | "GET /iserver/contract/7/info" => "{}".into(),
        "POST /portfolio/U1234567/positions/invalidate" => r#"{"message":"success"}"#.into(),
        _ => "[]".to_owned(),
    })
    .await;
    let rest = gateway.rest();
    rest.tickle().await.unwrap();
    assert!(rest.auth_status().await.unwrap().is_healthy());
    assert!(rest.init_session(false).await.unwrap().is_healthy());
    rest.init_session(true).await.unwrap();
    rest.brokerage_accounts().await.unwrap();
    rest.positions(&account()).await.unwrap();
    rest.positions_now(&account()).await.unwrap();
    rest.invalidate(&account()).await.unwrap();
    let known = rest.secdef(&conids([1, 2])).await.unwrap();
    assert_eq!(known.iter().map(|it| it.conid.get()).collect::<Vec<_>>(), [2], "known, and asked for");
    rest.contract_info(Conid::new(7).unwrap()).await.unwrap();
    let asked = gateway.asked();
    let told: Vec<_> = asked.iter().map(|it| (it.line.replacen("/v1/api", "", 1), it.body.clone())).collect();
    let told: Vec<_> = told.iter().map(|(line, body)| (line.as_str(), body.as_str())).collect();
    assert_eq!(
        told,
        [
            ("POST /tickle", ""),
            ("POST /iserver/auth/status", ""),
            ("POST /iserver/auth/ssodh/init", r#"{"publish":true,"compete":false}"#),
            ("POST /iserver/auth/ssodh/init", r#"{"publish":true,"compete":true}"#),
            ("GET /iserver/accounts", ""),
            ("GET /portfolio/U1234567/positions/0", ""),
            ("GET /portfolio2/U1234567/positions", ""),
            ("POST /portfolio/U1234567/positions/invalidate", ""),
            ("GET /trsrv/secdef?conids=1%2C2", ""),
            ("GET /iserver/contract/7/info", ""),
        ]
    );
    for asked in asked {
        let head = &asked.headers;
        assert!(head.contains("user-agent: greekd/") && head.contains("accept: application/json"), "{head}");
        // Servers refuse a POST that does not say that it is empty.
        assert_eq!(head.contains("content-length: "), asked.line.starts_with("POST"), "{head}");
        assert!(asked.line.contains(" /v1/api/"));
    }
}

#[tokio::test]
async fn the_base_path_is_the_configured_one() {
    let mut gateway = Gateway::start(|_| "{}").await;
    gateway.config.gateway_url = gateway.config.gateway_url.replace("/v1/api", "/v1/portal/");
    gateway.rest().brokerage_accounts().await.unwrap();
    assert_eq!(gateway.asked()[0].line, "GET /v1/portal/iserver/accounts");
}

#[tokio::test]
async fn each_refusal_has_its_meaning() {
    let operator = |reason| Retry::Operator(reason);
    let minute = Retry::After(Duration::from_secs(60));
    for (status, body, name, retry) in [
        (401, "", "LoginRequired", operator(OperatorReason::LoginRequired)),
        (401, "Access Denied", "LoginRequired", operator(OperatorReason::LoginRequired)),
        (302, "", "LoginRequired", operator(OperatorReason::LoginRequired)),
        (200, r#"{"error":"not authenticated"}"#, "LoginRequired", operator(OperatorReason::LoginRequired)),
        (200, r#"{"error":"x","statusCode":401}"#, "LoginRequired", operator(OperatorReason::LoginRequired)),
        (400, r#"{"error":"Bad Request: no bridge","statusCode":400}"#, "NoBrokerageSession", Retry::Backoff),
        (400, r#"{"error":"Init session first"}"#, "NoBrokerageSession", Retry::Backoff),
        (200, r#"{"error":"no bridge"}"#, "NoBrokerageSession", Retry::Backoff),
        (503, r#"{"error":"no bridge"}"#, "NoBrokerageSession", Retry::Backoff),
        (403, "Access Denied", "Forbidden", operator(OperatorReason::Configuration)),
        (403, "", "Forbidden", operator(OperatorReason::Configuration)),
        (200, "Access denied", "Forbidden", operator(OperatorReason::Configuration)),
        (500, r#"{"error":"access denied"}"#, "Forbidden", operator(OperatorReason::Configuration)),
        (502, "<html>", "Maintenance", minute.clone()),
        (503, "", "Maintenance", minute.clone()),
        (504, "", "Maintenance", minute),
        (500, "oops", "Status", Retry::Backoff),
        (200, r#"{"error":"something"}"#, "Status", Retry::Backoff),
        (200, "<html>", "Body", Retry::Backoff),
        (200, "", "Body", Retry::Backoff),
        (0, "", "Transport", Retry::Backoff),
        (429, "", "RateLimited", Retry::After(Duration::from_secs(600))),
    ] {
        let gateway = Gateway::start(move |_| (status, body)).await;
        let error = gateway.rest().auth_status().await.unwrap_err();
        assert!(format!("{error:?}").starts_with(name), "{status} {body}: {error:?}");
        assert_eq!(error.retry(), retry, "{status} {body}");
        assert_eq!(gateway.lines().len(), 1, "no second try");
        if let Error::LoginRequired { gateway: address } = &error {
            assert_eq!(format!("{address}/v1/api"), gateway.config.gateway_url);
        }
    }
}

#[tokio::test]
async fn a_gateway_that_does_not_run_is_told_apart() {
    let gateway = Gateway::start(|_| "{}").await;
    let config = gateway.config.clone();
    drop(gateway);
    // The port is closed once the server's task has ended.
    let error = loop {
        match rest(&config).auth_status().await.unwrap_err() {
            Error::Transport { .. } => tokio::task::yield_now().await,
            error => break error,
        }
    };
    let Error::NotRunning { gateway, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*gateway, config.gateway_url.replace("/v1/api", ""));
}

#[tokio::test]
async fn after_too_many_calls_nothing_is_asked() {
    for (headers, pause) in [("Retry-After: 30\r\n", 30), ("", 600)] {
        let gateway = Gateway::start(move |_| limited(headers)).await;
        let rest = gateway.rest();
        let limited = |error: Error| match error {
            Error::RateLimited { pause, .. } => pause,
            error => panic!("{error:?}"),
        };
        assert_eq!(limited(rest.auth_status().await.unwrap_err()), Duration::from_secs(pause));
        for (error, pause) in [
            (rest.positions(&account()).await.unwrap_err(), pause),
            // A brokerage session does not live that long without.
            (rest.tickle().await.unwrap_err(), pause.min(240)),
        ] {
            let left = limited(error);
            assert!(left <= Duration::from_secs(pause) && left > Duration::from_secs(pause - 5), "{left:?}");
        }
        assert_eq!(gateway.lines().len(), 1);
    }
}

#[tokio::test]
async fn a_forgetful_gateway_is_told_the_accounts_again() {
    let unprimed = (500, r#"{"error":"Please query /accounts first"}"#);
    let primed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&primed);
    let gateway = Gateway::start(move |line| match line {
        "GET /iserver/accounts" | "GET /portfolio/accounts" => {
            counter.fetch_add(1, Ordering::SeqCst);
            Reply::from("[{\"id\":\"U1234567\"}]")
        }
        _ if counter.load(Ordering::SeqCst) == 0 => unprimed.into(),
        "GET /iserver/contract/7/info" => "{}".into(),
        _ => "[]".into(),
    })
    .await;
    let rest = gateway.rest();
    rest.contract_info(Conid::new(7).unwrap()).await.unwrap();
    let info = "GET /iserver/contract/7/info";
    assert_eq!(gateway.lines(), [info, "GET /iserver/accounts", info]);
    primed.store(0, Ordering::SeqCst);
    rest.positions(&account()).await.unwrap();
    let page = "GET /portfolio/U1234567/positions/0";
    assert_eq!(gateway.lines(), [page, "GET /portfolio/accounts", page]);

    let gateway = Gateway::start(move |line| match line {
        "GET /iserver/accounts" => Reply::from("{}"),
        _ => unprimed.into(),
    })
    .await;
    let outcome = gateway.rest().contract_info(Conid::new(7).unwrap()).await;
    assert!(matches!(outcome, Err(Error::Status { status: 500, .. })), "{outcome:?}");
    assert_eq!(gateway.lines().len(), 3, "once, and not for ever");
}

#[tokio::test]
async fn a_gateway_without_the_uncached_list_has_none() {
    let gateway = Gateway::start(|_| (404, "")).await;
    assert_eq!(gateway.rest().positions_now(&account()).await.unwrap(), None);
    let gateway = Gateway::start(|_| (500, "")).await;
    assert!(matches!(gateway.rest().positions_now(&account()).await, Err(Error::Status { status: 500, .. })));
}
