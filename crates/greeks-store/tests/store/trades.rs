//! The strategy log: added once, listed in pages, refused with reasons.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use crate::support::Database;
use greeks_model::{Decimal, Uuid};
use greeks_store::{
    DatabaseConfig, InvalidTrade, NewTrade, Queries, QueryError, READ_ROLE, Trade, TradeFilter, make_roles,
};

const CALL: &str = "AAPL  261218C00232500";

fn new(number: i64) -> NewTrade {
    NewTrade::new("ibkr", "U1", "AAPL", "buy", Decimal::from(number))
}

fn invalid(result: Result<Trade, QueryError>) -> InvalidTrade {
    match result {
        Err(QueryError::Trade(invalid)) => invalid,
        other => panic!("{other:?}"),
    }
}

async fn quantities(queries: &Queries, set: impl FnOnce(&mut TradeFilter)) -> Vec<String> {
    let mut filter = TradeFilter::default();
    set(&mut filter);
    let page = queries.trades(&filter).await.unwrap();
    page.trades.iter().map(|trade| trade.quantity.to_string()).collect()
}

#[tokio::test]
async fn a_trade_comes_back_as_it_went_in() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 1).unwrap();
    assert_eq!(queries.trades(&TradeFilter::default()).await.unwrap().trades, []);
    let plain = queries.add_trade(&new(3)).await.unwrap();
    assert_eq!((plain.contract_key.as_ref(), plain.price, plain.metadata.as_ref()), (None, None, None));
    let mut full = new(-2);
    full.id = Some(Uuid::from_u128(7));
    (full.contract_key, full.price) = (Some(CALL.into()), Some("-1.250".parse().unwrap()));
    full.strategy_tag = Some("wheel".into());
    full.metadata = Some(serde_json::json!({"note": "ü \"x\"", "legs": [1, 2.5, null], "deep": {"a": true}}));
    let trade = queries.add_trade(&full).await.unwrap();
    assert_eq!((trade.id, trade.broker.as_str(), trade.account_id.as_str()), (Uuid::from_u128(7), "ibkr", "U1"));
    assert_eq!((trade.symbol.as_str(), trade.action.as_str(), trade.quantity), ("AAPL", "buy", Decimal::from(-2)));
    assert_eq!((trade.price.unwrap().to_string(), &trade.strategy_tag), ("-1.250".into(), &full.strategy_tag));
    assert_eq!((&trade.contract_key, &trade.metadata), (&full.contract_key, &full.metadata));
    let listed = queries.trades(&TradeFilter::default()).await.unwrap();
    assert_eq!((listed.trades, listed.next), (vec![trade, plain], None));
}

#[tokio::test]
async fn an_id_makes_twice_the_same_as_once_and_belongs_to_one_trade() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 4).unwrap();
    let mut trade = new(1);
    trade.id = Some(Uuid::from_u128(1));
    (trade.price, trade.metadata) = (Some("1.5".parse().unwrap()), Some(serde_json::json!({"a": 1, "b": 2.0})));
    let added = futures_util::future::join_all((0..8).map(|_| queries.add_trade(&trade))).await;
    let added: Vec<Trade> = added.into_iter().map(Result::unwrap).collect();
    assert!(added.iter().all(|one| *one == added[0]), "{added:?}");
    // The same numbers in other words, the same object in another order.
    trade.price = Some("1.50".parse().unwrap());
    trade.metadata = Some(serde_json::from_str(r#"{"b": 2.0, "a": 1}"#).unwrap());
    assert_eq!(queries.add_trade(&trade).await.unwrap(), added[0]);
    assert_eq!(database.count("SELECT count(*) FROM trades").await, 1);

    let changes: [fn(&mut NewTrade); 8] = [
        |trade| trade.broker = "tastytrade".into(),
        |trade| trade.account_id = "U2".into(),
        |trade| trade.symbol = "MSFT".into(),
        |trade| trade.action = "sell".into(),
        |trade| trade.quantity = Decimal::from(2),
        |trade| trade.price = None,
        |trade| trade.strategy_tag = Some("x".into()),
        |trade| trade.metadata = Some(serde_json::json!({"a": 1, "b": 2.5})),
    ];
    for change in changes {
        let mut other = trade.clone();
        change(&mut other);
        assert_eq!(invalid(queries.add_trade(&other).await), InvalidTrade::IdTaken { id: Uuid::from_u128(1) });
    }
    // Without an id each is a trade of its own.
    trade.id = None;
    let [first, second] = [queries.add_trade(&trade).await.unwrap(), queries.add_trade(&trade).await.unwrap()];
    assert_ne!(first.id, second.id);
    assert_eq!(database.count("SELECT count(*) FROM trades").await, 3);
}

#[tokio::test]
async fn what_is_refused_is_not_there() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 1).unwrap();
    let mut trade = new(1);
    trade.quantity = Decimal::ZERO;
    let error = queries.add_trade(&trade).await.unwrap_err();
    assert_eq!(error.to_string(), "quantity must not be 0");
    let mut trade = new(1);
    trade.metadata = Some(serde_json::json!({"a": "\u{0}"}));
    assert_eq!(invalid(queries.add_trade(&trade).await), InvalidTrade::Metadata);
    // Text that looks like a statement is text.
    let mut trade = new(1);
    trade.symbol = "'); DROP TABLE trades; --".into();
    assert_eq!(queries.add_trade(&trade).await.unwrap().symbol, trade.symbol);
    assert_eq!(database.count("SELECT count(*) FROM trades").await, 1);

    make_roles(&database.config).await.unwrap();
    let name = format!("{}_reader", database.config.database());
    let sql = format!("CREATE ROLE {name} LOGIN; GRANT {READ_ROLE} TO {name}");
    database.client().await.batch_execute(&sql).await.unwrap();
    let mut config = database.driver.clone();
    config.user(&name);
    let reader = Queries::new(&DatabaseConfig::new(config), 1).unwrap();
    assert_eq!(reader.trades(&TradeFilter::default()).await.unwrap().trades.len(), 1);
    let error = reader.add_trade(&new(1)).await.unwrap_err();
    assert!(matches!(error, QueryError::NotAllowed { .. }), "{error:?}");
    assert!(error.to_string().starts_with("the user of the database may not add trades"), "{error}");
}

