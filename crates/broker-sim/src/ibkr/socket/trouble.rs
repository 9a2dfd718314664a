//! Frames that nobody asked for.

use serde_json::json;
use tokio::time::Instant;

use super::Output;
use super::session::Session;
use crate::ibkr::faults::{IbkrMischief, IbkrSocketFaults};
use crate::ibkr::rest::act_args;
use crate::tasty::hits;

/// Garbage made up for after a stall, in seconds of its rate.
const CATCH_UP: f64 = 0.2;

/// What goes wrong on one socket, counted.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    frames: u64,
    since: Option<Instant>,
    credit: f64,
    kind: usize,
}

impl Trouble {
    /// Garbage that is due at `rate` a second; how much.
    pub(super) fn garbage(&mut self, rate: f64, now: Instant, out: &mut Vec<Output>) -> u64 {
        let passed = self.since.replace(now).map_or(0.0, |since| now.duration_since(since).as_secs_f64());
        if rate <= 0.0 {
            self.credit = 0.0;
            return 0;
        }
        self.credit += passed.min(CATCH_UP) * rate;
        let mut count = 0;
        while self.credit >= 1.0 {
            self.credit -= 1.0;
            count += 1;
            self.kind = (self.kind + 1) % GARBAGE.len();
            out.extend(
                GARBAGE
                    .get(self.kind)
                    .map(|garbage| Output::Raw { bytes: garbage.to_vec(), text: !self.kind.is_multiple_of(3) }),
            );
        }
        count
    }

    /// Puts oddities before a frame of market data and into it, as the faults want.
    pub(super) fn disguise(&mut self, text: String, faults: &IbkrSocketFaults, out: &mut Vec<Output>) -> String {
        self.frames += 1;
        if hits(faults.empty_every, self.frames) {
            out.push(Output::text("{\"topic\":\"smd+0\",\"server_id\":\"q1\"}".to_owned()));
            out.push(Output::text("{}".to_owned()));
        }
        if hits(faults.unknown_every, self.frames) {
            out.push(Output::text("{\"topic\":\"xyz+1\",\"args\":[1,{\"a\":null}]}".to_owned()));
            return text.replacen('{', "{\"new_key\":{\"31\":\"1.0\"},\"9999\":[null,1e3],\"31_raw\":5.0,", 1);
        }
        text
    }
}

/// Nothing of this may count; valid UTF-8 where it is sent as text.
const GARBAGE: [&[u8]; 7] = [
    b"\x00\x01\x02\xff\xfe\x99 no frame at all",
    b"{\"topic\":\"smd+265598\",\"conid\":265598,\"_updated\":",
    b"not json",
    b"[]",
    b"{\"topic\":17,\"args\":null}",
    b"{\"topic\":\"smd+1\",\"conid\":-1,\"_updated\":\"x\",\"7308\":{}}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

impl Session {
    /// Does it at once.
    pub(super) fn on_mischief(&mut self, mischief: &IbkrMischief) {
        match mischief {
            IbkrMischief::Text(text) => self.out.push(Output::Raw { bytes: text.clone().into_bytes(), text: true }),
            IbkrMischief::Binary(bytes) => self.out.push(Output::Raw { bytes: bytes.clone(), text: false }),
            IbkrMischief::NotUtf8 => {
                let bytes = b"{\"topic\":\"ntf\",\"args\":{\"id\":\"1\",\"text\":\"it\x99s late\",\"title\":\"t\",\"url\":\"\"}}".to_vec();
                self.out.push(Output::Raw { bytes, text: true });
            }
            IbkrMischief::Oversized { bytes } => {
                self.say(&json!({ "topic": "blt", "args": { "id": "1", "message": "x".repeat(*bytes) } }));
            }
            IbkrMischief::Notice(text) => {
                self.say(&json!({ "topic": "ntf", "args": { "id": "1", "text": text, "title": "Notice", "url": "" } }));
            }
            IbkrMischief::Bulletin(text) => {
                self.say(&json!({ "topic": "blt", "args": [{ "id": "1", "message": text }] }));
            }
            IbkrMischief::Error(text) => self.say(&json!({ "error": text })),
            IbkrMischief::Accounts => {
                let args = act_args(&self.shared);
                self.say(&json!({ "topic": "act", "args": args }));
            }
            IbkrMischief::Silence => self.silent = true,
            IbkrMischief::CutMidMessage => self.out.push(Output::Cut),
            IbkrMischief::Close(code) => self.close = Some(*code),
        }
    }
}
