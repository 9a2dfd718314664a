//! Each fault does what it says, and the ledger stays true: a client that reads as the specification allows, and bears
//! what it cannot read, has every row of the ledger and no other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::common::rows::{Row, greeks, number, options, same, subscribe_all, text};
use crate::common::{LIMIT, Raw, config, quote_token};
use broker_sim::{
    ColumnOrder, DataFormat, Disconnect, Escapes, FeedFaults, Figure, Mischief, SetupTimeouts, Substitute, TastySim,
};
use serde_json::{Value, json};

/// A reader that bears everything, and counts it.
#[derive(Default)]
struct Reader {
    fields: HashMap<String, Vec<String>>,
    rows: Vec<Row>,
    data: usize,
    configs: usize,
    bare_configs: usize,
    orders: HashSet<Vec<String>>,
    compact: usize,
    full: usize,
    pairs: usize,
    garbage: usize,
    ragged: usize,
    foreign: usize,
    unknown: usize,
    raw: Vec<String>,
}

impl Reader {
    fn take(&mut self, text: &str) {
        if self.raw.len() < 200 {
            self.raw.push(text.to_owned());
        }
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let (Some(kind), Some(channel)) = (message["type"].as_str(), message["channel"].as_u64()) else {
            self.garbage += 1;
            return;
        };
        match (kind, channel) {
            ("FEED_CONFIG", 1) => {
                self.configs += 1;
                self.bare_configs += usize::from(message["eventFields"].is_null());
                for (kind, names) in message["eventFields"].as_object().into_iter().flatten() {
                    let names: Vec<String> = serde_json::from_value(names.clone()).unwrap();
                    if kind == "Greeks" {
                        self.orders.insert(names.clone());
                    }
                    self.fields.insert(kind.clone(), names);
                }
            }
            ("FEED_DATA", 1) => match message["data"].as_array() {
                Some(data) => self.data(data),
                None => self.garbage += 1,
            },
            ("FEED_DATA" | "FEED_CONFIG", _) => self.foreign += 1,
            ("KEEPALIVE", 0) => {}
            _ => self.unknown += 1,
        }
    }

    fn data(&mut self, data: &[Value]) {
        self.data += 1;
        if data.first().is_some_and(Value::is_object) {
            self.full += 1;
            let rows = data.iter().map(|row| row.as_object().unwrap().clone().into_iter().collect());
            self.rows.extend(rows.filter(|row: &Row| known(text(row, "eventType"))));
            return;
        }
        let mut rows = Vec::new();
        for pair in data.chunks(2) {
            let [Value::String(kind), Value::Array(values)] = pair else {
                self.garbage += 1;
                return;
            };
            let Some(fields) = self.fields.get(kind).filter(|_| known(kind)) else { continue };
            if values.len() % fields.len() != 0 {
                self.ragged += 1;
                return;
            }
            rows.extend(
                values.chunks(fields.len()).map(|row| fields.iter().cloned().zip(row.iter().cloned()).collect()),
            );
        }
        self.compact += 1;
        self.pairs = self.pairs.max(data.len() / 2);
        self.rows.extend::<Vec<Row>>(rows);
    }

    fn greeks(&self) -> Vec<&Row> {
        greeks(&self.rows)
    }
}

fn known(kind: &str) -> bool {
    ["Greeks", "Quote"].contains(&kind)
}

fn every(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

/// Streams under these faults until 400 Greeks rows have come, and compares them with the ledger.
async fn streamed(format: &str, faults: FeedFaults) -> Reader {
    let mut config = config();
    config.dxlink.max_rows = 20;
    config.faults.feed = faults;
    let sim = TastySim::start(config).await.unwrap();
    sim.control().set_rate(600.0).await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, format).await;
    let reader = stream(&sim, &mut raw, 400, async || ()).await;
    sim.shutdown().await;
    reader
}

