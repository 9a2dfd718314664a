//! Looks at the accounts of a small gateway.

mod definitions;

use std::collections::HashMap;

use broker_net::testkit::Reply;
use greeks_model::testkit;

use super::*;
use crate::rest::fake::Gateway;

/// What a gateway knows. Rows and objects are JSON.
#[derive(Debug, Default)]
struct Knowledge {
    /// The cached list, shown until it is invalidated; then the fresh one.
    cached: Vec<String>,
    fresh: Option<Vec<String>>,
    /// The uncached list; `None`: 404.
    now: Option<Vec<String>>,
    definitions: HashMap<i64, &'static str>,
    infos: HashMap<i64, &'static str>,
    /// Contracts for whose sake a question for definitions is refused.
    bad: Vec<i64>,
    /// Whether no account is told yet, as right after a login.
    no_accounts: bool,
    /// Paths that fail with this status.
    failing: HashMap<&'static str, u16>,
}

impl Knowledge {
    fn answer(&mut self, line: &str) -> Reply {
        let list = |rows: &[String]| Reply::from(format!("[{}]", rows.join(",")));
        if let Some(status) = self.failing.iter().find(|(path, _)| line.contains(*path)).map(|(_, status)| *status) {
            return (status, "").into();
        }
        if line.starts_with("GET /portfolio2/") {
            return self.now.as_ref().map_or_else(|| (404, "").into(), |rows| list(rows));
        }
        if line.ends_with("/positions/invalidate") {
            self.cached = self.fresh.take().unwrap_or_else(|| self.cached.clone());
            return r#"{"message":"success"}"#.into();
        }
        if line.ends_with("/positions/0") {
            return list(&self.cached);
        }
        if line.contains("/positions/") {
            return "[]".into();
        }
        if self.no_accounts && line.starts_with("GET /portfolio/") {
            return "[]".into();
        }
        if line == "GET /portfolio/accounts" {
            return r#"[{"id":"U1234567"},{"id":"U7654321"}]"#.into();
        }
        if let Some(conids) = line.strip_prefix("GET /trsrv/secdef?conids=") {
            if conids.split("%2C").any(|conid| self.bad.contains(&conid.parse().unwrap())) {
                return (400, r#"{"error":"invalid conid"}"#).into();
            }
            let known = conids.split("%2C").filter_map(|conid| {
                let terms = self.definitions.get(&conid.parse().unwrap())?;
                Some(format!(r#"{{"conid":{conid},{terms}}}"#))
            });
            return format!(r#"{{"secdef":[{}]}}"#, known.collect::<Vec<_>>().join(",")).into();
        }
        let conid = line.strip_prefix("GET /iserver/contract/").and_then(|rest| rest.strip_suffix("/info")).unwrap();
        self.infos.get(&conid.parse().unwrap()).map_or_else(|| (404, "").into(), |info| (*info).into())
    }
}

struct Fixture {
    gateway: Gateway,
    knowledge: Arc<Mutex<Knowledge>>,
    discoverer: Arc<Discoverer>,
}

impl Fixture {
    async fn new(knowledge: Knowledge) -> Self {
        let knowledge = Arc::new(Mutex::new(knowledge));
        let known = Arc::clone(&knowledge);
        let gateway = Gateway::start(move |line| known.lock().unwrap().answer(line)).await;
        let discoverer = Arc::new(Discoverer::new(gateway.rest()));
        Self { gateway, knowledge, discoverer }
    }

    fn know(&self, change: impl FnOnce(&mut Knowledge)) {
        change(&mut self.knowledge.lock().unwrap());
    }

    async fn look(&self) -> Result<AccountHoldings, Error> {
        let (cx, _ends) = testkit::context(1, false);
        Arc::clone(&self.discoverer).look(account(), cx).await.result
    }

    /// What a look tells: each holding in words.
    async fn told(&self) -> Vec<String> {
        let holdings = self.look().await.unwrap().holdings;
        holdings
            .iter()
            .map(|it| format!("{} {} x{} on {}", it.quantity, it.contract, it.multiplier, it.underlying))
            .collect()
    }

    /// What was asked beside positions since the last look.
    fn questions(&self) -> Vec<String> {
        self.gateway.lines().into_iter().filter(|line| !line.contains("/positions")).collect()
    }

    /// How often the gateway was told to forget its list.
    fn invalidations(&self) -> usize {
        self.gateway.lines().iter().filter(|line| line.ends_with("/invalidate")).count()
    }
}

fn account() -> AccountId {
    AccountId::new("U1234567").unwrap()
}

fn spy(conid: i64, position: &str) -> String {
    format!(
        r#"{{"acctId":"U1234567","conid":{conid},"contractDesc":"SPY    JAN2027 440 C [SPY   270115C00440000 100]","assetClass":"OPT","position":{position},"expiry":"20270115","lastTradingDay":"20270115","putOrCall":"C","strike":"440","multiplier":100,"ticker":"SPY","undConid":756733,"undSym":"SPY"}}"#
    )
}

fn now(conid: i64, position: f64, class: &str) -> String {
    format!(
        r#"{{"position":{position},"conid":"{conid}","description":"row {conid}","secType":"{class}","assetClass":"{class}"}}"#
    )
}

const ES_FUTURE: &str = r#"{"symbol":"ES","local_symbol":"ESZ6","contract_month":"202612","maturity_date":"20261218","multiplier":"50","instrument_type":"FUT"}"#;

#[tokio::test]
async fn the_long_shape_says_everything() {
    let fixture = Fixture::new(Knowledge { cached: vec![spy(1, "-2")], ..Knowledge::default() }).await;
    let found = fixture.look().await.unwrap();
    assert_eq!((found.holdings.len(), found.skipped), (1, 0));
    let holding = &found.holdings[0];
    assert_eq!((holding.conid.get(), holding.underlying_conid.map(Conid::get)), (1, Some(756_733)));
    assert_eq!(fixture.questions(), [""; 0]);
    assert_eq!(fixture.told().await, ["-2 SPY   270115C00440000 x100 on SPY"]);
}

#[tokio::test]
async fn the_short_shape_is_completed_once() {
    let short = r#"{"conid":1,"contractDesc":"SPX    NOV2026 6650 P [SPXW  261124P06650000 100]","assetClass":"OPT","position":1,"exchs":null,"multiplier":null,"strike":0.0,"putOrCall":null,"expiry":null}"#;
    let fixture = Fixture::new(Knowledge {
        cached: vec![short.into()],
        definitions: HashMap::from([(1, r#""ticker":"SPX","undConid":416904,"assetClass":"OPT""#)]),
        ..Knowledge::default()
    })
    .await;
    let expected = ["1 SPXW  261124P06650000 x100 on SPX"];
    assert_eq!(fixture.told().await, expected);
    assert_eq!(fixture.questions(), ["GET /trsrv/secdef?conids=1"]);
    assert_eq!(fixture.told().await, expected);
    assert_eq!(fixture.questions(), [""; 0], "remembered");

    // The underlying's own definition can be the one that tells its symbol.
    let fixture = Fixture::new(Knowledge {
        cached: vec![short.replace("SPX    NOV2026 6650 P", "")],
        definitions: HashMap::from([
            (1, r#""undConid":416904,"assetClass":"OPT""#),
            (416_904, r#""ticker":"SPX","assetClass":"IND""#),
        ]),
        ..Knowledge::default()
    })
    .await;
    assert_eq!(fixture.told().await, expected);
    assert_eq!(fixture.questions(), ["GET /trsrv/secdef?conids=1", "GET /trsrv/secdef?conids=416904"]);

    // Without definitions the description tells the symbol, and there is no underlying to ask for.
    let failing = HashMap::from([("/trsrv/secdef", 500)]);
    let fixture = Fixture::new(Knowledge { cached: vec![short.into()], failing, ..Knowledge::default() }).await;
    assert_eq!(fixture.told().await, expected);
    assert_eq!(fixture.look().await.unwrap().holdings[0].underlying_conid, None);
}

#[tokio::test]
async fn an_option_without_its_symbol_is_asked_for_and_never_guessed() {
    let plain = spy(1, "1").replace(" [SPY   270115C00440000 100]", "");
    let fixture = Fixture::new(Knowledge {
        cached: vec![plain.clone()],
        infos: HashMap::from([(
            1,
            r#"{"symbol":"SPY","local_symbol":"2SPY  270115C00440000","trading_class":"2SPY"}"#,
        )]),
        ..Knowledge::default()
    })
    .await;
    assert_eq!(fixture.told().await, ["1 2SPY  270115C00440000 x100 on SPY"]);
    assert_eq!(fixture.questions(), ["GET /iserver/contract/1/info"]);
    fixture.told().await;
    assert_eq!(fixture.questions(), [""; 0], "remembered");

    let fixture = Fixture::new(Knowledge { cached: vec![plain, spy(2, "1")], ..Knowledge::default() }).await;
    let found = fixture.look().await.unwrap();
    assert_eq!((found.holdings.len(), found.skipped), (1, 1));
}

#[tokio::test]
async fn a_row_that_contradicts_itself_is_asked_about() {
    let odd = spy(1, "1").replace("\"strike\":\"440\"", "\"strike\":\"450\"");
    let fixture = Fixture::new(Knowledge { cached: vec![odd], ..Knowledge::default() }).await;
    assert_eq!(fixture.look().await.unwrap().skipped, 1);
    fixture.know(|it| {
        let info = r#"{"local_symbol":"SPY   270115C00450000","strike":"450","right":"C","maturity_date":"20270115"}"#;
        it.infos.insert(1, info);
    });
    assert_eq!(fixture.told().await, ["1 SPY   270115C00450000 x100 on SPY"]);
}

#[tokio::test]
async fn an_option_of_another_currency_does_not_take_the_key_of_one_in_dollars() {
    let with = |currency: &str| spy(1, "1").replace("\"undSym\"", &format!("\"currency\":{currency},\"undSym\""));
    for (currency, expected) in [("\"USD\"", 1), ("null", 1), ("\"CAD\"", 0)] {
        let fixture = Fixture::new(Knowledge { cached: vec![with(currency)], ..Knowledge::default() }).await;
        let found = fixture.look().await.unwrap();
        assert_eq!((found.holdings.len(), found.skipped), (expected, 1 - expected), "{currency}");
    }
}

#[tokio::test]
async fn options_on_futures_take_the_exchanges_name() {
    let row = |conid: i64, rest: &str| {
        format!(
            r#"{{"conid":{conid},"contractDesc":"ES     NOV2026 5000 P (50) [EW4X6 P5000 50]","assetClass":"FOP","position":"-3","undConid":649180671{rest}}}"#
        )
    };
    let whole = r#","expiry":"20261127","putOrCall":"P","strike":"5000","multiplier":"50","undSym":"ES""#;
    let fixture = Fixture::new(Knowledge {
        cached: vec![row(1, whole), row(2, whole).replace("5000\"", "5100\"")],
        infos: HashMap::from([(649_180_671, ES_FUTURE)]),
        ..Knowledge::default()
    })
    .await;
    let expected = ["-3 /ESZ26 261127P5000 x50 on /ESZ26", "-3 /ESZ26 261127P5100 x50 on /ESZ26"];
    assert_eq!(fixture.told().await, expected);
    assert_eq!(fixture.questions(), ["GET /iserver/contract/649180671/info"], "once for all its options");
    assert_eq!(fixture.told().await, expected);
    assert_eq!(fixture.questions(), [""; 0]);

    // The short shape, completed by the definition, and where that fails by the option's own names.
    let definition = r#""expiry":"20261127","putOrCall":"P","strike":"5000","multiplier":50"#;
    let info =
        r#"{"maturity_date":"20261127","right":"P","strike":"5000","multiplier":"50","local_symbol":"EW4X6 P5000"}"#;
    for (definitions, infos) in [
        (HashMap::from([(1, definition)]), HashMap::from([(649_180_671, ES_FUTURE)])),
        (HashMap::new(), HashMap::from([(649_180_671, ES_FUTURE), (1, info)])),
    ] {
        let cached = vec![row(1, r#","strike":0.0"#)];
        let fixture = Fixture::new(Knowledge { cached, definitions, infos, ..Knowledge::default() }).await;
        assert_eq!(fixture.told().await, [expected[0]]);
    }

    // Without the future's name there is no key.
    let fixture = Fixture::new(Knowledge { cached: vec![row(1, whole)], ..Knowledge::default() }).await;
    let found = fixture.look().await.unwrap();
    assert_eq!((found.holdings.len(), found.skipped), (0, 1));
}

#[tokio::test]
async fn what_is_not_known_of_a_position_does_not_read_as_closed() {
    let bare = r#"{"conid":2,"contractDesc":"F [F     261211P00012330]","assetClass":"OPT","position":4,"ticker":"F"}"#;
    let fixture =
        Fixture::new(Knowledge { cached: vec![spy(1, "null"), bare.into(), spy(3, "0")], ..Knowledge::default() })
            .await;
    let found = fixture.look().await.unwrap();
    assert_eq!(found.skipped, 2);
    let quantities: Vec<_> = found.holdings.iter().map(|it| (it.conid.get(), it.quantity.is_nan())).collect();
    assert_eq!(quantities, [(1, true), (2, true)]);
}

/// Rows lose fields from one answer to the next, and come back.
#[tokio::test]
async fn what_was_understood_once_stays_so_when_the_gateway_tells_less() {
    let bare = |conid: i64, class: &str| format!(r#"{{"conid":{conid},"assetClass":"{class}","position":-3}}"#);
    let future_option = r#"{"conid":2,"assetClass":"FOP","position":-3,"undConid":649180671,"expiry":"20261127","putOrCall":"P","strike":"5000","multiplier":"50","undSym":"ES"}"#;
    let fixture = Fixture::new(Knowledge {
        cached: vec![spy(1, "-3"), future_option.into()],
        infos: HashMap::from([(649_180_671, ES_FUTURE)]),
        ..Knowledge::default()
    })
    .await;
    let expected = ["-3 SPY   270115C00440000 x100 on SPY", "-3 /ESZ26 261127P5000 x50 on /ESZ26"];
    assert_eq!(fixture.told().await, expected);
    let contradicts = spy(1, "-3").replace("\"strike\":\"440\"", "\"strike\":\"450\"");
    let only_named = r#"{"conid":1,"contractDesc":"[SPY   270115C00440000]","assetClass":"OPT","position":-3}"#;
    for first in [bare(1, "OPT"), contradicts, only_named.into()] {
        fixture.know(|it| {
            it.cached = vec![first.clone(), bare(2, "FOP")];
            it.failing = HashMap::from([("/trsrv/secdef", 500), ("/info", 404)]);
        });
        let found = fixture.look().await.unwrap();
        assert_eq!(found.skipped, 0, "{first}");
        let underlyings: Vec<_> = found.holdings.iter().map(|it| it.underlying_conid.map(Conid::get)).collect();
        assert_eq!(underlyings, [Some(756_733), Some(649_180_671)], "{first}");
        assert_eq!(fixture.told().await, expected, "{first}");
    }
    // Another contract under the same number is believed, as after a split.
    fixture.know(|it| it.cached = vec![spy(1, "-3").replace("[SPY   ", "[SPY1  ")]);
    assert_eq!(fixture.told().await, ["-3 SPY1  270115C00440000 x100 on SPY"]);
}

#[tokio::test]
async fn the_uncached_list_is_right() {
    // Opened, grown and closed since the list was cached; what the other list leaves out stays.
    let cached = vec![spy(1, "1"), spy(2, "2"), spy(4, "4")];
    let fresh = vec![spy(1, "1"), spy(2, "5"), spy(3, "3"), spy(4, "4")];
    let lists = || Knowledge {
        cached: cached.clone(),
        fresh: Some(fresh.clone()),
        now: Some(vec![now(1, 1.0, "OPT"), now(2, 5.0, "OPT"), now(3, 3.0, "OPT"), now(756_733, 100.0, "STK")]),
        ..Knowledge::default()
    };
    let fixture = Fixture::new(lists()).await;
    assert_eq!(quantities(fixture.look().await.unwrap()), [(1, 1.0), (2, 5.0), (3, 3.0), (4, 4.0)]);
    assert_eq!(fixture.invalidations(), 1);

    // A cache that cannot be cleared: quantities of now, and of the contract that only that list knows the definition.
    let mut stubborn = lists();
    stubborn.fresh = None;
    stubborn.now.as_mut().unwrap().push(now(4, 0.0, "OPT"));
    stubborn
        .definitions
        .insert(3, r#""ticker":"SPY","undConid":756733,"multiplier":100,"strike":"450","putOrCall":"C""#);
    stubborn.infos.insert(3, r#"{"local_symbol":"SPY   270115C00450000"}"#);
    let fixture = Fixture::new(stubborn).await;
    assert_eq!(quantities(fixture.look().await.unwrap()), [(1, 1.0), (2, 5.0), (3, 3.0)]);
    assert_eq!(fixture.told().await[2], "3 SPY   270115C00450000 x100 on SPY");
    assert_eq!(fixture.invalidations(), 1, "the same difference again is not worth another reading");
    fixture.know(|it| it.now.as_mut().unwrap().push(now(5, 1.0, "OPT")));
    fixture.look().await.unwrap();
    assert_eq!(fixture.invalidations(), 1, "but another one is");
}

#[tokio::test]
async fn a_gateway_without_the_uncached_list_is_believed() {
    for (status, fatal) in [(404, false), (500, false), (503, false), (401, true), (429, true)] {
        let failing = HashMap::from([("/portfolio2/", status)]);
        let fixture = Fixture::new(Knowledge { cached: vec![spy(1, "1")], failing, ..Knowledge::default() }).await;
        let outcome = fixture.look().await;
        assert_eq!(
            outcome.as_ref().map_or(0, |found| found.holdings.len()),
            usize::from(!fatal),
            "{status}: {outcome:?}"
        );
        assert_eq!(fixture.invalidations(), 0);
    }
}

fn quantities(found: AccountHoldings) -> Vec<(i64, f64)> {
    found.holdings.iter().map(|it| (it.conid.get(), it.quantity)).collect()
}

#[tokio::test]
async fn without_the_uncached_list_the_cache_is_passed_by_at_every_look_but_the_first() {
    let failing = HashMap::from([("/portfolio2/", 404)]);
    let (cached, fresh) = (vec![spy(1, "1")], Some(vec![spy(1, "2")]));
    let fixture = Fixture::new(Knowledge { cached, fresh, failing, ..Knowledge::default() }).await;
    assert_eq!(quantities(fixture.look().await.unwrap()), [(1, 1.0)]);
    assert_eq!(quantities(fixture.look().await.unwrap()), [(1, 2.0)]);
    assert_eq!(fixture.invalidations(), 1);
    // It can be had again.
    fixture.know(|it| (it.failing, it.now) = (HashMap::new(), Some(vec![now(1, 2.0, "OPT")])));
    for _ in 0..2 {
        assert_eq!(quantities(fixture.look().await.unwrap()), [(1, 2.0)]);
    }
    assert_eq!(fixture.invalidations(), 1, "before that was known");
}

#[tokio::test]
async fn equal_lists_are_read_once() {
    let now = Some(vec![now(1, 1.0, "OPT"), now(9, 0.0, "OPT")]);
    let fixture = Fixture::new(Knowledge { cached: vec![spy(1, "1.0")], now, ..Knowledge::default() }).await;
    assert_eq!(fixture.look().await.unwrap().holdings.len(), 1);
    assert_eq!(
        fixture.gateway.lines(),
        [
            "GET /portfolio/U1234567/positions/0",
            "GET /portfolio/U1234567/positions/1",
            "GET /portfolio2/U1234567/positions"
        ]
    );
}

#[tokio::test]
async fn a_session_that_breaks_during_a_look_makes_no_position_vanish() {
    for (path, status) in [
        ("/iserver/contract", 401),
        ("/iserver/contract", 429),
        ("/trsrv/secdef", 401),
        ("/trsrv/secdef", 429),
        ("/positions/0", 503),
        ("/positions/1", 500),
    ] {
        let failing = HashMap::from([(path, status)]);
        let fixture = Fixture::new(Knowledge { cached: vec![unnamed(1)], failing, ..Knowledge::default() }).await;
        assert!(fixture.look().await.is_err(), "{path} {status}");
    }
}

/// A row that only a definition and the exchange's names complete.
fn unnamed(conid: i64) -> String {
    spy(conid, "1").replace(" [SPY   270115C00440000 100]", "").replace("\"multiplier\":100", "\"multiplier\":null")
}

#[tokio::test]
async fn after_an_execution_the_cache_is_passed_by() {
    let lists = || Knowledge { cached: vec![spy(1, "1")], fresh: Some(vec![spy(1, "2")]), ..Knowledge::default() };
    let afresh = |fixture: &Fixture| {
        let (cx, _ends) = testkit::context(1, false);
        Arc::clone(&fixture.discoverer).look_afresh(account(), cx)
    };
    let fixture = Fixture::new(lists()).await;
    assert_eq!(fixture.look().await.unwrap().holdings[0].quantity, 1.0);
    assert_eq!(afresh(&fixture).await.result.unwrap().holdings[0].quantity, 2.0);
    for (status, quantity) in [(404, Some(1.0)), (401, None)] {
        let fixture = Fixture::new(lists()).await;
        fixture.know(|it| it.failing = HashMap::from([("/invalidate", status)]));
        let found = afresh(&fixture).await.result;
        assert_eq!(found.ok().map(|found| found.holdings[0].quantity), quantity, "{status}");
    }
}

#[tokio::test]
async fn configured_accounts_have_to_exist() {
    let mut fixture = Fixture::new(Knowledge::default()).await;
    let all = fixture.discoverer.accounts(&fixture.gateway.config).await.unwrap();
    assert_eq!(all.ids.iter().map(AccountId::as_str).collect::<Vec<_>>(), ["U1234567", "U7654321"]);
    fixture.gateway.config.accounts = Some(vec![AccountId::new("U7654321").unwrap()]);
    let chosen = fixture.discoverer.accounts(&fixture.gateway.config).await.unwrap();
    assert_eq!(chosen.ids.iter().map(AccountId::as_str).collect::<Vec<_>>(), ["U7654321"]);
    assert_eq!(chosen.shortfall, Shortfall::None);
    // One that is not there stops no other.
    let closed = AccountId::new("U0000000").unwrap();
    fixture.gateway.config.accounts = Some(vec![closed.clone(), AccountId::new("U7654321").unwrap()]);
    let chosen = fixture.discoverer.accounts(&fixture.gateway.config).await.unwrap();
    assert_eq!(chosen.ids.iter().map(AccountId::as_str).collect::<Vec<_>>(), ["U7654321"]);
    assert_eq!(chosen.shortfall, Shortfall::NotFound(vec![closed.clone()]));
    fixture.gateway.config.accounts = Some(vec![closed]);
    let error = fixture.discoverer.accounts(&fixture.gateway.config).await.unwrap_err();
    let expected =
        "account(s) ··0000 are not among the accounts of this login (··4567, ··4321): check the list of accounts";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_login_without_accounts_is_asked_again() {
    let fixture = Fixture::new(Knowledge { no_accounts: true, ..Knowledge::default() }).await;
    let error = fixture.discoverer.accounts(&fixture.gateway.config).await.unwrap_err();
    assert!(matches!(error, Error::NoAccounts) && error.retry() == greeks_model::Retry::Backoff, "{error:?}");
    fixture.know(|it| it.no_accounts = false);
    assert_eq!(fixture.discoverer.accounts(&fixture.gateway.config).await.unwrap().ids.len(), 2);
}
