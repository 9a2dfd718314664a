//! The way from a frame to its event without a socket, for those who measure it. No part of the API.

use std::time::{Duration, Instant};

use greeks_model::{InstrumentId, SourceEvent, UnixNanos};

use crate::session::{Received, Role, Session, Wanted};
use crate::source::session_settings;
use crate::wire::Conid;
use crate::{DEFAULT_GATEWAY_URL, Error, IbkrConfig};

/// How far apart frames come.
const STEP: Duration = Duration::from_micros(1);

/// A session that streams the Greeks of some options.
#[derive(Debug)]
pub struct Frames {
    session: Session,
    now: Instant,
    received_at: UnixNanos,
}

impl Frames {
    /// A session whose options, by their conids, are subscribed.
    ///
    /// # Errors
    /// As a session's.
    pub fn new(options: impl IntoIterator<Item = (i64, InstrumentId)>, received_at: UnixNanos) -> Result<Self, Error> {
        let now = Instant::now();
        let mut session =
            Session::new(session_settings(&IbkrConfig::new(DEFAULT_GATEWAY_URL), false), "frames".into(), now);
        let role = Role::Option { underlying: None };
        let wanted = options
            .into_iter()
            .filter_map(|(number, instrument)| Some(Wanted { conid: Conid::new(number)?, role, instrument }));
        session.want(&wanted.collect::<Vec<_>>());
        let mut frames = Self { session, now, received_at };
        frames.read(br#"{"topic":"sts","args":{"authenticated":true}}"#)?;
        while !frames.session.is_streaming() {
            while frames.session.poll_output(frames.now).is_some() {}
            frames.now = frames.session.deadline();
            frames.read(br#"{"topic":"system","hb":1594677336001}"#)?;
        }
        Ok(frames)
    }

    /// Takes a frame as a connection does; whether it was data of one of the options.
    ///
    /// # Errors
    /// As a session's.
    pub fn read(&mut self, frame: &[u8]) -> Result<bool, Error> {
        self.now += STEP;
        self.received_at = self.received_at.saturating_add(STEP);
        let received = self.session.on_frame(frame, self.now, self.received_at)?;
        // What a connection counts.
        self.session.take_tally();
        self.session.take_signals();
        Ok(received == Received::Data)
    }

    /// The next event of the frames read so far.
    pub fn next_event(&mut self) -> Option<SourceEvent> {
        self.session.next_event()
    }
}
