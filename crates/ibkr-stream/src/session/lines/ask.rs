//! What goes out next, and what it says about a contract that it has to.

use std::time::Instant;

use super::Lines;
use crate::session::clock::Clock;
use crate::session::line::{Answer, Stream};
use crate::session::settings::Role;
use crate::wire::{Conid, Outgoing};
use greeks_model::UnixNanos;

/// 2^32 divided by the golden ratio: its multiples spread evenly, however many there are.
const GOLDEN: u32 = 0x9E37_79B9;

impl Lines {
    /// The next message; it counts as sent at `now`. A renewal that cannot wait goes first, then what frees lines, what
    /// is new, and what is due again.
    pub(in crate::session) fn next(&mut self, now: Instant) -> Option<Outgoing> {
        let oldest = self.ages.first().filter(|(at, _)| *at + self.pace.urgent_after() <= now);
        if let Some((_, conid)) = oldest.copied() {
            return self.ask(conid, now);
        }
        while let Some(conid) = self.drop.pop_front() {
            if self.forget(conid) {
                return Some(Outgoing::Unsubscribe(conid));
            }
        }
        while let Some(conid) = self.fresh.pop_front() {
            if let Some(message) = self.ask(conid, now) {
                return Some(message);
            }
        }
        let conid = self.due(now)?;
        self.ask(conid, now)
    }

    /// When [`Lines::next`] has something to say, at the latest; not before `free_at`, when sending is allowed again.
    pub(in crate::session) fn next_at(&self, free_at: Instant) -> Option<Instant> {
        if !self.drop.is_empty() || !self.fresh.is_empty() {
            return Some(free_at);
        }
        let scheduled = self.schedule.first().map(|(at, _)| *at)?;
        let urgent = self.ages.first().map_or(scheduled, |(at, _)| *at + self.pace.urgent_after());
        Some(scheduled.min(urgent).max(free_at))
    }

    /// When a subscription may outlive its life, at the earliest.
    pub(in crate::session) const fn expiry_at(&self) -> Option<Instant> {
        self.expiry_at
    }

