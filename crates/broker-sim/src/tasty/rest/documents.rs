//! Bodies of the documents: dasherized keys, and numbers now as text, now as numbers, as production mixes them.

use greeks_model::Decimal;
use jiff::Timestamp;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value, json};

use crate::market::{Account, Holding, Listing, SimPosition, underlying_rest, underlying_streamer};
use crate::tasty::faults::{NumberStyle, RestFaults, StreamerSymbols};

pub(crate) fn account(account: &Account) -> Value {
    json!({
        "account": {
            "account-number": account.number, "nickname": account.nickname, "account-type-name": "Individual",
            "is-closed": account.closed, "is-futures-approved": true, "margin-or-cash": "Margin",
            "day-trader-status": false, "opened-at": "2021-03-04T15:12:01.000+00:00",
        },
        "authority-level": "owner",
    })
}

/// A row of an account, by default as production mixes it: every other one lacks `streamer-symbol`, as older answers
/// lack it throughout, and numbers are now text, now numbers.
pub(crate) fn position(row: usize, position: &SimPosition, style: &RestFaults) -> Value {
    let direction = match position.quantity {
        0 => "Zero",
        quantity if quantity > 0 => "Long",
        _ => "Short",
    };
    let quantity = position.quantity.unsigned_abs();
    let mut body = json!({
        "account-number": position.account,
        "quantity": quantity,
        "quantity-direction": direction,
        "multiplier": number(position.multiplier()),
        "close-price": "1.25", "average-open-price": "1.5", "average-yearly-market-close-price": "1.5",
        "average-daily-market-close-price": "1.25", "cost-effect": if direction == "Short" { "Debit" } else { "Credit" },
        "is-frozen": false, "is-suppressed": false, "restricted-quantity": 0,
        "realized-day-gain": "0.0", "realized-day-gain-date": "2025-09-16", "realized-day-gain-effect": "None",
        "realized-today": "0.0", "realized-today-date": "2025-09-16", "realized-today-effect": " None",
        "created-at": "2025-09-02T13:35:07.112+00:00", "updated-at": timestamp(position.updated),
    });
    let (kind, symbol, underlying) = names(position);
    if let Some(object) = body.as_object_mut() {
        object.insert("instrument-type".to_owned(), json!(kind));
        object.insert("symbol".to_owned(), json!(symbol));
        object.insert("underlying-symbol".to_owned(), json!(underlying));
        if let Some(listing) = position.listing() {
            object.insert("expires-at".to_owned(), json!(expires_at(listing)));
            let named = match style.streamer_symbols {
                StreamerSymbols::Some => row.is_multiple_of(2),
                StreamerSymbols::None => false,
                StreamerSymbols::All => true,
            };
            if named {
                object.insert("streamer-symbol".to_owned(), json!(listing.streamer_symbol));
            }
        }
        match style.numbers {
            NumberStyle::Mixed if row % 3 == 2 => restyle(object, &["quantity"], to_text),
            NumberStyle::Mixed => {}
            NumberStyle::Text => restyle(object, &NUMBERS, to_text),
            NumberStyle::Number => restyle(object, &NUMBERS, to_number),
        }
    }
    body
}

/// Instrument type, symbol and underlying symbol of what is held.
pub(crate) fn names(position: &SimPosition) -> (&'static str, String, String) {
    match &position.holding {
        Holding::Option(listing) => (option_kind(listing), listing.rest_symbol.clone(), underlying_rest(listing)),
        Holding::Stock(symbol) => ("Equity", symbol.clone(), symbol.clone()),
    }
}

/// Fields of a position that are numbers, however written.
const NUMBERS: [&str; 8] = [
    "quantity",
    "multiplier",
    "close-price",
    "average-open-price",
    "average-yearly-market-close-price",
    "average-daily-market-close-price",
    "restricted-quantity",
    "realized-today",
];

fn restyle(object: &mut Map<String, Value>, fields: &[&str], style: fn(&Value) -> Value) {
    for field in fields {
        if let Some(value) = object.get_mut(*field) {
            *value = style(value);
        }
    }
}