#[tokio::test]
async fn filters_choose() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 1).unwrap();
    let changes: [fn(&mut NewTrade); 4] = [
        |trade| trade.broker = "tastytrade".into(),
        |trade| trade.account_id = "U2".into(),
        |trade| trade.contract_key = Some(CALL.into()),
        |trade| trade.strategy_tag = Some("wheel".into()),
    ];
    let mut times = Vec::new();
    for (number, change) in (1..).zip(changes) {
        let mut trade = new(number);
        change(&mut trade);
        times.push(queries.add_trade(&trade).await.unwrap().created_at);
    }
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert_eq!(quantities(&queries, |_| ()).await, ["4", "3", "2", "1"]);
    assert_eq!(quantities(&queries, |filter| filter.broker = Some("ibkr".into())).await, ["4", "3", "2"]);
    assert_eq!(quantities(&queries, |filter| filter.account_id = Some("U2".into())).await, ["2"]);
    assert_eq!(quantities(&queries, |filter| filter.contract_key = Some(CALL.into())).await, ["3"]);
    assert_eq!(quantities(&queries, |filter| filter.strategy_tag = Some("wheel".into())).await, ["4"]);
    let window = |filter: &mut TradeFilter| (filter.from, filter.to) = (Some(times[1]), Some(times[3]));
    assert_eq!(quantities(&queries, window).await, ["3", "2"], "from inclusive, to exclusive");
    assert_eq!(quantities(&queries, |filter| filter.limit = 0).await, ["4"], "one at least");
}

#[tokio::test]
async fn pages_cover_every_trade_once_while_others_come() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 2).unwrap();
    // Many of the same moment.
    let sql = "INSERT INTO trades (created_at, broker, account_id, symbol, action, quantity) \
               SELECT '2018-01-01'::timestamptz + (n / 10) * interval '1 s', 'ibkr', 'U1', 'X', 'buy', n \
               FROM generate_series(1, 95) n";
    database.client().await.batch_execute(sql).await.unwrap();
    for limit in [1, 7, 95, 1_000] {
        let mut filter = TradeFilter::default();
        filter.limit = limit;
        let (mut seen, mut trades) = (BTreeSet::new(), Vec::new());
        loop {
            let page = queries.trades(&filter).await.unwrap();
            queries.add_trade(&new(1_000)).await.unwrap();
            assert!(page.trades.len() <= limit as usize);
            for trade in page.trades {
                assert!(seen.insert(trade.id), "{trade:?} twice");
                trades.push(trade);
            }
            match page.next {
                Some(next) => filter.cursor = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert!(trades.is_sorted_by(|a, b| (a.created_at, a.id) > (b.created_at, b.id)), "newest first");
        let old = trades.iter().filter(|trade| trade.quantity < Decimal::from(1_000)).count();
        assert_eq!(old, 95, "limit {limit}");
    }
}