/// Subscribes to everything, does `meanwhile` after the first rows, reads so many Greeks rows and to the end, compares.
async fn stream(sim: &TastySim, raw: &mut Raw, enough: usize, meanwhile: impl AsyncFnOnce()) -> Reader {
    subscribe_all(raw, sim).await;
    raw.subscribe("Quote", &["AAPL", "SPX"]).await;
    let mut reader = Reader::default();
    while reader.greeks().len() < 20 {
        reader.take(&raw.next_text().await.unwrap().unwrap());
    }
    let ((), ()) = tokio::join!(meanwhile(), async {
        while reader.greeks().len() < enough {
            reader.take(&raw.next_text().await.unwrap().unwrap());
        }
    });
    let control = sim.control();
    let (ended, ()) = tokio::join!(control.disconnect_all(Disconnect::Orderly), async {
        while let Some(Ok(text)) = raw.next_text().await {
            reader.take(&text);
        }
    });
    assert_eq!(ended.unwrap(), 1);
    assert_is_the_ledger(sim, &reader);
    assert_eq!(sim.violations(), []);
    reader
}

fn assert_is_the_ledger(sim: &TastySim, reader: &Reader) {
    let ledger = sim.ledger().snapshot();
    let received = reader.greeks();
    assert_eq!(received.len(), ledger.entries.len());
    for (row, entry) in received.iter().zip(&ledger.entries) {
        assert!(same(row, entry), "{row:?} is not {entry:?}");
    }
}

#[tokio::test]
async fn without_faults_nothing_is_unusual() {
    let reader = streamed("COMPACT", FeedFaults::default()).await;
    assert_eq!((reader.garbage, reader.ragged, reader.foreign, reader.unknown), (0, 0, 0, 0));
    assert_eq!((reader.configs, reader.bare_configs, reader.full), (2, 0, 0), "the lists of two types, once each");
    assert!(reader.raw.iter().all(|text| text.starts_with("{\"") && !text.contains('\\')));
}

#[tokio::test]
async fn columns_and_format_change_on_the_way() {
    let faults = FeedFaults {
        reorder_every: every(3),
        switch_format_every: every(4),
        announce_switch: true,
        ..FeedFaults::default()
    };
    let reader = streamed("COMPACT", faults.clone()).await;
    assert!(reader.orders.len() > 3, "{} orders of the columns", reader.orders.len());
    assert!(reader.bare_configs > 3 && reader.compact > 3 && reader.full > 3);
    let formats: Vec<bool> =
        reader.raw.iter().filter(|text| text.contains("FEED_CONFIG")).map(|text| text.contains("FULL")).collect();
    assert!(formats.contains(&true) && formats.contains(&false));

    let silently = streamed("FULL", FeedFaults { announce_switch: false, reorder_every: None, ..faults }).await;
    assert!(silently.compact > 3 && silently.full > 3);
    let configs = silently.raw.iter().filter(|text| text.contains("FEED_CONFIG"));
    assert!(configs.into_iter().all(|text| text.contains("\"FULL\"")), "the switch is not announced");
    assert_eq!(silently.configs, 2);
}

#[tokio::test]
async fn types_mix_within_a_message() {
    let faults = FeedFaults { mix_types: true, ..FeedFaults::default() };
    let mut config = config();
    config.faults.feed = faults;
    let sim = TastySim::start(config).await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.3, "COMPACT").await;
    let reader = stream(&sim, &mut raw, 60, async || ()).await;
    assert!(reader.pairs >= 3, "{} pairs: types come back in one message", reader.pairs);
}

#[tokio::test]
async fn keys_symbols_and_numbers_are_written_otherwise() {
    for format in ["COMPACT", "FULL"] {
        for escapes in [Escapes::Slash, Escapes::Unicode] {
            let substitutes = vec![Substitute { figure: Figure::Delta, value: 1.0, every: NonZeroU32::MIN }];
            let faults =
                FeedFaults { shuffle_keys: true, escapes, whole_numbers: true, substitutes, ..FeedFaults::default() };
            let reader = streamed(format, faults).await;
            let data: Vec<&String> = reader.raw.iter().filter(|text| text.contains("FEED_DATA")).collect();
            assert!(
                data.iter().all(|text| text.starts_with("{\"data\":[") && text.ends_with("\"type\":\"FEED_DATA\"}"))
            );
            let slash = if escapes == Escapes::Slash { ".\\/" } else { "\\u002e\\u002f" };
            assert!(data.iter().any(|text| text.contains(slash)), "futures options have slashes");
            assert!(reader.greeks().iter().all(|row| row["delta"].is_i64()), "1, not 1.0");
        }
    }
}