fn to_text(value: &Value) -> Value {
    if value.is_number() { Value::String(value.to_string()) } else { value.clone() }
}

fn to_number(value: &Value) -> Value {
    value.as_str().and_then(|text| text.parse::<f64>().ok()).map_or_else(|| value.clone(), Value::from)
}

/// `/instruments/equity-options/{symbol}` or `/instruments/future-options/{symbol}`.
pub(crate) fn option(listing: &Listing) -> Value {
    let contract = &listing.contract;
    let kind = contract.option_type().to_string();
    let expiration = contract.expiration().to_string();
    match (&listing.option_code, contract.future()) {
        (Some(code), Some(future)) => json!({
            "symbol": listing.rest_symbol, "streamer-symbol": listing.streamer_symbol,
            "underlying-symbol": listing.underlying, "product-code": future.product(),
            "option-root-symbol": code.get(..code.len().saturating_sub(2)), "option-contract-symbol": code,
            "exchange": "CME", "exchange-symbol": format!("{code} {kind}{}", contract.strike()),
            "expiration-date": expiration, "expires-at": expires_at(listing), "strike-price": contract.strike().to_string(),
            "option-type": kind, "exercise-style": "American", "settlement-type": "Future",
            // Not the money multiplier: that one is the position's.
            "multiplier": "1.0", "display-factor": "0.01", "notional-value": number(listing.multiplier),
            "active": true, "is-closing-only": false,
        }),
        _ => {
            let index = contract.root() == "SPXW";
            let standard = listing.multiplier == Decimal::ONE_HUNDRED;
            json!({
                "symbol": listing.rest_symbol, "streamer-symbol": listing.streamer_symbol,
                "instrument-type": "Equity Option", "underlying-symbol": listing.underlying,
                "root-symbol": contract.root(), "strike-price": contract.strike().to_string(), "expiration-date": expiration,
                "option-type": kind, "exercise-style": if index { "European" } else { "American" },
                "shares-per-contract": listing.multiplier.to_i64(), "days-to-expiration": 10,
                "option-chain-type": if standard { "Standard" } else { "Non-standard" },
                "expiration-type": "Weekly", "settlement-type": "PM", "expires-at": expires_at(listing),
                "stops-trading-at": expires_at(listing), "active": true, "is-closing-only": false,
            })
        }
    }
}

/// `/instruments/futures/{symbol}`.
pub(crate) fn future(listing: &Listing) -> Value {
    let product = listing.contract.future().map(|future| future.product().to_owned());
    json!({
        "symbol": underlying_rest(listing), "streamer-symbol": underlying_streamer(listing), "product-code": product,
        "exchange": "CME", "contract-size": number(listing.multiplier), "active": true, "is-tradeable": true,
    })
}

/// `/instruments/equities/{symbol}`.
pub(crate) fn equity(symbol: &str) -> Value {
    let index = symbol == "SPX";
    json!({
        "symbol": symbol, "streamer-symbol": symbol, "instrument-type": "Equity", "is-index": index,
        "description": if index { "S&P 500 Index" } else { "Common stock" }, "active": true,
    })
}

/// ISO 8601 with milliseconds and `+00:00`, as the API writes it.
pub(crate) fn timestamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string()
}

fn expires_at(listing: &Listing) -> String {
    format!("{}T21:00:00.000+00:00", listing.contract.expiration())
}

fn option_kind(listing: &Listing) -> &'static str {
    if listing.option_code.is_some() { "Future Option" } else { "Equity Option" }
}

/// A JSON number, whole where it is whole.
fn number(value: Decimal) -> Value {
    value.to_i64().filter(|whole| Decimal::from(*whole) == value).map_or_else(|| json!(value.to_f64()), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_printed_as_the_api_does() {
        assert_eq!(timestamp(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(number(Decimal::new(25, 1)), json!(2.5));
        assert_eq!(number(Decimal::new(100, 0)), json!(100));
    }
}
