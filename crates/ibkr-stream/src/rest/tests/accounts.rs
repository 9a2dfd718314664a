//! Lists of accounts, those of advisors too.

use super::*;

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
            "GET /portfolio/accounts" => Reply::from((500, "tiered")),
            "GET /portfolio/subaccounts" => many(0..100).into(),
            _ => Reply { status, ..many(0..100).into() },
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
            "GET /portfolio/accounts" => Reply::from((200, r#"[{"id":"F1000000"}]"#)),
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