#[tokio::test]
async fn noise_garbage_and_ragged_rows_do_not_count() {
    for format in ["COMPACT", "FULL"] {
        let faults = FeedFaults {
            noise_every: every(3),
            garbage_every: every(2),
            ragged_every: every(2),
            ..FeedFaults::default()
        };
        let reader = streamed(format, faults).await;
        assert!(reader.garbage > 10, "{}", reader.garbage);
        assert!(reader.foreign > 3 && reader.unknown > 3);
        assert_eq!(reader.ragged > 5, format == "COMPACT", "{}", reader.ragged);
        assert!(reader.rows.iter().all(|row| row.get("delta").is_none_or(|_| number(row, "delta") != 66.0)), "poison");
        assert!(reader.raw.iter().any(|text| text.contains("66.0")), "which was there");
        assert!(reader.raw.iter().any(|text| text.contains("\"sideband\"") && text.contains("\"Weather\"")));
    }
}

#[tokio::test]
async fn figures_are_replaced_as_often_as_asked_for() {
    let substitute = |figure, value, n| Substitute { figure, value, every: NonZeroU32::new(n).unwrap() };
    let substitutes = vec![
        substitute(Figure::Gamma, f64::NAN, 2),
        substitute(Figure::Vega, f64::INFINITY, 3),
        substitute(Figure::Theta, f64::NEG_INFINITY, 5),
    ];
    let reader = streamed("COMPACT", FeedFaults { substitutes, ..FeedFaults::default() }).await;
    for (place, row) in reader.greeks().iter().enumerate() {
        let hit = |n: usize| (place + 1) % n == 0;
        assert_eq!(row["vega"] == json!("Infinity"), hit(3));
        assert_eq!(row["theta"] == json!("-Infinity"), hit(5));
        assert!(!hit(2) || row["gamma"] == json!("NaN"));
    }
}

#[tokio::test]
async fn muted_symbols_never_answer() {
    let mut config = config();
    let probe = TastySim::start(config.clone()).await.unwrap();
    let symbols = options(&probe);
    let muted: BTreeSet<String> = symbols.iter().take(3).cloned().collect();
    config.faults.feed.mute = muted.clone();
    let sim = TastySim::start(config).await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    let reader = stream(&sim, &mut raw, 100, async || ()).await;
    let heard: HashSet<String> = reader.greeks().iter().map(|row| text(row, "eventSymbol").to_owned()).collect();
    assert_eq!(heard.len(), symbols.len() - 3);
    assert!(heard.is_disjoint(&muted.into_iter().collect()));
}

#[tokio::test]
async fn mischief_is_done_to_a_live_connection() {
    let sim = TastySim::start(config()).await.unwrap();
    let control = sim.control();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    let reader = stream(&sim, &mut raw, 400, async || {
        for mischief in [
            Mischief::Columns(ColumnOrder::Schema),
            Mischief::Setup,
            Mischief::Error { on_channels: false, code: "UNKNOWN".into() },
            Mischief::Error { on_channels: true, code: "BAD_ACTION".into() },
            Mischief::Text("{\"type\":\"GREETING\",\"channel\":0}".into()),
            Mischief::Format { format: DataFormat::Full, announced: false },
        ] {
            assert_eq!(control.inflict(mischief).await.unwrap(), 1);
        }
    })
    .await;
    assert_eq!((reader.orders.len(), reader.unknown), (2, 4));
    let kinds = ["SETUP", "ERROR", "GREETING"].map(|kind| reader.raw.iter().filter(|text| text.contains(kind)).count());
    assert_eq!(kinds, [1, 2, 1]);
    assert!(reader.compact > 0 && reader.full > 0);
    assert_eq!(control.inflict(Mischief::Silence).await.unwrap(), 0, "nobody is connected");
}

