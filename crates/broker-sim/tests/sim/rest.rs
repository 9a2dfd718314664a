//! The documents, and what a caller must bring along.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::Duration;

use crate::common::{AGENT, config, get, http, log_in};
use broker_sim::{NumberStyle, Rule, SimError, StreamerSymbols, TastySim, WrongAnswer, Wrongness};
use serde_json::{Value, json};

async fn start() -> TastySim {
    TastySim::start(config()).await.unwrap()
}

#[tokio::test]
async fn nobody_enters_without_a_user_agent() {
    let sim = start().await;
    for headers in [&[][..], &[("User-Agent", "raw")], &[("User-Agent", "raw/")], &[("User-Agent", "/1.0")]] {
        let answer = http(&sim, "GET", "/customers/me/accounts", headers, "").await;
        assert_eq!(answer.status, 401);
        assert!(answer.body.starts_with("<html>"), "{}", answer.body);
    }
    assert!(sim.violations().iter().all(|violation| violation.rule == Rule::UserAgent));
    assert_eq!(sim.violations().len(), 4);
    assert_eq!(sim.requests().len(), 4);
}

#[tokio::test]
async fn oauth_refuses_what_is_wrong_without_an_envelope() {
    let sim = start().await;
    let right = sim.credentials();
    let body = |grant: &str, token: &str, secret: &str| {
        json!({"grant_type": grant, "refresh_token": token, "client_secret": secret}).to_string()
    };
    let (token, secret) = (right.refresh_token.as_str(), right.client_secret.as_str());
    for (body, status, key, code) in [
        (body("password", token, secret), 400, "error", "unsupported_grant_type"),
        (body("refresh_token", token, "wrong"), 401, "error", "invalid_client"),
        (body("refresh_token", "wrong", secret), 400, "error_code", "invalid_grant"),
        (json!({"grant_type": "refresh_token"}).to_string(), 401, "error", "invalid_client"),
        ("grant_type=refresh_token".to_owned(), 400, "error", "invalid_request"),
    ] {
        let answer = http(&sim, "POST", "/oauth/token", &[AGENT], &body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.json()[key], code);
    }
    let answer = http(&sim, "POST", "/oauth/token", &[AGENT], &body("refresh_token", token, secret)).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!((answer["token_type"].as_str(), answer["expires_in"].as_u64()), (Some("Bearer"), Some(900)));
    sim.control().revoke_grant();
    let answer = http(&sim, "POST", "/oauth/token", &[AGENT], &body("refresh_token", token, secret)).await;
    assert_eq!(answer.json()["error_code"], "invalid_grant");
    sim.control().restore_grant();
    log_in(&sim).await;
    assert!(!format!("{right:?}").contains(secret), "secrets stay out of logs");
}

#[tokio::test]
async fn access_tokens_are_checked_and_expire() {
    let mut config = config();
    config.rest.access_token_ttl = Duration::from_millis(200);
    let sim = TastySim::start(config).await.unwrap();
    let path = "/customers/me/accounts";
    let token = log_in(&sim).await;
    assert_eq!(get(&sim, &token, path).await.status, 200);
    let raw = http(&sim, "GET", path, &[AGENT, ("Authorization", &token)], "").await;
    assert_eq!((raw.status, raw.json()["error"]["code"].as_str()), (401, Some("token_invalid")), "not without Bearer");
    tokio::time::sleep(Duration::from_millis(210)).await;
    assert_eq!(get(&sim, &token, path).await.status, 401);
    let token = log_in(&sim).await;
    sim.control().expire_access_tokens();
    assert_eq!(get(&sim, &token, path).await.status, 401);
    assert_eq!(sim.violations(), [], "an expired token is no mistake");
}

