//! Tickles, the status, and the distance that calls keep.

use super::*;

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

/// That the address is refused the first call tells; once one has succeeded, a refusal is about that one call.
#[tokio::test]
async fn a_refusal_is_about_the_address_until_a_call_succeeds() {
    let refusing = Arc::new(std::sync::atomic::AtomicBool::new(true));
    for (status, body) in [(403, ""), (403, "Access Denied"), (200, "Access denied")] {
        let refuses = Arc::clone(&refusing);
        refuses.store(true, Ordering::SeqCst);
        let gateway = Gateway::start(move |_| match refuses.load(Ordering::SeqCst) {
            true => Reply::from((status, body)),
            false => r#"{"session":"abc"}"#.into(),
        })
        .await;
        let rest = gateway.rest();
        for _ in 0..2 {
            assert!(matches!(rest.tickle().await, Err(Error::Forbidden { .. })), "{status} {body}");
        }
        refusing.store(false, Ordering::SeqCst);
        rest.tickle().await.unwrap();
        refusing.store(true, Ordering::SeqCst);
        for (error, of_session) in [
            (rest.tickle().await.unwrap_err(), true),
            (rest.init_session(false).await.unwrap_err(), true),
            (rest.positions_now(&account()).await.unwrap_err(), false),
        ] {
            assert!(matches!(error, Error::Status { status: told, .. } if told == status), "{error:?}");
            assert_eq!(error.retry(), Retry::Backoff);
            assert_eq!(error.to_string().contains("ips.allow"), of_session, "{error}");
        }
    }
}

/// Some gateways tell with a status of success that nobody is logged in. Other calls say the same of the brokerage session.
#[tokio::test]
async fn no_session_in_the_answer_to_a_tickle_asks_for_a_login() {
    for (status, body) in [(200, r#"{"error":"no session"}"#), (400, r#"{"error":"No session.","statusCode":400}"#)] {
        let gateway = Gateway::start(move |_| (status, body)).await;
        let rest = gateway.rest();
        for error in [rest.tickle().await.unwrap_err(), rest.init_session(false).await.unwrap_err()] {
            assert_eq!(error.retry(), Retry::Operator(OperatorReason::LoginRequired), "{error:?}");
        }
        for error in [
            rest.auth_status().await.unwrap_err(),
            rest.brokerage_accounts().await.unwrap_err(),
            rest.positions_now(&account()).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::NoBrokerageSession { .. }), "{error:?}");
        }
    }
    let gateway = Gateway::start(|_| (500, r#"{"error":"no session data for this contract"}"#)).await;
    let error = gateway.rest().positions_now(&account()).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 500, .. }), "{error:?}");
}

/// Words of some other refusal are not the gateway's about the address.
#[tokio::test]
async fn access_denied_to_one_list_is_not_about_the_address() {
    let gateway = Gateway::start(|_| (500, r#"{"error":"access denied"}"#)).await;
    let error = gateway.rest().positions_now(&account()).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 500, .. }), "{error:?}");
}

async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn while_calls_are_held_a_tickle_goes_out_now_and_then() {
    let gateway = Gateway::start(|line| match line {
        "POST /tickle" => r#"{"session":"abc"}"#.into(),
        _ => limited(""),
    })
    .await;
    let rest = gateway.rest();
    rest.tickle().await.unwrap();
    let held = async || matches!(rest.auth_status().await, Err(Error::RateLimited { .. }));
    assert!(held().await);
    gateway.lines();
    for _ in 0..2 {
        assert!(matches!(rest.tickle().await, Err(Error::RateLimited { .. })));
        pass(239).await;
        assert!(matches!(rest.tickle().await, Err(Error::RateLimited { .. })));
        assert_eq!(gateway.lines(), [""; 0]);
        pass(2).await;
        rest.tickle().await.unwrap();
        assert!(held().await);
        assert_eq!(gateway.lines(), ["POST /tickle"]);
    }
    pass(120).await;
    rest.tickle().await.unwrap();
    assert!(held().await);
    assert_eq!(gateway.lines(), ["POST /tickle", "POST /iserver/auth/status"], "its time is over");
}

#[tokio::test]
async fn a_tickle_that_is_too_much_holds_tickles_too() {
    let gateway = Gateway::start(|_| limited("")).await;
    let rest = gateway.rest();
    for asked in [1, 0, 0, 1] {
        assert!(matches!(rest.tickle().await, Err(Error::RateLimited { .. })));
        assert_eq!(gateway.lines().len(), asked);
        pass(201).await;
    }
}

/// Gateways differ in whether the status is asked for by GET or POST.
#[tokio::test]
async fn the_status_is_asked_for_in_either_way() {
    for status in [400, 404, 405] {
        let gateway = Gateway::start(move |line| match line.split(' ').next() {
            Some("GET") => Reply::from(HEALTHY),
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

/// A gateway that answers tickles, and lists one account.
async fn answering() -> Gateway {
    Gateway::start(|line| match line {
        "POST /tickle" => r#"{"session":"abc"}"#,
        _ => r#"[{"id":"U1"}]"#,
    })
    .await
}

#[tokio::test]
async fn tickles_and_lists_of_accounts_keep_their_own_distance() {
    let spacing = Duration::from_millis(120);
    let mut gateway = answering().await;
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
    let mut gateway = answering().await;
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
    let mut gateway = answering().await;
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