    /// Since when frames may be missing, if subscriptions have outlived their life.
    pub(in crate::session) fn expire(&mut self, now: Instant, clock: &Clock) -> Option<UnixNanos> {
        if self.expiry_at.is_none_or(|at| now < at) {
            return None;
        }
        self.expiry_at = None;
        let mut lost: Option<UnixNanos> = None;
        for (at, conid) in &self.ages {
            let ends = *at + self.pace.life;
            if now < ends {
                self.expiry_at = Some(ends);
                break;
            }
            let Some(stream) = self.lines.get_mut(conid).and_then(|line| line.stream.as_mut()) else { continue };
            if stream.expired {
                continue;
            }
            stream.expired = true;
            self.report = None;
            // Frames may have come for longer than the life that is counted on.
            let since = clock.wall(stream.last_frame.map_or(ends, |frame| frame.max(ends)));
            lost = match (lost, since) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        lost
    }

    /// One of the contracts that are subscribed: it is not any more.
    pub(in crate::session) fn take_last(&mut self) -> Option<Conid> {
        let conid = self.lines.iter().find(|(_, line)| line.stream.is_some()).map(|(conid, _)| *conid)?;
        self.forget(conid);
        self.fresh.clear();
        Some(conid)
    }

    /// Asks anew for whoever has not answered, and for whoever was asked after `since`: one that was to be renewed has frames
    /// of its subscription before.
    pub(in crate::session) fn ask_again(&mut self, since: Option<Instant>, now: Instant) {
        for (conid, line) in &mut self.lines {
            let Some(stream) = line.stream.as_mut().filter(|_| line.chosen) else { continue };
            let asked_since = since.is_some_and(|since| stream.at >= since);
            if (asked_since || stream.is_unanswered()) && !stream.refused {
                stream.refused = true;
                self.schedule.remove(&(stream.scheduled, *conid));
                stream.scheduled = now;
                self.schedule.insert((now, *conid));
            }
        }
    }

    /// The first contract that is due again.
    fn due(&mut self, now: Instant) -> Option<Conid> {
        loop {
            let (scheduled, conid) = *self.schedule.first().filter(|(at, _)| *at <= now)?;
            let stream = self.lines.get_mut(&conid).and_then(|line| line.stream.as_mut());
            let due = stream.as_ref().map(|stream| stream.due(&self.pace, self.listening_since));
            match (stream, due) {
                (Some(_), Some(due)) if due <= now => return Some(conid),
                (Some(stream), Some(due)) => {
                    // Frames have moved it back since it was put here.
                    self.schedule.remove(&(scheduled, conid));
                    stream.scheduled = due;
                    self.schedule.insert((due, conid));
                }
                _ => {
                    self.schedule.remove(&(scheduled, conid));
                }
            }
        }
    }

    fn ask(&mut self, conid: Conid, now: Instant) -> Option<Outgoing> {
        let line = self.lines.get_mut(&conid)?;
        let message = match line.role {
            Role::Option { .. } => Outgoing::SubscribeOption(conid),
            Role::Underlying => Outgoing::SubscribeUnderlying(conid),
        };
        self.turns = self.turns.wrapping_add(1);
        // Anywhere in the second half of the interval, so that what was subscribed in one go is not renewed in one.
        let share = f64::from(self.turns.wrapping_mul(GOLDEN)) / f64::from(u32::MAX);
        let spread = self.pace.renew_after.mul_f64(0.5 + share / 2.0);
        let mut cleared = false;
        let stream = match &mut line.stream {
            Some(stream) => {
                self.schedule.remove(&(stream.scheduled, conid));
                self.ages.remove(&(stream.at, conid));
                let patience_ends = stream.at.max(self.listening_since) + self.pace.first_frame_after;
                let others_speak = self.last_data.is_some_and(|at| at > stream.at);
                // While all are quiet the market is closed; but a first frame comes even then.
                let is_silent =
                    stream.is_unanswered() && now >= patience_ends && (stream.answer == Answer::None || others_speak);
                if is_silent && !stream.silent {
                    stream.silent = true;
                    self.newly_silent.push(conid);
                }
                let past = stream.past(self.listening_since);
                self.stillness.asked(&mut stream.flow, past, now);
                cleared = std::mem::take(&mut stream.doubted);
                // One that is renewed in its turn keeps its place among the others.
                let late = now.saturating_duration_since(stream.renew_at);
                let in_turn = now >= stream.renew_at && late <= self.pace.renew_after / 16;
                stream.renew_at = now + if in_turn { self.pace.renew_after } else { spread };
                stream.at = now;
                // What was refused is no try.
                stream.asked = if std::mem::take(&mut stream.refused) { 1 } else { stream.asked.saturating_add(1) };
                stream.expired = false;
                stream
            }
            empty @ None => {
                let stream = empty.insert(Stream::new(now));
                stream.renew_at = now + spread;
                stream
            }
        };
        stream.scheduled = stream.due(&self.pace, self.listening_since);
        self.schedule.insert((stream.scheduled, conid));
        self.ages.insert((now, conid));
        self.expiry_at.get_or_insert(now + self.pace.life);
        self.report = None;
        if cleared {
            self.settle(now);
        }
        Some(message)
    }

    /// Ends a subscription; says whether there was one.
    fn forget(&mut self, conid: Conid) -> bool {
        let Some(line) = self.lines.get_mut(&conid) else { return false };
        let stream = line.stream.take();
        if let Some(stream) = &stream {
            self.schedule.remove(&(stream.scheduled, conid));
            self.ages.remove(&(stream.at, conid));
        }
        if !line.wanted {
            self.lines.remove(&conid);
        }
        self.report = None;
        stream.is_some()
    }
}
