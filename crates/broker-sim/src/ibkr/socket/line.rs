//! One contract on one socket: what was asked, what was sent, and when something is due.

use std::sync::Arc;

use tokio::time::Instant;

use super::print::{
    ASK, AVAILABILITY, BID, DELTA, GAMMA, Known, LAST, MARK, Printed, Printer, THETA, VEGA, VOLATILITY, VOLUME,
    is_late, meaning,
};
use crate::ibkr::config::{IbkrProtocol, Pace};
use crate::ibkr::contracts::{Instrument, What};
use crate::ibkr::faults::IbkrFaults;
use crate::ibkr::ledger::{IbkrEntry, IbkrFigures, IbkrUnderlying};

/// A subscription.
pub(super) struct Line {
    pub(super) instrument: Arc<Instrument>,
    /// Whether a market data line was free for it.
    pub(super) live: bool,
    /// Whether delta, gamma, theta or vega was sent as a number.
    pub(super) streaming: bool,
    /// Everything sent of an underlying, as it reads.
    pub(super) prices: IbkrUnderlying,
    /// Market data has come that was not sent.
    pub(super) dirty: bool,
    fields: Vec<Field>,
    known: Known,
    ends: Instant,
    first_at: Instant,
    greeks_at: Instant,
    rest_at: Instant,
    next_at: Instant,
    server: u8,
    updated: i64,
    frames: u64,
    figures: IbkrFigures,
    /// Kinds of fields that have come of age and were looked at: 1 delta and gamma, 2 the other figures.
    phase: u8,
    availability: Option<Arc<str>>,
}

struct Field {
    tag: u16,
    sent: Option<Printed>,
}

/// What a line needs to know of the rest.
pub(super) struct Surroundings<'a> {
    pub(super) pace: Pace,
    pub(super) decimals: usize,
    pub(super) faults: &'a IbkrFaults,
}

/// A frame, and what the ledger says of it.
pub(super) struct Frame {
    pub(super) text: String,
    pub(super) entry: Option<IbkrEntry>,
}

impl Line {
    pub(super) fn new(instrument: Arc<Instrument>, known: Known, live: bool, now: Instant) -> Self {
        Self {
            instrument,
            live,
            streaming: false,
            prices: IbkrUnderlying::default(),
            dirty: true,
            fields: Vec::new(),
            known,
            ends: now,
            first_at: now,
            greeks_at: now,
            rest_at: now,
            next_at: now,
            server: 0,
            updated: 0,
            frames: 0,
            figures: IbkrFigures::default(),
            phase: 0,
            availability: None,
        }
    }

    /// The subscription begins, or begins again: fields are added to those it has.
    pub(super) fn ask(&mut self, tags: &[u16], protocol: &IbkrProtocol, now: Instant) {
        let fresh = self.fields.is_empty();
        for tag in tags {
            if !self.fields.iter().any(|field| field.tag == *tag) {
                self.fields.push(Field { tag: *tag, sent: None });
            }
        }
        self.ends = now + protocol.subscription_life;
        self.server = fastrand::u8(0..30);
        self.first_at = now + protocol.first_frame_after;
        if fresh {
            self.greeks_at = self.first_at + protocol.greeks_after;
            self.rest_at = self.greeks_at + protocol.greeks_after / 2;
        } else if protocol.full_on_renewal {
            self.fields.iter_mut().for_each(|field| field.sent = None);
        }
        self.dirty = true;
    }

    pub(super) fn has_ended(&self, now: Instant) -> bool {
        self.ends <= now
    }

    /// Takes note of an event; whether it is to be sent at once.
    pub(super) fn on_event(&mut self, event: &crate::market::Event) {
        self.known.take(event);
        self.dirty = true;
    }

    /// What the market said last; for a socket that could not keep up.
    pub(super) const fn refresh(&mut self, known: Known) {
        self.known = known;
        self.dirty = true;
    }

