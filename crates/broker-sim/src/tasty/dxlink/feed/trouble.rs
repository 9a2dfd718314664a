//! Messages that a client has to bear, and that carry nothing which counts.

use crate::market::{Body, Event};

/// A channel that nobody opened.
pub(super) const NOBODYS_CHANNEL: u64 = 4243;

/// The `n`-th message that cannot be read: each costs a client one message, not the session.
pub(crate) fn garbage(channel: u64, n: usize) -> String {
    let all: [&dyn Fn() -> String; 14] = [
        &|| "not json".to_owned(),
        &|| "{".to_owned(),
        &|| "[]".to_owned(),
        &|| "null".to_owned(),
        &|| "\"FEED_DATA\"".to_owned(),
        &|| "{\"channel\":0}".to_owned(),
        &|| "{\"type\":null,\"channel\":0}".to_owned(),
        &|| format!("{{\"type\":\"FEED_DATA\",\"channel\":{channel},\"data\":[\"Greeks\",[\"Greeks\",\".AAPL26"),
        &|| format!("{{\"type\":\"FEED_DATA\",\"channel\":{channel},\"data\":7}}"),
        &|| format!("{{\"type\":\"FEED_DATA\",\"channel\":{channel},\"data\":[\"Greeks\"]}}"),
        &|| format!("{{\"type\":\"FEED_DATA\",\"channel\":{channel},\"data\":[\"Greeks\",{{}}]}}"),
        &|| format!("{{\"type\":\"FEED_DATA\",\"channel\":\"{channel}\",\"data\":[]}}"),
        &|| "[".repeat(1_000),
        &|| "\u{0}\u{fffd}\u{7}".to_owned(),
    ];
    all.get(n % all.len()).map_or_else(String::new, |text| text())
}

/// Rows that no client may ever take up: newer than `rows`, and impossible.
pub(super) fn poisoned(rows: &[Event]) -> Vec<Event> {
    let poison = |event: &Event| {
        let mut event = Event { stamp: event.stamp.next(event.stamp.time + 1), ..*event };
        match &mut event.body {
            Body::Greeks(values) => (values.price, values.delta) = (-666.0, 66.0),
            Body::Quote { bid, ask, .. } => (*bid, *ask) = (666_000.0, 666_001.0),
            Body::Trade { price, .. } => *price = 666_000.0,
        }
        event
    };
    rows.iter().map(poison).collect()
}

/// Messages of types, on channels and with event types that nobody knows.
pub(super) fn noise(channel: u64) -> [String; 5] {
    [
        "{\"type\":\"WEATHER\",\"channel\":0,\"sunny\":true}".to_owned(),
        format!("{{\"type\":\"FEED_FORECAST\",\"channel\":{channel},\"data\":[\"Greeks\",[1]]}}"),
        format!(
            "{{\"type\":\"FEED_CONFIG\",\"channel\":{NOBODYS_CHANNEL},\"dataFormat\":\"FULL\",\"eventFields\":{{\"Greeks\":[\"delta\"]}}}}"
        ),
        format!(
            "{{\"type\":\"FEED_CONFIG\",\"channel\":{channel},\"eventFields\":{{\"Weather\":[\"eventSymbol\",\"rain\"]}},\"mood\":{{}}}}"
        ),
        "{\"type\":\"KEEPALIVE\",\"channel\":0,\"since\":{\"ever\":[]}}".to_owned(),
    ]
}
