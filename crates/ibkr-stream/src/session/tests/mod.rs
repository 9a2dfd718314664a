//! The session's rules, one at a time. Time is passed in.

mod budget;
mod model;
mod opening;
mod pace;
mod silence;
mod sleep;
mod stillness;
mod stream;

use greeks_model::{Flags, Instrument, InstrumentId, InstrumentTable, QuoteUpdate, Underlying};

use super::*;

const SUCCESS: &str = r#"{"topic":"system","success":"user123","isFT":false,"isPaper":true}"#;
const HEARTBEAT: &str = r#"{"topic":"system","hb":1594677336001}"#;
const ACT: &str = r#"{"topic":"act","args":{"accounts":["U1234567"]}}"#;
const AUTHENTICATED: &str = r#"{"topic":"sts","args":{"authenticated":true}}"#;
const UNAUTHENTICATED: &str = r#"{"topic":"sts","args":{"authenticated":false}}"#;
const WAITING: &str = r#"{"message":"waiting for session"}"#;
const ID: &str = "canary0001";
/// What the gateway is told when it waits for the session.
const ID_ANSWER: &str = r#"{"session":"canary0001"}"#;
const WALL: UnixNanos = UnixNanos::from_millis(1_700_000_000_000);
const STR: &str = r#"str+{"realtimeUpdatesOnly":true,"days":1}"#;
const SPACING: Duration = Duration::from_millis(100);
/// Conids from here on are underlyings.
const UNDERLYINGS: i64 = 1_000_000;

struct Bench {
    session: Session,
    start: Instant,
    now: Instant,
    /// What the wall clock is ahead of the monotonic one.
    slept: Duration,
    table: InstrumentTable,
}

fn settings() -> Settings {
    Settings {
        step_timeout: Duration::from_secs(15),
        tic_every: Duration::from_secs(50),
        heartbeat_timeout: Duration::from_secs(30),
        renew_after: Duration::from_secs(480),
        subscription_life: Duration::from_secs(600),
        first_frame_after: Duration::from_secs(15),
        quiet_after: Duration::from_secs(90),
        stalled_after: Duration::from_secs(86_400),
        subscribe_spacing: SPACING,
        lines: None,
        keep_payload: false,
        executions: true,
    }
}

fn conid(number: i64) -> Conid {
    Conid::new(number).unwrap()
}

fn smd(number: i64) -> String {
    if number >= UNDERLYINGS {
        Outgoing::SubscribeUnderlying(conid(number)).to_text()
    } else {
        Outgoing::SubscribeOption(conid(number)).to_text()
    }
}

fn umd(number: i64) -> String {
    format!("umd+{number}+{{}}")
}

/// Whom a text is about; 0 for nobody.
fn target(text: &str) -> i64 {
    text.split('+').nth(1).and_then(|target| target.parse().ok()).unwrap_or(0)
}

/// A frame with everything an option or underlying gives.
fn data(number: i64) -> String {
    format!(
        r#"{{"server_id":"q0","conid":{number},"_updated":1700000000123,"84":"5.1","7308":"0.5","6509":"RpB","topic":"smd+{number}"}}"#
    )
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let session = Session::new(settings, ID.into(), now);
        Self { session, start: now, now, slept: Duration::ZERO, table: InstrumentTable::new() }
    }

    /// Authenticated, and with the first word said.
    fn open(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        for frame in [SUCCESS, ACT, AUTHENTICATED] {
            assert_eq!(bench.frame(frame).unwrap(), Received::Control);
        }
        assert_eq!(bench.output().as_deref(), Some(STR));
        bench.now += SPACING;
        bench
    }

    fn wall(&self) -> UnixNanos {
        WALL.saturating_add(self.now - self.start + self.slept)
    }

    fn frame(&mut self, text: &str) -> Result<Received, Error> {
        let wall = self.wall();
        self.session.on_frame(text.as_bytes(), self.now, wall)
    }

    fn data(&mut self, numbers: impl IntoIterator<Item = i64>) {
        for number in numbers {
            assert_eq!(self.frame(&data(number)).unwrap(), Received::Data, "{number}");
        }
    }

    fn instrument(&self, number: i64) -> InstrumentId {
        self.table.intern(&Instrument::Underlying(Underlying::new(&number.to_string())))
    }

    /// Options with the underlying of each; underlyings by their number.
    fn want(&mut self, options: &[(i64, Option<i64>)], underlyings: &[i64]) {
        let option = |(number, underlying): &(i64, Option<i64>)| Wanted {
            conid: conid(*number),
            role: Role::Option { underlying: underlying.map(conid) },
            instrument: self.instrument(*number),
        };
        let underlying = |number: &i64| Wanted {
            conid: conid(*number),
            role: Role::Underlying,
            instrument: self.instrument(*number),
        };
        let wanted: Vec<Wanted> = options.iter().map(option).chain(underlyings.iter().map(underlying)).collect();
        self.session.want(&wanted);
    }

    fn want_options(&mut self, numbers: impl IntoIterator<Item = i64>) {
        let options: Vec<_> = numbers.into_iter().map(|number| (number, None)).collect();
        self.want(&options, &[]);
    }

    fn output(&mut self) -> Option<String> {
        self.session.poll_output(self.now)
    }

    /// What goes out until `seconds` from now, driven like the driver does it: at the session's own deadlines, with a
    /// heartbeat every 10 s and `speak` asked before each step for contracts that have a frame.
    fn run(&mut self, seconds: f64, mut speak: impl FnMut(Duration) -> Vec<i64>) -> Vec<(Duration, String)> {
        let end = self.now + secs(seconds);
        let mut sent = Vec::new();
        let mut heartbeat = self.now;
        loop {
            if self.now >= heartbeat {
                self.frame(HEARTBEAT).unwrap();
                heartbeat = self.now + secs(10.0);
            }
            let at = self.now - self.start;
            self.data(speak(at));
            while self.session.next_event().is_some() {}
            self.session.on_tick(self.now, true).unwrap();
            if let Some(text) = self.output() {
                sent.push((at, text));
            }
            // What is due in the past would be a loop without end.
            let next = self.session.deadline().max(self.now + Duration::from_millis(1)).min(heartbeat);
            if next >= end {
                self.now = end;
                return sent;
            }
            self.now = next;
        }
    }

    /// As [`Bench::run`] with nobody speaking; only texts about contracts.
    fn texts(&mut self, seconds: f64) -> Vec<String> {
        let sent = self.run(seconds, |_| Vec::new());
        sent.into_iter().map(|(_, text)| text).filter(|text| text != "tic").collect()
    }

    fn events(&mut self) -> Vec<QuoteUpdate> {
        std::iter::from_fn(|| self.session.next_event())
            .map(|event| match event {
                SourceEvent::Quote { update, .. } => update,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn options(&mut self) -> Counts {
        self.session.report().options
    }
}