    /// Whether a frame may go now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let due = self.dirty || self.age(now) > self.phase;
        self.live && due && now >= self.first_at && now >= self.next_at
    }

    /// Whether every event is sent as it comes: the first frames are over.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.live && self.frames > 0 && now >= self.first_at
    }

    fn age(&self, now: Instant) -> u8 {
        u8::from(now >= self.greeks_at) + u8::from(now >= self.rest_at)
    }

    /// The frame of now; `None` if nothing has changed. With `always` something is sent all the same.
    pub(super) fn frame(&mut self, now: Instant, always: bool, around: &Surroundings<'_>) -> Option<Frame> {
        self.dirty = false;
        self.phase = self.age(now);
        let conid = self.instrument.conid;
        if around.faults.data.mute.contains(&conid) || self.known.time() == 0 {
            return None;
        }
        if let Pace::Natural(every) = around.pace {
            self.next_at = now + every;
        }
        let instrument = Arc::clone(&self.instrument);
        let printer = Printer { instrument: &instrument, faults: &around.faults.data, decimals: around.decimals };
        let mut body = String::new();
        let mut carries = false;
        for place in 0..self.fields.len() {
            let Some(field) = self.fields.get_mut(place) else { break };
            let tag = field.tag;
            let too_early = is_late(tag) && self.phase < if matches!(tag, DELTA | GAMMA) { 1 } else { 2 };
            if too_early || tag == AVAILABILITY {
                continue;
            }
            let Some(printed) = printer.print(tag, &self.known) else { continue };
            if field.sent.as_ref() == Some(&printed) {
                continue;
            }
            write(&mut body, tag, &printed);
            field.sent = Some(printed.clone());
            carries |= self.note(tag, &printed);
        }
        let wants_availability = self.fields.iter().any(|field| field.tag == AVAILABILITY);
        let availability = printer.availability();
        let changed = wants_availability && self.availability.as_deref() != Some(availability.as_str());
        if body.is_empty() && !changed {
            if !always {
                return None;
            }
            carries |= self.repeat(&mut body, &printer);
        }
        // Some frames repeat it, some do not.
        if wants_availability && (changed || self.frames.is_multiple_of(2)) {
            write(&mut body, AVAILABILITY, &Printed::Text(availability.clone()));
            self.availability = Some(availability.as_str().into());
        }
        if body.is_empty() {
            return None;
        }
        self.updated = self.known.time().max(self.updated + 1);
        self.frames += 1;
        let text = self.wrap(&body, around.faults.data.conid_as_text);
        Some(Frame { text, entry: carries.then(|| self.entry()).flatten() })
    }

    /// Sends again what is sure to be there.
    fn repeat(&mut self, body: &mut String, printer: &Printer<'_>) -> bool {
        let tag = if is_option(&self.instrument) { MARK } else { BID };
        if !self.fields.iter().any(|field| field.tag == tag) {
            return false;
        }
        let Some(printed) = printer.print(tag, &self.known) else { return false };
        write(body, tag, &printed);
        self.note(tag, &printed)
    }

    /// Merges a value into what the other side knows; whether it is one that gives a row.
    fn note(&mut self, tag: u16, printed: &Printed) -> bool {
        let Printed::Text(text) = printed else { return false };
        let value = meaning(text);
        if !is_option(&self.instrument) {
            match tag {
                LAST if !text.starts_with('C') => self.prices.last = Some(value),
                BID => self.prices.bid = Some(value),
                ASK => self.prices.ask = Some(value),
                _ => {}
            }
            return false;
        }
        let place = match tag {
            MARK => &mut self.figures.mark,
            VOLATILITY => &mut self.figures.volatility,
            DELTA => &mut self.figures.delta,
            GAMMA => &mut self.figures.gamma,
            THETA => &mut self.figures.theta,
            VEGA => &mut self.figures.vega,
            _ => return false,
        };
        *place = Some(if tag == VOLATILITY { value / 100.0 } else { value });
        self.streaming |= matches!(tag, DELTA | GAMMA | THETA | VEGA) && !value.is_nan();
        true
    }

    fn wrap(&self, body: &str, conid_as_text: bool) -> String {
        let (conid, server, updated) = (self.instrument.conid, self.server, self.updated);
        let mut text = format!("{{\"server_id\":\"q{server}\",");
        text += &if conid_as_text {
            format!("\"conid\":\"{conid}\",")
        } else {
            format!("\"conidEx\":\"{conid}\",\"conid\":{conid},")
        };
        text + &format!("\"_updated\":{updated},\"6119\":\"q{server}\",{body}\"topic\":\"smd+{conid}\"}}")
    }

    fn entry(&self) -> Option<IbkrEntry> {
        let What::Option { key, .. } = &self.instrument.what else { return None };
        Some(IbkrEntry {
            connection: 0,
            conid: self.instrument.conid,
            contract: Arc::clone(key),
            updated: self.updated,
            state: self.figures,
            underlying: IbkrUnderlying::default(),
            known: self.streaming,
            availability: self.availability.clone(),
            market: self.known.values(),
            written: false,
        })
    }
}

const fn is_option(instrument: &Instrument) -> bool {
    matches!(instrument.what, What::Option { .. })
}

fn write(body: &mut String, tag: u16, printed: &Printed) {
    *body += &match printed {
        Printed::Text(text) => format!("\"{tag}\":{},", serde_json::Value::from(text.as_str())),
        Printed::Json(number) => format!("\"{tag}\":{number},"),
    };
    if tag == VOLUME {
        // As Java prints a double.
        body.push_str("\"87_raw\":1.22E7,");
    }
}
