//! Rows of positions, in their two shapes and the shape of the uncached call.

use greeks_model::Decimal;
use jiff::Timestamp;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value, json};

use crate::ibkr::book::IbkrPosition;
use crate::ibkr::contracts::Instrument;
use crate::ibkr::faults::{IbkrRestFaults, RowShape};
use crate::ibkr::state::Shared;
use crate::market::{Body, Kind};

/// Row `number` of an account as the paged call gives it.
pub(super) fn row(shared: &Shared, number: usize, position: &IbkrPosition, style: &IbkrRestFaults) -> Option<Value> {
    let instrument = shared.instrument(position.conid)?;
    let short = match style.rows {
        RowShape::Mixed => number % 2 == 1,
        RowShape::Short => true,
        RowShape::Long => false,
    };
    let mut row = common(shared, &instrument, position);
    if short {
        merge(
            &mut row,
            json!({
                "exchs": null, "expiry": null, "putOrCall": null, "multiplier": null, "strike": 0.0, "exerciseStyle": null,
                "conExchMap": [], "undConid": 0, "model": "",
            }),
        );
    } else {
        merge(&mut row, long(&instrument));
    }
    if style.null_fields {
        for key in ["mktPrice", "avgCost", "expiry", "putOrCall", "strike", "multiplier", "undConid", "contractDesc"] {
            row.insert(key.to_owned(), Value::Null);
        }
        for key in ["ticker", "undSym", "fullName", "avgPrice", "listingExchange"] {
            row.remove(key);
        }
    }
    Some(Value::Object(row))
}

/// A row as the uncached call gives it: next to nothing about the contract.
pub(super) fn row_now(shared: &Shared, position: &IbkrPosition) -> Option<Value> {
    let instrument = shared.instrument(position.conid)?;
    let (price, value) = worth(shared, &instrument, position.quantity);
    Some(json!({
        "position": position.quantity, "conid": position.conid.to_string(), "avgCost": 150.0, "avgPrice": 1.5,
        "currency": "USD", "description": instrument.description(), "isLastToLoq": false, "marketPrice": price,
        "marketValue": value, "realizedPnl": 0.0, "unrealizedPnl": 0.0, "secType": instrument.asset_class(),
        "timestamp": Timestamp::now().as_second(), "assetClass": instrument.asset_class(), "sector": null,
        "group": null, "model": "",
    }))
}

/// A contract as `/trsrv/secdef` gives it.
pub(super) fn secdef(instrument: &Instrument) -> Value {
    let mut row = long(instrument);
    if let Some(object) = row.as_object_mut() {
        object.insert("conid".to_owned(), json!(instrument.conid));
        object.insert("assetClass".to_owned(), json!(instrument.asset_class()));
        object.insert("currency".to_owned(), json!("USD"));
        object.remove("pageSize");
        object.remove("isEventContract");
    }
    row
}

/// A contract as `/iserver/contract/{conid}/info` gives it.
pub(super) fn info(instrument: &Instrument) -> Value {
    let last_day = instrument.last_day();
    let listing = instrument.listing();
    json!({
        "cfi_code": "", "symbol": instrument.ticker(), "cusip": null, "expiry_full": null, "con_id": instrument.conid,
        "maturity_date": last_day.map(|day| day.strftime("%Y%m%d").to_string()), "industry": null,
        "instrument_type": instrument.asset_class(), "trading_class": instrument.ticker(), "valid_exchanges": "SMART,CME,CBOE",
        "allow_sell_long": false, "is_zero_commission_security": false, "local_symbol": instrument.local_symbol(),
        "contract_clarification_type": null, "contract_month": last_day.map(|day| day.strftime("%Y%m").to_string()),
        "classifier": null, "currency": "USD", "text": instrument.description(),
        "underlying_con_id": instrument.underlying().unwrap_or(0), "r_t_h": true,
        "multiplier": instrument.multiplier().map(|multiplier| multiplier.to_string()),
        "strike": listing.map(|listing| listing.contract.strike().to_string()),
        "right": listing.map(|listing| listing.contract.option_type().to_string()),
        "underlying_issuer": null, "exchange": null, "category": null, "company_name": instrument.ticker(),
    })
}

fn common(shared: &Shared, instrument: &Instrument, position: &IbkrPosition) -> Map<String, Value> {
    let (price, value) = worth(shared, instrument, position.quantity);
    let multiplier = instrument.multiplier().and_then(|multiplier| multiplier.to_f64()).unwrap_or(1.0);
    let row = json!({
        "acctId": position.account, "conid": position.conid, "contractDesc": instrument.description(),
        "position": quantity(position.quantity), "mktPrice": price, "mktValue": value, "currency": "USD",
        "avgCost": 1.5 * multiplier, "avgPrice": 1.5, "realizedPnl": 0.0, "unrealizedPnl": 0.0,
        "assetClass": instrument.asset_class(),
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// What the long shape has beside.
fn long(instrument: &Instrument) -> Value {
    let listing = instrument.listing();
    let last_day = instrument.last_day().map(|day| day.strftime("%Y%m%d").to_string());
    let name = instrument.last_day().map(|day| day.strftime("%b%d'%y").to_string());
    let full = listing.map_or_else(
        || instrument.local_symbol(),
        |listing| {
            let right = if listing.contract.option_type().letter() == 'C' { "Call" } else { "Put" };
            format!("{} {} {} {right}", instrument.ticker(), name.unwrap_or_default(), listing.contract.strike())
        },
    );
    json!({
        "exchs": null, "expiry": last_day, "putOrCall": listing.map(|listing| listing.contract.option_type().to_string()),
        "multiplier": instrument.multiplier().map(number),
        "strike": listing.map_or_else(|| "0".to_owned(), |listing| listing.contract.strike().to_string()),
        "exerciseStyle": null, "conExchMap": [], "undConid": instrument.underlying().unwrap_or(0), "model": "",
        "incrementRules": null, "displayRule": null, "time": 5, "chineseName": null, "allExchanges": "SMART,CBOE,CME",
        "listingExchange": "SMART", "countryCode": "US", "name": instrument.ticker(), "lastTradingDay": last_day,
        "group": null, "sector": null, "sectorGroup": null, "ticker": instrument.ticker(), "type": null,
        "undComp": instrument.ticker(), "undSym": instrument.ticker(), "hasOptions": listing.is_none(),
        "fullName": full, "isUS": true, "isEventContract": false, "pageSize": 100,
    })
}

fn merge(row: &mut Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        row.extend(more);
    }
}

/// Quantities are doubles: now with a fraction of zero, now without.
fn quantity(quantity: i64) -> Value {
    if quantity % 2 == 0 { json!(quantity.to_f64()) } else { json!(quantity) }
}

fn worth(shared: &Shared, instrument: &Instrument, quantity: i64) -> (f64, f64) {
    let hub = &shared.place.hub;
    let price =
        [Kind::Greeks, Kind::Trade].into_iter().find_map(|kind| match hub.last(instrument.symbol, kind)?.body {
            Body::Greeks(values) => Some(values.price),
            Body::Trade { price, .. } => Some(price),
            Body::Quote { .. } => None,
        });
    let price = price.unwrap_or(0.0);
    let multiplier = instrument.multiplier().and_then(|multiplier| multiplier.to_f64()).unwrap_or(1.0);
    (price, price * multiplier * quantity.to_f64().unwrap_or(0.0))
}

/// A JSON number, whole where it is whole.
fn number(value: Decimal) -> Value {
    value.to_i64().filter(|whole| Decimal::from(*whole) == value).map_or_else(|| json!(value.to_f64()), Value::from)
}
