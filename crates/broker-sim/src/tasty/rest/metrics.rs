//! `GET /market-metrics?symbols=AAPL,/ES`: what the service knows of underlyings, of which the betas count here.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{App, refusal};
use crate::market::{Holding, Listing};
use crate::tasty::violations::Rule;

/// Answers for what is held somewhere in the book, in the order of the question; the rest is left out.
pub(super) async fn answer(State(shared): State<App>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let asked = query.get("symbols").map(String::as_str).unwrap_or_default();
    let symbols: Vec<&str> = asked.split(',').collect();
    if let Some(mistake) = mistake(&symbols) {
        shared.violations.add(0, Rule::MarketMetrics, format!("{mistake}: {asked}"));
        return refusal(StatusCode::BAD_REQUEST, "validation_error", mistake);
    }
    let known: BTreeSet<String> = shared.book().positions.iter().map(|position| name(&position.holding)).collect();
    let items: Vec<Value> = symbols.into_iter().filter(|symbol| known.contains(*symbol)).map(item).collect();
    super::answer("/market-metrics", json!({ "items": items }))
}

fn mistake(symbols: &[&str]) -> Option<&'static str> {
    let distinct: BTreeSet<&&str> = symbols.iter().collect();
    if symbols.iter().any(|symbol| symbol.is_empty() || symbol.contains(char::is_whitespace)) {
        Some("symbols is missing, or a symbol is empty or holds a blank")
    } else if distinct.len() < symbols.len() {
        Some("a symbol is repeated")
    } else if symbols.iter().any(|symbol| symbol.starts_with('/') && symbol.ends_with(|c: char| c.is_ascii_digit())) {
        Some("a future is named in place of its product")
    } else {
        None
    }
}

/// What an underlying is called here.
fn name(holding: &Holding) -> String {
    let product = |listing: &Listing| listing.contract.future().map(|future| format!("/{}", future.product()));
    match holding {
        Holding::Option(listing) => product(listing).unwrap_or_else(|| listing.underlying.clone()),
        Holding::Stock(symbol) => symbol.clone(),
    }
}

/// The index has no beta; the others have one that follows from their names.
fn item(symbol: &str) -> Value {
    let mut item = json!({
        "symbol": symbol, "implied-volatility-index": "0.214", "implied-volatility-percentile": "0.41",
        "liquidity-rating": 4, "updated-at": "2026-11-23T17:01:11.120Z",
    });
    if let (Some(object), true) = (item.as_object_mut(), symbol != "SPX") {
        let hundredths = 50 + symbol.bytes().map(u32::from).sum::<u32>() % 150;
        object.insert("beta".to_owned(), json!(format!("{}.{:02}", hundredths / 100, hundredths % 100)));
        object.insert("beta-updated-at".to_owned(), json!("2026-11-23T17:00:38.789Z"));
    }
    item
}