#[tokio::test]
async fn market_metrics_have_betas_of_what_is_held() {
    let sim = start().await;
    let token = log_in(&sim).await;
    let answer = get(&sim, &token, "/market-metrics?symbols=SPX,%2FES,AAPL,NONE").await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let items = body["data"]["items"].as_array().unwrap();
    let betas: Vec<_> = items.iter().map(|item| (item["symbol"].as_str().unwrap(), item["beta"].as_str())).collect();
    // AAPL: 65 + 65 + 80 + 76 = 286, of which 136 are over; /ES: 47 + 69 + 83 = 199, of which 49 are.
    assert_eq!(betas, [("SPX", None), ("/ES", Some("0.99")), ("AAPL", Some("1.86"))]);
    assert_eq!(items[2]["beta-updated-at"], "2026-11-23T17:00:38.789Z");
    assert_eq!(sim.violations(), []);

    let wrong = ["", "?symbols=", "?symbols=AAPL,", "?symbols=AAPL,%20SPX", "?symbols=AAPL,AAPL", "?symbols=%2FESZ6"];
    for query in wrong {
        let answer = get(&sim, &token, &format!("/market-metrics{query}")).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (400, Some("validation_error")),
            "{query}"
        );
    }
    assert_eq!(sim.violations().len(), wrong.len());
    assert!(sim.violations().iter().all(|violation| violation.rule == Rule::MarketMetrics));
    assert_eq!(get(&sim, "stale", "/market-metrics?symbols=AAPL").await.status, 401);
}

#[tokio::test]
async fn accounts_and_positions_have_the_shape_of_production() {
    let sim = start().await;
    let token = log_in(&sim).await;
    let accounts = get(&sim, &token, "/customers/me/accounts").await.json();
    assert_eq!(accounts["context"], "/customers/me/accounts");
    let items = accounts["data"]["items"].as_array().unwrap();
    let closed: Vec<bool> = items.iter().map(|item| item["account"]["is-closed"].as_bool().unwrap()).collect();
    assert_eq!(closed, [false, false, true]);
    assert!(items.iter().all(|item| item["account-number"].is_null()), "the account is nested");

    let mut rows = Vec::new();
    for number in ["5WT00001", "5WT00002", "5WT00003"] {
        let answer = get(&sim, &token, &format!("/accounts/{number}/positions")).await.json();
        rows.extend(answer["data"]["items"].as_array().unwrap().clone());
    }
    assert_eq!(rows.len(), sim.positions().len());
    for (row, position) in rows.iter().zip(sorted(&sim)) {
        assert_eq!(row["account-number"], position.account.as_str());
        assert_eq!(whole(&row["quantity"]), position.quantity.unsigned_abs());
        let direction = match position.quantity.signum() {
            0 => "Zero",
            1 => "Long",
            _ => "Short",
        };
        assert_eq!(row["quantity-direction"], direction);
        match position.listing() {
            Some(listing) => {
                assert_eq!(row["symbol"], listing.rest_symbol.as_str());
                assert_eq!(row["underlying-symbol"], listing.underlying.as_str());
                assert_eq!(row["multiplier"].as_f64(), listing.multiplier.to_string().parse().ok());
            }
            None => assert_eq!((&row["symbol"], &row["instrument-type"]), (&json!("AAPL"), &json!("Equity"))),
        }
    }
    let with = rows.iter().filter(|row| row.get("streamer-symbol").is_some()).count();
    assert!(with > 0 && with < rows.len() - 1, "some rows have no streamer-symbol");
    let textual = rows.iter().filter(|row| row["quantity"].is_string()).count();
    assert!(textual > 0 && textual < rows.len(), "numbers come as both");
    let unknown = get(&sim, &token, "/accounts/9ZZ99999/positions").await;
    assert_eq!(unknown.status, 403);
}

