//! Bodies of the documents: dasherized keys, and numbers now as text, now as numbers, as production mixes them.

use greeks_model::Decimal;
use jiff::Timestamp;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};

use crate::market::{Account, Listing, SimPosition, underlying_rest, underlying_streamer};

pub(super) fn account(account: &Account) -> Value {
    json!({
        "account": {
            "account-number": account.number, "nickname": account.nickname, "account-type-name": "Individual",
            "is-closed": account.closed, "is-futures-approved": true, "margin-or-cash": "Margin",
            "day-trader-status": false, "opened-at": "2021-03-04T15:12:01.000+00:00",
        },
        "authority-level": "owner",
    })
}

/// A row of an account. Every other row lacks `streamer-symbol`, as older production answers lack it throughout.
pub(super) fn position(row: usize, position: &SimPosition) -> Value {
    let direction = match position.quantity {
        0 => "Zero",
        quantity if quantity > 0 => "Long",
        _ => "Short",
    };
    let quantity = position.quantity.unsigned_abs();
    let mut body = json!({
        "account-number": position.account,
        "quantity": if row % 3 == 2 { json!(quantity.to_string()) } else { json!(quantity) },
        "quantity-direction": direction,
        "multiplier": number(position.multiplier()),
        "close-price": "1.25", "average-open-price": "1.5", "average-yearly-market-close-price": "1.5",
        "average-daily-market-close-price": "1.25", "cost-effect": if direction == "Short" { "Debit" } else { "Credit" },
        "is-frozen": false, "is-suppressed": false, "restricted-quantity": 0,
        "realized-day-gain": "0.0", "realized-day-gain-date": "2025-09-16", "realized-day-gain-effect": "None",
        "realized-today": "0.0", "realized-today-date": "2025-09-16", "realized-today-effect": " None",
        "created-at": "2025-09-02T13:35:07.112+00:00", "updated-at": "2025-09-16T20:00:05.004+00:00",
    });
    let (kind, symbol, underlying) = match position.listing() {
        Some(listing) => (option_kind(listing), listing.rest_symbol.clone(), underlying_rest(listing)),
        None => match &position.holding {
            crate::market::Holding::Stock(symbol) => ("Equity", symbol.clone(), symbol.clone()),
            crate::market::Holding::Option(_) => return body,
        },
    };
    if let Some(object) = body.as_object_mut() {
        object.insert("instrument-type".to_owned(), json!(kind));
        object.insert("symbol".to_owned(), json!(symbol));
        object.insert("underlying-symbol".to_owned(), json!(underlying));
        if let Some(listing) = position.listing() {
            object.insert("expires-at".to_owned(), json!(expires_at(listing)));
            if row.is_multiple_of(2) {
                object.insert("streamer-symbol".to_owned(), json!(listing.streamer_symbol));
            }
        }
    }
    body
}

/// `/instruments/equity-options/{symbol}` or `/instruments/future-options/{symbol}`.
pub(super) fn option(listing: &Listing) -> Value {
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
pub(super) fn future(listing: &Listing) -> Value {
    let product = listing.contract.future().map(|future| future.product().to_owned());
    json!({
        "symbol": underlying_rest(listing), "streamer-symbol": underlying_streamer(listing), "product-code": product,
        "exchange": "CME", "contract-size": number(listing.multiplier), "active": true, "is-tradeable": true,
    })
}

/// `/instruments/equities/{symbol}`.
pub(super) fn equity(symbol: &str) -> Value {
    let index = symbol == "SPX";
    json!({
        "symbol": symbol, "streamer-symbol": symbol, "instrument-type": "Equity", "is-index": index,
        "description": if index { "S&P 500 Index" } else { "Common stock" }, "active": true,
    })
}

/// ISO 8601 with milliseconds and `+00:00`, as the API writes it.
pub(super) fn timestamp(at: Timestamp) -> String {
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
