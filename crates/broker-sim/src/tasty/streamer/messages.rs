//! Messages of the account streamer (developer.tastytrade.com, Streaming Account Data).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::market::SimPosition;
use crate::tasty::faults::RestFaults;
use crate::tasty::rest::documents;

/// A message of the client.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Request {
    pub(super) action: String,
    pub(super) auth_token: Option<Value>,
    pub(super) value: Option<Value>,
    /// Number or string; it comes back as it came, and only if it came.
    pub(super) request_id: Option<Value>,
}

impl Request {
    /// The accounts of a `connect`: one or a list.
    pub(super) fn accounts(&self) -> Vec<String> {
        match &self.value {
            Some(Value::String(account)) => vec![account.clone()],
            Some(Value::Array(accounts)) => accounts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

pub(super) fn ok(request: &Request, session: &str) -> String {
    let mut answer = json!({ "status": "ok", "action": request.action, "web-socket-session-id": session });
    add(&mut answer, "value", request.value.as_ref());
    add(&mut answer, "request-id", request.request_id.as_ref());
    answer.to_string()
}

pub(super) fn refusal(request: &Request, session: &str, message: &str) -> String {
    let mut answer =
        json!({ "status": "error", "action": request.action, "web-socket-session-id": session, "message": message });
    add(&mut answer, "request-id", request.request_id.as_ref());
    answer.to_string()
}

fn add(to: &mut Value, key: &str, value: Option<&Value>) {
    if let (Some(object), Some(value)) = (to.as_object_mut(), value) {
        object.insert(key.to_owned(), value.clone());
    }
}

/// What happened in an account: the order that was filled, then the position as it is now.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) account: String,
    order: Value,
    position: Value,
}

impl Notice {
    /// `row` is the position's place in its account, `change` the signed quantity traded.
    pub(crate) fn new(row: usize, position: &SimPosition, change: i64, style: &RestFaults, id: u64) -> Self {
        let timestamp = Timestamp::now().as_millisecond();
        let message = |kind: &str, data: Value| json!({ "type": kind, "data": data, "timestamp": timestamp });
        Self {
            account: position.account.clone(),
            order: message("Order", order(position, change, id)),
            position: message("CurrentPosition", documents::position(row, position, style)),
        }
    }

    /// As one message or two: both occur.
    pub(super) fn messages(&self, batched: bool) -> Vec<String> {
        if batched {
            vec![json!({ "results": [self.order, self.position] }).to_string()]
        } else {
            vec![self.order.to_string(), self.position.to_string()]
        }
    }
}

fn order(position: &SimPosition, change: i64, id: u64) -> Value {
    let opens = position.quantity.unsigned_abs() >= change.unsigned_abs() && position.quantity != 0;
    let action = match (change > 0, opens) {
        (true, true) => "Buy to Open",
        (true, false) => "Buy to Close",
        (false, true) => "Sell to Open",
        (false, false) => "Sell to Close",
    };
    let (kind, symbol, underlying) = documents::names(position);
    let quantity = change.unsigned_abs();
    json!({
        "id": id, "account-number": position.account, "time-in-force": "Day", "order-type": "Limit",
        "size": quantity, "underlying-symbol": underlying, "price": "1.5",
        "price-effect": if change > 0 { "Debit" } else { "Credit" }, "status": "Filled",
        "cancellable": false, "editable": false, "edited": false, "received-at": documents::timestamp(position.updated),
        // Unlike everywhere else, milliseconds since 1970.
        "updated-at": position.updated.as_millisecond(),
        "legs": [{
            "instrument-type": kind, "symbol": symbol, "quantity": quantity, "remaining-quantity": 0, "action": action,
            "fills": [{ "fill-id": format!("sim-{id}"), "quantity": quantity, "fill-price": "1.5",
                        "filled-at": documents::timestamp(position.updated) }],
        }],
    })
}