/// In the order of the REST answers: by account.
fn sorted(sim: &TastySim) -> Vec<broker_sim::SimPosition> {
    let mut positions = sim.positions();
    positions.sort_by(|a, b| a.account.cmp(&b.account));
    positions
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn instruments_are_found_one_by_one_and_not_as_lists() {
    let sim = start().await;
    let token = log_in(&sim).await;
    for position in sim.positions() {
        let Some(listing) = position.listing() else { continue };
        let class = if listing.option_code.is_some() { "future-options" } else { "equity-options" };
        let encoded = listing.rest_symbol.replace('/', "%2F").replace(' ', "%20");
        let answer = get(&sim, &token, &format!("/instruments/{class}/{encoded}")).await;
        assert_eq!(answer.status, 200, "{encoded}: {}", answer.body);
        let data = answer.json()["data"].clone();
        assert_eq!(data["streamer-symbol"], listing.streamer_symbol.as_str());
        assert_eq!(data["symbol"], listing.rest_symbol.as_str());
        let plus = listing.rest_symbol.replace('/', "%2F").replace(' ', "+");
        if plus != listing.rest_symbol {
            assert_eq!(
                get(&sim, &token, &format!("/instruments/{class}/{plus}")).await.status,
                404,
                "no + for a blank"
            );
        }
        let underlying = listing.underlying.replace('/', "%2F");
        let kind = if listing.option_code.is_some() { "futures" } else { "equities" };
        let answer = get(&sim, &token, &format!("/instruments/{kind}/{underlying}")).await;
        assert_eq!(answer.status, 200, "{underlying}: {}", answer.body);
        let streamer = answer.json()["data"]["streamer-symbol"].as_str().unwrap().to_owned();
        assert_eq!(streamer.ends_with(":XCME"), kind == "futures", "{streamer}");
    }
    for path in [
        "/instruments/equity-options?symbol[]=AAPL%20%20261218C00232500",
        "/instruments/equity-options/MSFT%20%20261218C00232500",
        "/instruments/future-options?symbol[]=x",
        "/nowhere",
    ] {
        let answer = get(&sim, &token, path).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (404, Some("not_found")), "{path}");
    }
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn orders_are_noticed() {
    let sim = start().await;
    let token = log_in(&sim).await;
    let header = format!("Bearer {token}");
    let answer = http(&sim, "POST", "/accounts/5WT00001/orders", &[AGENT, ("Authorization", &header)], "{}").await;
    assert_eq!(answer.status, 404);
    assert_eq!(sim.violations()[0].rule, Rule::Order);
    assert!(sim.requests().iter().any(|line| line.path == "/accounts/5WT00001/orders" && line.method == "POST"));
}

#[tokio::test]
async fn dropping_it_closes_the_door() {
    let sim = start().await;
    let (api, stream) = (sim.api_url().replace("http://", ""), sim.dxlink_url().to_owned());
    let mut raw = crate::common::Raw::connect(&sim).await;
    let ((), code) = tokio::join!(sim.shutdown(), raw.expect_close());
    assert_eq!(code, 1001);
    assert!(tokio::net::TcpStream::connect(api).await.is_err());
    assert!(tokio_tungstenite::connect_async(stream).await.is_err());
}

/// Without a word of farewell: the tasks are aborted, and the ports are free.
#[tokio::test]
async fn plain_drop_stops_everything() {
    let sim = start().await;
    let api: std::net::SocketAddr = sim.api_url().replace("http://", "").parse().unwrap();
    let mut raw = crate::common::Raw::connect(&sim).await;
    drop(sim);
    while let Some(message) = raw.next().await {
        assert!(message.is_err(), "{message:?}");
    }
    let mut config = config();
    config.listen = api;
    let again = loop {
        match TastySim::start(config.clone()).await {
            Ok(sim) => break sim,
            Err(SimError::Listen { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(again.api_url(), format!("http://{api}"), "a fixed address can be had again");
    let error = TastySim::start(config).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot listen on 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_ledger_without_capacity_keeps_nothing_and_a_small_one_counts() {
    for (capacity, kept) in [(0, 0), (5, 5)] {
        let mut config = config();
        config.ledger_capacity = capacity;
        let sim = TastySim::start(config).await.unwrap();
        let mut raw = crate::common::Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
        let symbol = sim.positions()[0].listing().unwrap().streamer_symbol.clone();
        raw.subscribe("Greeks", &[&symbol]).await;
        let reader = tokio::spawn(async move { while let Some(Ok(_)) = raw.next().await {} });
        sim.wait_until(crate::common::LIMIT, |stats| stats.greeks_sent >= 8).await.unwrap();
        let view = sim.ledger().take();
        assert_eq!(view.entries.len(), kept);
        assert_eq!(view.overflowed > 0, capacity > 0);
        drop(sim);
        reader.await.unwrap();
    }
}

fn wrong(path: &str, times: u32, how: Wrongness) -> WrongAnswer {
    WrongAnswer { path: path.to_owned(), times, how }
}

#[tokio::test]
async fn wrong_answers_are_given_as_often_as_asked_for() {
    let sim = start().await;
    let token = log_in(&sim).await;
    sim.control().change_faults(|faults| {
        faults.rest.answers = vec![
            wrong("/customers/me", 2, Wrongness::Status(503)),
            wrong("/customers/me", 1, Wrongness::Html(502)),
            wrong("/customers/me", 1, Wrongness::Status(401)),
            wrong("/positions", 1, Wrongness::TooMany(7)),
            wrong("/instruments/", u32::MAX, Wrongness::Status(404)),
            wrong("/api-quote-tokens", 1, Wrongness::Late(Duration::from_millis(200))),
        ];
    });
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let answer = get(&sim, &token, "/customers/me/accounts").await;
        assert_eq!(answer.status == 502, answer.body.starts_with("<html>"), "{}", answer.body);
        if answer.status == 401 {
            assert_eq!(answer.json()["error"]["code"], "token_invalid");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [503, 503, 502, 401, 200]);
    let limited = get(&sim, &token, "/accounts/5WT00001/positions").await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("7")));
    assert_eq!(get(&sim, &token, "/accounts/5WT00001/positions").await.status, 200);
    let known = sim.positions()[0].listing().unwrap().rest_symbol.replace(' ', "%20");
    for _ in 0..3 {
        assert_eq!(get(&sim, &token, &format!("/instruments/equity-options/{known}")).await.status, 404, "for good");
    }
    let began = std::time::Instant::now();
    assert_eq!(get(&sim, &token, "/api-quote-tokens").await.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn an_outage_of_the_token_endpoint_ends() {
    let sim = start().await;
    sim.control()
        .change_faults(|faults| faults.rest.answers.push(wrong("/oauth/token", u32::MAX, Wrongness::Html(502))));
    for _ in 0..3 {
        assert_eq!(http(&sim, "POST", "/oauth/token", &[AGENT], "{}").await.status, 502);
    }
    sim.control().change_faults(|faults| faults.rest.answers.clear());
    log_in(&sim).await;
}

#[tokio::test]
async fn positions_are_written_as_asked_for() {
    let sim = start().await;
    let token = log_in(&sim).await;
    for (numbers, streamer_symbols) in
        [(NumberStyle::Text, StreamerSymbols::None), (NumberStyle::Number, StreamerSymbols::All)]
    {
        sim.control().change_faults(|faults| {
            faults.rest.numbers = numbers;
            faults.rest.streamer_symbols = streamer_symbols;
        });
        let answer = get(&sim, &token, "/accounts/5WT00001/positions").await.json();
        for row in answer["data"]["items"].as_array().unwrap() {
            for field in ["quantity", "multiplier", "close-price", "restricted-quantity"] {
                assert_eq!(row[field].is_number(), numbers == NumberStyle::Number, "{field}: {row}");
                assert_eq!(row[field].is_string(), numbers == NumberStyle::Text, "{field}: {row}");
            }
            let option = row["instrument-type"] != "Equity";
            assert_eq!(row["streamer-symbol"].is_string(), option && streamer_symbols == StreamerSymbols::All);
        }
    }
}

#[tokio::test]
async fn quote_tokens_can_be_delayed_and_short_lived() {
    let mut config = config();
    config.faults.rest.delayed_level = true;
    config.faults.rest.quote_token_ttl = Some(Duration::from_millis(100));
    let sim = TastySim::start(config).await.unwrap();
    let token = log_in(&sim).await;
    let data = get(&sim, &token, "/api-quote-tokens").await.json()["data"].clone();
    assert_eq!(data["level"], "demo");
    let time = |field: &str| data[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("expires-at").duration_since(time("issued-at")).as_millis(), 100);
}
