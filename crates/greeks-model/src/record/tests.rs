use proptest::prelude::*;

use super::*;
use crate::{Contract, Decimal, Flags};

fn series(key: &str) -> Arc<Series> {
    Arc::new(Series {
        broker: SourceId::new("tastytrade").unwrap(),
        account_id: AccountId::new("5WT00001").unwrap(),
        contract: key.parse().unwrap(),
        underlying: "SPX".into(),
        multiplier: Decimal::ONE_HUNDRED,
    })
}

fn snapshot() -> GreekSnapshot {
    let mut row = GreekSnapshot::new(
        series("SPXW  180228P02600000"),
        UnixNanos::from_millis(1_517_864_400_000),
        UnixNanos::from_nanos(1_795_000_000_123_456_789),
        -3.0,
    );
    row.flags = Flags::FIRST_AFTER_CONNECT;
    row.delta = Some(-0.25);
    row.theta = Some(-0.0);
    row.underlying_price = Some(2648.94);
    row.source_payload = Some(r#"{"delta":-0.25}"#.into());
    row
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Version 1 as released. These strings may be added to, never changed: old journals hold such bytes.
#[test]
fn golden_bytes_of_version_1() {
    let source = SourceId::new("ibkr").unwrap();
    let golden = [
        (Record::Snapshot(snapshot()), include_str!("golden/v1_snapshot.hex")),
        (
            Record::Positions(PositionsRecord {
                source: source.clone(),
                account_id: AccountId::new("U1234567").unwrap(),
                observed_at: UnixNanos::from_millis(1),
                positions: vec![(series("/ESZ26 261127P5000"), 1.5)],
            }),
            include_str!("golden/v1_positions.hex"),
        ),
        (
            Record::Gap(GapRecord {
                source: source.clone(),
                from: UnixNanos::from_millis(2),
                to: Some(UnixNanos::from_millis(3)),
                reason: GapReason::Silence,
                count: Some(7),
            }),
            include_str!("golden/v1_gap.hex"),
        ),
        (
            Record::Shed(ShedRecord {
                source,
                from: UnixNanos::from_millis(4),
                to: UnixNanos::from_millis(5),
                count: 6,
            }),
            include_str!("golden/v1_shed.hex"),
        ),
    ];
    for (record, expected) in golden {
        assert_eq!(hex(&encoded(&record)), expected.trim(), "{record:?}");
        assert_eq!(Record::decode(&encoded(&record)).unwrap(), record);
    }
}

#[test]
fn unknown_versions_kinds_and_leftovers_are_named() {
    let good = encoded(&Record::Snapshot(snapshot()));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Record::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 2), DecodeError::UnknownVersion { version: 2 });
    assert_eq!(with(1, 9), DecodeError::UnknownKind { kind: 9 });
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(Record::decode(&longer).unwrap_err(), DecodeError::TrailingBytes { extra: 1 });
    for cut in 0..good.len() {
        assert!(matches!(Record::decode(&good[..cut]), Err(DecodeError::Truncated { .. })), "cut at {cut}");
    }
}

#[test]
fn a_hostile_count_reserves_nothing() {
    let mut bytes = vec![Record::VERSION, POSITIONS];
    for text in ["ibkr", "U1"] {
        bytes.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&0i64.to_le_bytes());
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Record::decode(&bytes), Err(DecodeError::Truncated { .. })));
}

/// Values by their bits, so that -0.0 and the smallest numbers count.
fn bits(row: &GreekSnapshot) -> Vec<Option<u64>> {
    let mut all: Vec<_> = row.broker_values().iter().map(|v| v.map(f64::to_bits)).collect();
    all.push(row.underlying_price.map(f64::to_bits));
    all.push(Some(row.quantity.to_bits()));
    all
}

fn any_row() -> impl Strategy<Value = GreekSnapshot> {
    let value = || proptest::option::of(proptest::num::f64::ANY.prop_filter("finite", |v| v.is_finite()));
    let values = (value(), value(), value(), value(), value(), value(), value(), value());
    let rest = (any::<i64>(), any::<i64>(), any::<u16>(), -1e9..1e9f64, proptest::option::of(".{0,64}"));
    (values, rest, -999_999i64..999_999, 0u32..6).prop_map(|(v, rest, mantissa, scale)| {
        let (event_time, received_at, flags, quantity, payload) = rest;
        let mut held = (*series("AAPL1 261218C00200000")).clone();
        held.multiplier = Decimal::new(mantissa, scale);
        held.contract = "/6JZ26 261204P0.00665".parse::<Contract>().unwrap();
        let mut row = GreekSnapshot::new(
            Arc::new(held),
            UnixNanos::from_nanos(event_time),
            UnixNanos::from_nanos(received_at),
            quantity,
        );
        row.flags = Flags::from_bits(flags);
        (row.delta, row.gamma, row.theta, row.vega) = (v.0, v.1, v.2, v.3);
        (row.rho, row.implied_volatility, row.option_price, row.underlying_price) = (v.4, v.5, v.6, v.7);
        row.source_payload = payload.map(Into::into);
        row
    })
}

proptest! {
    #[test]
    fn snapshots_read_back_bit_for_bit(row in any_row()) {
        let record = Record::Snapshot(row.clone());
        match Record::decode(&encoded(&record)).unwrap() {
            Record::Snapshot(back) => {
                prop_assert_eq!(bits(&back), bits(&row));
                prop_assert_eq!(back, row);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert!(Record::decode(&encoded(&record)).is_ok());
        }
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0usize..150, byte in any::<u8>()) {
        let mut bytes = encoded(&Record::Snapshot(snapshot()));
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(record) = Record::decode(&bytes) {
            let again = Record::decode(&encoded(&record)).unwrap();
            prop_assert_eq!(encoded(&again), encoded(&record));
        }
    }
}
