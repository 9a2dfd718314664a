//! The way from a text frame to its events without a socket, for those who measure it. No part of the API.

use std::fmt;
use std::time::{Duration, Instant};

use greeks_model::{InstrumentId, SourceEvent, UnixNanos};

use crate::session::{Received, Session, Wanted};
use crate::source::session_settings;
use crate::wire::Role;
use crate::{Error, TastyConfig};

/// What a server says until data flows on channel 1.
const OPENING: [&str; 3] = [
    r#"{"type":"SETUP","channel":0,"version":"1.0","keepaliveTimeout":60,"acceptKeepaliveTimeout":60}"#,
    r#"{"type":"AUTH_STATE","channel":0,"state":"AUTHORIZED"}"#,
    r#"{"type":"CHANNEL_OPENED","channel":1,"service":"FEED"}"#,
];
/// How far apart frames come.
const STEP: Duration = Duration::from_micros(1);

/// A session that streams the Greeks of some options.
pub struct Frames {
    session: Session,
    now: Instant,
    received_at: UnixNanos,
}

impl Frames {
    /// A session whose options, by their streamer symbols, are subscribed on channel 1.
    ///
    /// # Errors
    /// As a session's.
    pub fn new(
        options: impl IntoIterator<Item = (String, InstrumentId)>,
        received_at: UnixNanos,
    ) -> Result<Self, Error> {
        let now = Instant::now();
        let mut session = Session::new(session_settings(&TastyConfig::new("".into(), "".into()), "".into()), now);
        let wanted = options.into_iter().map(|(symbol, instrument)| Wanted {
            symbol,
            role: Role::Option,
            instrument,
            expired: false,
        });
        session.want(&wanted.collect::<Vec<_>>(), now);
        let mut frames = Self { session, now, received_at };
        for frame in OPENING {
            frames.read(frame)?;
        }
        while !frames.session.is_streaming() {
            while frames.session.poll_output(frames.now).is_some() {}
            frames.now = frames.session.deadline();
            frames.read(r#"{"type":"KEEPALIVE","channel":0}"#)?;
        }
        Ok(frames)
    }

    /// Takes a frame as a connection does; whether it was data.
    ///
    /// # Errors
    /// As a session's.
    pub fn read(&mut self, text: &str) -> Result<bool, Error> {
        self.now += STEP;
        self.received_at = self.received_at.saturating_add(STEP);
        let received = self.session.on_frame(text, self.now, self.received_at)?;
        // What a connection counts.
        self.session.waiting_by_kind();
        self.session.take_tally();
        Ok(received == Received::Data)
    }

    /// The next event of the frames read so far.
    pub fn next_event(&mut self) -> Option<SourceEvent> {
        self.session.next_event()
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}
