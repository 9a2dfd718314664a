//! The calls against a small gateway.

use futures_util::future::join_all;
use greeks_model::{AccountId, OperatorReason, Retry};
use secrecy::ExposeSecret;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fake::{Answer, Gateway, rest};
use super::*;
use crate::wire::Conid;

fn account() -> AccountId {
    AccountId::new("U1234567").unwrap()
}

fn conids(numbers: impl IntoIterator<Item = i64>) -> Vec<Conid> {
    numbers.into_iter().map(|number| Conid::new(number).unwrap()).collect()
}

fn limited(headers: &'static str) -> Answer {
    Answer { status: 429, headers, body: String::new() }
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
        let head = asked.head.to_ascii_lowercase();
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
        (403, "", "Status", Retry::Backoff),
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
        for error in [rest.tickle().await.unwrap_err(), rest.positions(&account()).await.unwrap_err()] {
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
            Answer::from("[{\"id\":\"U1234567\"}]")
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
        "GET /iserver/accounts" => Answer::from("{}"),
        _ => unprimed.into(),
    })
    .await;
    let outcome = gateway.rest().contract_info(Conid::new(7).unwrap()).await;
    assert!(matches!(outcome, Err(Error::Status { status: 500, .. })), "{outcome:?}");
    assert_eq!(gateway.lines().len(), 3, "once, and not for ever");
}

