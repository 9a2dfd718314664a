//! The protocol's rules, one message at a time, illegal orders included.

mod opening;
mod order;
mod pulse;
mod stream;

use greeks_model::{Flags, Instrument, InstrumentTable, QuoteUpdate, Underlying};

use super::*;

const UNAUTHORIZED: &str = include_str!("../../../tests/fixtures/auth_unauthorized.json");
const AUTHORIZED: &str = include_str!("../../../tests/fixtures/auth_authorized.json");
const SETUP: &str = include_str!("../../../tests/fixtures/setup.json");
const SESSION_NOT_FOUND: &str = include_str!("../../../tests/fixtures/session_not_found.json");
const AT: UnixNanos = UnixNanos::from_millis(1_700_000_000_000);
const OPENED_1: &str = r#"{"type":"CHANNEL_OPENED","channel":1,"service":"FEED"}"#;
const OPENED_3: &str = r#"{"type":"CHANNEL_OPENED","channel":3,"service":"FEED"}"#;
const CLOSED_1: &str = r#"{"type":"CHANNEL_CLOSED","channel":1}"#;

struct Bench {
    session: Session,
    now: Instant,
    table: InstrumentTable,
}

fn settings() -> Settings {
    Settings {
        version: "0.1-greekd/0.1.0".into(),
        token: "canary-token".into(),
        step_timeout: Duration::from_secs(10),
        keepalive: Duration::from_secs(60),
        silence_margin: Duration::from_secs(5),
        greeks_aggregation: Duration::ZERO,
        underlying_aggregation: Duration::from_millis(500),
        head_start: Duration::ZERO,
        chunk: ChunkLimits { bytes: 8192, symbols: 500 },
        chunk_pause: Duration::from_millis(50),
        uninvited: true,
        silent_after: Duration::from_secs(30),
        // No test of other rules is to see a question.
        quiet_after: [Duration::from_secs(86_400); 2],
        delayed: false,
        keep_payload: false,
    }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self { session: Session::new(settings, now), now, table: InstrumentTable::new() }
    }

    /// One that has gone through the handshake with the first two outputs taken.
    fn authorized() -> Self {
        let mut bench = Self::new(settings());
        bench.session.want(&[], bench.now);
        for frame in [SETUP, UNAUTHORIZED, AUTHORIZED] {
            bench.frame(frame).unwrap();
        }
        assert_eq!(bench.kinds(), ["SETUP", "AUTH"]);
        bench
    }

    fn frame(&mut self, text: &str) -> Result<Received, Error> {
        self.session.on_frame(text, self.now, AT)
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Error> {
        self.now += Duration::from_secs_f64(seconds);
        self.session.on_tick(self.now, true)
    }

    fn outputs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.session.poll_output(self.now)).collect()
    }

    fn kinds(&mut self) -> Vec<String> {
        self.outputs().iter().map(|text| kind(text)).collect()
    }

    fn want(&mut self, options: &[&str], underlyings: &[&str]) {
        self.want_beside_expired(options, &[], underlyings);
    }

    fn want_beside_expired(&mut self, options: &[&str], expired: &[&str], underlyings: &[&str]) {
        let wanted: Vec<Wanted> = options
            .iter()
            .chain(expired)
            .map(|symbol| (symbol, Role::Option))
            .chain(underlyings.iter().map(|symbol| (symbol, Role::Underlying)))
            .map(|(symbol, role)| Wanted {
                symbol: (*symbol).into(),
                role,
                instrument: self.table.intern(&Instrument::Underlying(Underlying::new(symbol))),
                expired: expired.contains(symbol),
            })
            .collect();
        self.session.want(&wanted, self.now);
    }

    fn events(&mut self) -> Vec<QuoteUpdate> {
        std::iter::from_fn(|| self.session.next_event())
            .map(|event| match event {
                SourceEvent::Quote { update, .. } => update,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn kind(text: &str) -> String {
    text.split('"').nth(3).unwrap().into()
}

fn greeks(channel: u64, symbol: &str, delta: &str) -> String {
    format!(
        r#"{{"type":"FEED_DATA","channel":{channel},"data":["Greeks",["Greeks","{symbol}",1700000000123,1,2,0,9.5,0.25,{delta},0.01,-0.5,0.03,0.12]]}}"#
    )
}