#[tokio::test]
async fn channels_can_be_closed_by_the_server_and_opened_again() {
    let sim = TastySim::start(config()).await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    assert_eq!(sim.control().inflict(Mischief::CloseChannels).await.unwrap(), 1);
    assert_eq!(raw.expect("CHANNEL_CLOSED").await["channel"], 1);
    raw.send(json!({"type": "CHANNEL_REQUEST", "channel": 1, "service": "FEED", "parameters": {"contract": "AUTO"}}))
        .await;
    raw.expect("CHANNEL_OPENED").await;
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn a_burst_is_one_large_message_of_real_rows() {
    let sim = TastySim::start(config()).await.unwrap();
    let control = sim.control();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    let size = 3 << 20;
    let reader = stream(&sim, &mut raw, 10_000, async || {
        assert_eq!(control.inflict(Mischief::Burst { bytes: size }).await.unwrap(), 1);
    })
    .await;
    let largest = reader.raw.iter().map(String::len).max().unwrap();
    assert!((size..size + size / 4).contains(&largest), "{largest}");
    let mut newest: HashMap<&str, i64> = HashMap::new();
    for row in reader.greeks() {
        let index = row["index"].as_i64().unwrap();
        let before = newest.insert(text(row, "eventSymbol"), index);
        assert!(before.is_none_or(|before| before < index), "each is newer than the one before");
    }
}

#[tokio::test]
async fn an_oversized_message_has_nothing_for_the_ledger() {
    let sim = TastySim::start(config()).await.unwrap();
    let control = sim.control();
    control.pause().await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    let size = 17 << 20;
    let (done, message) = tokio::join!(control.inflict(Mischief::Oversized { bytes: size }), raw.next_text());
    assert_eq!(done.unwrap(), 1);
    let message = message.unwrap().unwrap();
    assert!(message.len() >= size);
    assert_eq!(serde_json::from_str::<Value>(&message).unwrap()["data"][0], "Weather", "it is valid");
    assert_eq!(sim.ledger().snapshot().entries, []);
}

#[tokio::test]
async fn silence_is_complete_and_leaves_the_socket_open() {
    let sim = TastySim::start(config()).await.unwrap();
    let mut raw = Raw::connect(&sim).await;
    raw.setup(0.2).await;
    raw.expect("AUTH_STATE").await;
    raw.expect("KEEPALIVE").await;
    assert_eq!(sim.control().inflict(Mischief::Silence).await.unwrap(), 1);
    // What was sent before may still be on its way.
    let quiet = Duration::from_secs(1);
    while let Ok(message) = tokio::time::timeout(quiet, raw.next_text()).await {
        assert!(message.unwrap().unwrap().contains("KEEPALIVE"));
    }
    raw.send(json!({"type": "KEEPALIVE", "channel": 0})).await;
    assert_eq!(sim.stats().open, 1);
    let mut other = Raw::connect(&sim).await;
    other.setup(60.0).await;
}

#[tokio::test]
async fn a_message_can_be_cut_in_the_middle() {
    let sim = TastySim::start(config()).await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    assert_eq!(sim.control().inflict(Mischief::CutMidMessage).await.unwrap(), 1);
    assert!(raw.next_text().await.is_none(), "half a message is none, and there was no farewell");
    sim.wait_until(LIMIT, |stats| stats.open == 0).await.unwrap();
}

#[tokio::test]
async fn messages_can_come_in_pieces() {
    let mut config = config();
    config.faults.connection.fragment = NonZeroU32::new(7);
    let sim = TastySim::start(config).await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    stream(&sim, &mut raw, 100, async || ()).await;
}

#[tokio::test]
async fn setups_differ() {
    for (timeouts, expected) in [
        (SetupTimeouts::Configured, json!(60.0)),
        (SetupTimeouts::Absent, Value::Null),
        (SetupTimeouts::Seconds(1.5), json!(1.5)),
        (SetupTimeouts::Seconds(0.0), json!(0.0)),
    ] {
        let mut config = config();
        config.faults.connection.setup_timeouts = timeouts;
        let sim = TastySim::start(config).await.unwrap();
        let mut raw = Raw::connect(&sim).await;
        raw.send(json!({"type": "SETUP", "channel": 0, "version": "0.1-raw/1.0"})).await;
        let setup = raw.expect("SETUP").await;
        assert_eq!([&setup["keepaliveTimeout"], &setup["acceptKeepaliveTimeout"]], [&expected; 2]);
    }
}

#[tokio::test]
async fn a_server_without_authorization_says_so_at_once() {
    let mut config = config();
    config.faults.connection.authorized_at_once = true;
    let sim = TastySim::start(config).await.unwrap();
    let mut raw = Raw::connect(&sim).await;
    raw.setup(60.0).await;
    assert_eq!(raw.expect("AUTH_STATE").await["state"], "AUTHORIZED");
    raw.send(json!({"type": "CHANNEL_REQUEST", "channel": 1, "service": "FEED", "parameters": {"contract": "AUTO"}}))
        .await;
    raw.expect("CHANNEL_OPENED").await;
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn logins_and_upgrades_fail_as_often_as_asked_for() {
    let mut config = config();
    config.faults.connection.refuse_upgrades = 2;
    config.faults.connection.session_not_found = 1;
    config.faults.connection.unauthorized = 1;
    let sim = TastySim::start(config).await.unwrap();
    for _ in 0..2 {
        let refused = tokio_tungstenite::connect_async(sim.dxlink_url()).await.unwrap_err();
        assert!(refused.to_string().contains("502"), "{refused}");
    }
    let auth = json!({"type": "AUTH", "channel": 0, "token": quote_token(&sim).await});
    let mut raw = Raw::connect(&sim).await;
    raw.setup(60.0).await;
    raw.expect("AUTH_STATE").await;
    raw.send(auth.clone()).await;
    let error = raw.expect("ERROR").await;
    assert!(error["message"].as_str().unwrap().ends_with("Session not found: api"), "{error}");
    assert_eq!(raw.expect_close().await, 1008);

    let mut raw = Raw::connect(&sim).await;
    raw.setup(60.0).await;
    raw.expect("AUTH_STATE").await;
    raw.send(auth.clone()).await;
    assert_eq!(raw.expect("AUTH_STATE").await["state"], "UNAUTHORIZED");
    raw.send(auth).await;
    assert_eq!(raw.expect("AUTH_STATE").await["state"], "AUTHORIZED", "the next try is as good as the first");
    assert_eq!(sim.violations(), []);
}

#[tokio::test]
async fn the_limit_of_messages_can_be_a_surprise() {
    let sim = TastySim::start(config()).await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    sim.control().change_faults(|faults| faults.connection.max_message_bytes = Some(100));
    raw.subscribe("Greeks", &[".A261218C1", ".A261218C2", ".A261218C3"]).await;
    assert_eq!(raw.expect_close().await, 1009);
    assert_eq!(sim.violations(), [], "no client can know");
}

#[tokio::test]
async fn a_connection_ends_with_its_token_unless_that_is_renewed() {
    let mut config = config();
    config.faults.connection.tokens_end_connections = true;
    config.faults.rest.quote_token_ttl = Some(Duration::from_millis(400));
    let sim = TastySim::start(config).await.unwrap();
    let mut raw = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    sim.control().change_faults(|faults| faults.rest.quote_token_ttl = Some(Duration::from_secs(60)));
    let mut renewed = Raw::ready(&sim, "AUTO", 0.0, "COMPACT").await;
    renewed.send(json!({"type": "AUTH", "channel": 0, "token": quote_token(&sim).await})).await;
    assert_eq!(renewed.expect("AUTH_STATE").await["state"], "AUTHORIZED");
    assert_eq!(raw.expect("AUTH_STATE").await["state"], "UNAUTHORIZED");
    assert_eq!(raw.expect_close().await, 1008);
    assert_eq!(sim.stats().open, 1);
}

#[tokio::test]
async fn an_answer_to_feed_setup_may_wait_for_data() {
    let mut config = config();
    config.faults.feed.late_config = true;
    let sim = TastySim::start(config).await.unwrap();
    let mut raw = Raw::connect(&sim).await;
    raw.setup(60.0).await;
    raw.expect("AUTH_STATE").await;
    raw.send(json!({"type": "AUTH", "channel": 0, "token": quote_token(&sim).await})).await;
    raw.expect("AUTH_STATE").await;
    raw.send(json!({"type": "CHANNEL_REQUEST", "channel": 1, "service": "FEED", "parameters": {"contract": "AUTO"}}))
        .await;
    raw.expect("CHANNEL_OPENED").await;
    raw.send(json!({"type": "FEED_SETUP", "channel": 1, "acceptAggregationPeriod": 0, "acceptDataFormat": "COMPACT"}))
        .await;
    // Were the answer not late, it would come before this one.
    raw.send(json!({"type": "CHANNEL_REQUEST", "channel": 3, "service": "FEED", "parameters": {"contract": "AUTO"}}))
        .await;
    raw.expect("CHANNEL_OPENED").await;
    raw.subscribe("Greeks", &[&options(&sim)[0]]).await;
    assert!(raw.expect("FEED_CONFIG").await["eventFields"].is_null());
    assert!(raw.expect("FEED_CONFIG").await["eventFields"]["Greeks"].is_array());
    raw.expect("FEED_DATA").await;
}