#[tokio::test]
async fn tickles_of_every_shape() {
    let seconds = Duration::from_secs;
    for (body, expires, healthy) in [
        (
            format!(
                r#"{{"session":"abc","ssoExpires":459000,"collission":false,"userId":7,"hmds":{{"error":"no bridge"}},"iserver":{{"authStatus":{HEALTHY}}}}}"#
            ),
            Some(seconds(459)),
            Some(true),
        ),
        (format!(r#"{{"session":"abc","iserver":{{"authStatus":{HEALTHY}}}}}"#), None, Some(true)),
        (
            r#"{"session":"abc","iserver":{"authStatus":{"authenticated":false,"competing":false,"connected":false}}}"#
                .into(),
            None,
            Some(false),
        ),
        (r#"{"session":"abc","ssoExpires":null,"iserver":{"authStatus":null}}"#.into(), None, None),
        (r#"{"session":"abc","iserver":{"error":"no bridge"}}"#.into(), None, None),
        (r#"{"session":"abc","ssoExpires":-1,"iserver":7}"#.into(), None, None),
    ] {
        let gateway = Gateway::start({
            let body = body.clone();
            move |_| body.clone()
        })
        .await;
        let tickle = gateway.rest().tickle().await.unwrap();
        assert_eq!(tickle.session.expose_secret(), "abc");
        assert_eq!(
            (tickle.sso_expires, tickle.auth.as_ref().map(AuthStatus::is_healthy)),
            (expires, healthy),
            "{body}"
        );
        assert!(!format!("{tickle:?}").contains("abc"));
    }
    // Without the id of a session it tells how the brokerage session fares all the same.
    for session in ["null", "7", "\"\""] {
        let body = format!(r#"{{"session":{session},"iserver":{{"authStatus":{HEALTHY}}}}}"#);
        let gateway = Gateway::start(move |_| body.clone()).await;
        let tickle = gateway.rest().tickle().await.unwrap();
        assert!(tickle.auth.is_some_and(|auth| auth.is_healthy()), "{session}");
        assert_eq!(tickle.session.expose_secret().is_empty(), session != "7");
    }
    // What does not say whether there is one says nothing against it.
    for status in ["{}", r#"{"competing":null}"#, r#"{"authenticated":null}"#] {
        let body = format!(r#"{{"session":"abc","iserver":{{"authStatus":{status}}}}}"#);
        let gateway = Gateway::start(move |_| body.clone()).await;
        assert_eq!(gateway.rest().tickle().await.unwrap().auth, None, "{status}");
    }
    let gateway = Gateway::start(|_| "[]").await;
    assert!(matches!(gateway.rest().tickle().await, Err(Error::Body { .. })), "no tickle");
}

/// The address is refused, which the first call tells; a later 403 is about that one call.
#[tokio::test]
async fn a_tickle_that_is_forbidden_is_about_the_address() {
    let gateway = Gateway::start(|_| (403, "")).await;
    assert!(matches!(gateway.rest().tickle().await, Err(Error::Forbidden { .. })));
    for outcome in
        [gateway.rest().positions_now(&account()).await.map(drop), gateway.rest().init_session(false).await.map(drop)]
    {
        assert!(matches!(outcome, Err(Error::Status { status: 403, .. })), "{outcome:?}");
    }
}

/// Gateways differ in whether the status is asked for by GET or POST.
#[tokio::test]
async fn the_status_is_asked_for_in_either_way() {
    for status in [400, 404, 405] {
        let gateway = Gateway::start(move |line| match line.split(' ').next() {
            Some("GET") => Answer::from(HEALTHY),
            _ => (status, "Bad Request").into(),
        })
        .await;
        assert!(gateway.rest().auth_status().await.unwrap().is_healthy());
        assert_eq!(gateway.lines(), ["POST /iserver/auth/status", "GET /iserver/auth/status"]);
    }
}

#[tokio::test]
async fn states_of_the_brokerage_session() {
    let status = |authenticated, connected, competing, reason: &str| AuthStatus {
        authenticated,
        connected,
        competing,
        reason: reason.into(),
    };
    for (body, expected, healthy) in [
        (HEALTHY, status(true, true, false, ""), true),
        (r#"{"authenticated":false,"competing":false,"connected":false}"#, status(false, false, false, ""), false),
        (
            r#"{"authenticated":true,"competing":true,"connected":true,"fail":"held elsewhere","message":"x"}"#,
            status(true, true, true, "held elsewhere"),
            false,
        ),
        (r#"{"authenticated":true,"competing":null,"message":"x","fail":""}"#, status(true, true, false, "x"), true),
        (r#"{"authenticated":true,"connected":false}"#, status(true, false, false, ""), false),
        ("{}", status(false, false, false, ""), false),
        (r#"{"authenticated":null,"established":null,"fail":null}"#, status(false, false, false, ""), false),
    ] {
        let gateway = Gateway::start(move |_| body).await;
        let found = gateway.rest().auth_status().await.unwrap();
        assert_eq!((found.is_healthy(), found), (healthy, expected), "{body}");
    }
}

#[tokio::test]
async fn tickles_and_lists_of_accounts_keep_their_own_distance() {
    let spacing = Duration::from_millis(120);
    let mut gateway = Gateway::start(|line| match line {
        "POST /tickle" => r#"{"session":"abc"}"#,
        _ => r#"[{"id":"U1"}]"#,
    })
    .await;
    gateway.config.tickle_spacing = spacing;
    gateway.config.account_list_spacing = spacing;
    let rest = gateway.rest();
    let tickles = join_all((0..3).map(|_| rest.tickle())).await;
    assert!(tickles.iter().all(Result::is_ok));
    let asked = gateway.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.windows(2).all(|pair| pair[1].at - pair[0].at >= spacing), "{asked:?}");
    // Those who ask together, or soon after, share one answer.
    let lists = join_all((0..5).map(|_| rest.portfolio_accounts())).await;
    assert!(lists.iter().all(|list| list.as_ref().is_ok_and(|list| list.ids.len() == 1)));
    rest.portfolio_accounts().await.unwrap();
    let first = gateway.asked();
    assert_eq!(first.len(), 1);
    // For its own sake it is asked again, as soon as it may be.
    rest.portfolio_accounts_anew().await.unwrap();
    let second = gateway.asked();
    assert_eq!(second.len(), 1);
    assert!(second[0].at - first[0].at >= spacing);
}

/// Another process may have called a moment ago.
#[tokio::test]
async fn the_first_calls_keep_the_distance_too() {
    let spacing = Duration::from_millis(120);
    let mut gateway = Gateway::start(|line| match line {
        "POST /tickle" => r#"{"session":"abc"}"#,
        _ => r#"[{"id":"U1"}]"#,
    })
    .await;
    gateway.config.tickle_spacing = spacing;
    gateway.config.account_list_spacing = 2 * spacing;
    let began = std::time::Instant::now();
    let rest = gateway.rest();
    let (tickle, list) = tokio::join!(rest.tickle(), rest.portfolio_accounts());
    assert!(tickle.is_ok() && list.is_ok());
    let asked = gateway.asked();
    let waited: Vec<Duration> = asked.iter().map(|request| request.at - began).collect();
    assert!(waited.len() == 2 && waited[0] >= spacing && waited[1] >= 2 * spacing, "{waited:?}");
}

/// A session that ends drops the call under way; the gateway has counted it all the same.
#[tokio::test]
async fn calls_that_are_dropped_count_too() {
    let spacing = Duration::from_millis(300);
    let mut gateway = Gateway::start(|line| match line {
        "POST /tickle" => r#"{"session":"abc"}"#,
        _ => r#"[{"id":"U1"}]"#,
    })
    .await;
    gateway.config.tickle_spacing = spacing;
    gateway.config.account_list_spacing = spacing;
    let rest = gateway.rest();
    for round in 0..2 {
        let dropped = async {
            tokio::select! {
                biased;
                () = async { while gateway.asked_count() == 0 { tokio::task::yield_now().await } } => {}
                _ = async { if round == 0 { rest.tickle().await.map(drop) } else { rest.portfolio_accounts_anew().await.map(drop) } } => {
                    panic!("answered before it was dropped")
                }
            }
        };
        dropped.await;
        match round {
            0 => drop(rest.tickle().await.unwrap()),
            _ => drop(rest.portfolio_accounts().await.unwrap()),
        }
        let asked = gateway.asked();
        assert_eq!(asked.len(), 2);
        assert!(asked[1].at - asked[0].at >= spacing / 2, "{asked:?}");
    }
}

#[tokio::test]
async fn a_failed_list_of_accounts_is_not_given_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let mut gateway = Gateway::start(move |_| match counter.fetch_add(1, Ordering::SeqCst) {
        0 => (503, ""),
        _ => (200, r#"[{"id":"U1"}]"#),
    })
    .await;
    gateway.config.account_list_spacing = Duration::from_millis(50);
    let rest = gateway.rest();
    assert!(matches!(rest.portfolio_accounts().await, Err(Error::Maintenance { .. })));
    assert_eq!(rest.portfolio_accounts().await.unwrap().ids.len(), 1);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn advisors_have_sub_accounts() {
    let many = |numbers: std::ops::Range<usize>| {
        let rows: Vec<String> =
            numbers.map(|number| format!(r#"{{"id":"U{number}","accountId":"U{number}"}}"#)).collect();
        format!("[{}]", rows.join(","))
    };
    // A few: one answer. Hundreds: pages to the end, in the documented shape.
    for (count, calls) in [(2, 2), (250, 2 + 14)] {
        let gateway = Gateway::start(move |line| match line {
            "GET /portfolio/accounts" => r#"[{"id":"F1234567"}]"#.to_owned(),
            "GET /portfolio/subaccounts" => many(0..count.min(100)),
            paged => {
                let page: usize = paged.strip_prefix("GET /portfolio/subaccounts2?page=").unwrap().parse().unwrap();
                let rows = many((page * 20).min(count)..(page * 20 + 20).min(count));
                format!(r#"{{"metadata":{{"total":{count},"pageSize":20,"pageNum":{page}}},"subaccounts":{rows}}}"#)
            }
        })
        .await;
        let accounts = gateway.rest().portfolio_accounts().await.unwrap();
        assert_eq!((accounts.ids.len(), accounts.complete), (count + 1, true));
        assert_eq!(gateway.lines().len(), calls);
    }
    // A server that ignores the page, or has none, is not asked for ever.
    for (status, complete) in [(200, true), (404, false)] {
        let gateway = Gateway::start(move |line| match line {
            "GET /portfolio/accounts" => Answer::from((500, "tiered")),
            "GET /portfolio/subaccounts" => many(0..100).into(),
            _ => Answer { status, ..many(0..100).into() },
        })
        .await;
        let accounts = gateway.rest().portfolio_accounts().await.unwrap();
        assert_eq!((accounts.ids.len(), accounts.complete), (100, complete));
        assert!(gateway.lines().len() < 12);
    }
}

#[tokio::test]
async fn an_advisor_of_many_is_read_by_pages_and_what_is_not_told_is_known() {
    let page_of =
        |line: &str| line.strip_prefix("GET /portfolio/subaccounts2?page=").unwrap().parse::<usize>().unwrap();
    let page = |page: usize| {
        let rows: Vec<String> =
            (page * 20..(page * 20 + 20).min(150)).map(|number| format!(r#"{{"id":"U{number}"}}"#)).collect();
        format!(r#"{{"metadata":{{"total":150}},"subaccounts":[{}]}}"#, rows.join(","))
    };
    let too_many = (400, r#"{"error":"too many subaccounts, use subaccounts2"}"#);
    // `(of the pages, answered so, from page)`, and what comes of it.
    for (refused, broken, from, known, complete) in [
        (too_many, 200, 0, 151, true),
        ((403, ""), 200, 0, 151, true),
        ((500, ""), 200, 0, 151, true),
        (too_many, 404, 8, 151, true),
        (too_many, 500, 3, 61, false),
        (too_many, 400, 0, 1, false),
        ((500, ""), 500, 0, 1, false),
    ] {
        let gateway = Gateway::start(move |line| match line {
            "GET /portfolio/accounts" => Answer::from((200, r#"[{"id":"F1000000"}]"#)),
            "GET /portfolio/subaccounts" => refused.into(),
            line if broken != 200 && page_of(line) >= from => (broken, "").into(),
            line => page(page_of(line)).into(),
        })
        .await;
        let accounts = gateway.rest().portfolio_accounts().await.unwrap();
        assert_eq!((accounts.ids.len(), accounts.complete), (known, complete), "{refused:?} {broken} {from}");
        assert_eq!(accounts.ids[0].as_str(), "F1000000");
    }
    // Whoever is below an advisor has none to tell; an error that is none of the list's own remains one.
    for (listed, status, expected) in [
        (r#"[{"id":"U1","faclient":true}]"#, 500, Some(true)),
        (r#"[{"id":"F1000000"}]"#, 401, None),
        (r#"[{"id":"F1000000"}]"#, 429, None),
        (r#"[{"id":"F1000000"}]"#, 503, None),
    ] {
        let gateway = Gateway::start(move |line| match line {
            "GET /portfolio/accounts" => (200, listed),
            _ => (status, ""),
        })
        .await;
        assert_eq!(gateway.rest().portfolio_accounts().await.ok().map(|list| list.complete), expected, "{status}");
    }
}

#[tokio::test]
async fn sub_accounts_that_are_not_told_this_time_do_not_vanish() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let mut gateway = Gateway::start(move |line| match line {
        "GET /portfolio/accounts" => (200, r#"[{"id":"F1000000"}]"#),
        "GET /portfolio/subaccounts" if counter.fetch_add(1, Ordering::SeqCst) == 0 => (200, r#"[{"id":"U1"}]"#),
        _ => (500, ""),
    })
    .await;
    gateway.config.account_list_spacing = Duration::from_millis(1);
    let rest = gateway.rest();
    let first = rest.portfolio_accounts().await.unwrap();
    assert_eq!((first.ids.len(), first.complete), (2, true));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = rest.portfolio_accounts().await.unwrap();
    assert_eq!((second.ids, second.complete), (first.ids, false));
}

fn rows(numbers: std::ops::Range<usize>) -> String {
    let rows: Vec<String> =
        numbers.map(|number| format!(r#"{{"conid":{},"position":1,"assetClass":"OPT"}}"#, number + 1)).collect();
    format!("[{}]", rows.join(","))
}

fn page_of(line: &str) -> usize {
    line.strip_prefix("GET /portfolio/U1234567/positions/").unwrap().parse().unwrap()
}

/// An answer from before a change is no answer to whoever has heard of it.
#[tokio::test]
async fn a_change_of_accounts_is_not_answered_from_memory() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let mut gateway = Gateway::start(move |_| match counter.fetch_add(1, Ordering::SeqCst) {
        0 => r#"[{"id":"U1"}]"#,
        _ => r#"[{"id":"U1"},{"id":"U2"}]"#,
    })
    .await;
    gateway.config.account_list_spacing = Duration::from_millis(80);
    let rest = gateway.rest();
    assert_eq!(rest.portfolio_accounts().await.unwrap().ids.len(), 1);
    assert_eq!(rest.portfolio_accounts().await.unwrap().ids.len(), 1, "young enough");
    assert_eq!(rest.portfolio_accounts_anew().await.unwrap().ids.len(), 2);
}

#[tokio::test]
async fn pages_are_read_to_the_empty_one() {
    // Three pages; the second one is short and not the last.
    let gateway = Gateway::start(|line| match page_of(line) {
        0 => rows(0..100),
        1 => rows(100..130),
        2 => rows(125..230),
        _ => "[]".into(),
    })
    .await;
    let positions = gateway.rest().positions(&account()).await.unwrap();
    assert_eq!((positions.rows.len(), positions.skipped.len()), (230, 0));
    assert_eq!(gateway.lines().len(), 4);
}

#[tokio::test]
async fn a_page_that_fails_fails_the_whole_read() {
    for bad in [(500, "oops"), (200, "{}"), (200, "null"), (200, r#"{"error":"oops"}"#), (0, "")] {
        let gateway = Gateway::start(move |line| match page_of(line) {
            0 => Answer::from(rows(0..100)),
            _ => bad.into(),
        })
        .await;
        let outcome = gateway.rest().positions(&account()).await;
        assert!(outcome.is_err(), "{bad:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn pages_without_end_are_left() {
    let gateway = Gateway::start(|_| rows(0..3)).await;
    assert_eq!(gateway.rest().positions(&account()).await.unwrap().rows.len(), 3);
    assert_eq!(gateway.lines().len(), 2, "the same page again");
    let gateway = Gateway::start(|line| rows(page_of(line)..page_of(line) + 1)).await;
    let error = gateway.rest().positions(&account()).await.unwrap_err();
    assert!(matches!(&error, Error::EndlessPages { pages: 200, account } if account == "··4567"), "{error}");
}

#[tokio::test]
async fn definitions_are_asked_for_by_the_hundreds() {
    let gateway = Gateway::start(|line| {
        let list = line.strip_prefix("GET /trsrv/secdef?conids=").unwrap();
        let rows: Vec<String> = list.split("%2C").map(|conid| format!(r#"{{"conid":{conid}}}"#)).collect();
        format!(r#"{{"secdef":[{}]}}"#, rows.join(","))
    })
    .await;
    let asked = conids(1..=401);
    let found = gateway.rest().secdef(&asked).await.unwrap();
    assert_eq!(found.iter().map(|it| it.conid).collect::<Vec<_>>(), asked);
    assert_eq!(gateway.lines().iter().map(|line| line.split("%2C").count()).collect::<Vec<_>>(), [200, 200, 1]);
}

#[tokio::test]
async fn a_gateway_without_the_uncached_list_has_none() {
    let gateway = Gateway::start(|_| (404, "")).await;
    assert_eq!(gateway.rest().positions_now(&account()).await.unwrap(), None);
    let gateway = Gateway::start(|_| (500, "")).await;
    assert!(matches!(gateway.rest().positions_now(&account()).await, Err(Error::Status { status: 500, .. })));
}
