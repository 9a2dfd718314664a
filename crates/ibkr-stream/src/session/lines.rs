//! All contracts of a connection, and which message about them goes out next.

mod ask;
mod doubt;
mod stall;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::budget::{self, Standing};
use super::line::{Answer, Line, Pace};
use super::report::{Counts, Report};
use super::settings::{Role, Settings, Wanted};
use super::stillness::Stillness;
use crate::wire::{Availability, Conid, Frame};

/// What is wanted, what is subscribed, and the way from the one to the other.
#[derive(Debug)]
pub(super) struct Lines {
    pace: Pace,
    budget: Option<usize>,
    lines: BTreeMap<Conid, Line>,
    /// What is wanted, most important first, no contract twice.
    wanted: Vec<Wanted>,
    /// Subscribed and not wanted, or without a line.
    drop: VecDeque<Conid>,
    /// To be subscribed.
    fresh: VecDeque<Conid>,
    /// Subscribed and wanted, by the time to look at them; not later than they are due.
    schedule: BTreeSet<(Instant, Conid)>,
    /// The same by the time they were sent.
    ages: BTreeSet<(Instant, Conid)>,
    listening_since: Instant,
    /// When a subscription may outlive its life, at the earliest.
    expiry_at: Option<Instant>,
    first_data: Option<Instant>,
    last_data: Option<Instant>,
    stalled_after: Duration,
    stillness: Stillness,
    /// Since when frames are missing because subscriptions ended before their time.
    lost: Option<Instant>,
    /// Spreads renewals.
    turns: u32,
    newly_silent: Vec<Conid>,
    report: Option<Report>,
}

/// What a frame is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) role: Role,
    pub(super) instrument: greeks_model::InstrumentId,
    pub(super) availability: Option<Availability>,
}

impl Lines {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            pace: Pace::of(settings),
            budget: settings.lines,
            lines: BTreeMap::new(),
            wanted: Vec::new(),
            drop: VecDeque::new(),
            fresh: VecDeque::new(),
            schedule: BTreeSet::new(),
            ages: BTreeSet::new(),
            listening_since: now,
            expiry_at: None,
            first_data: None,
            last_data: None,
            stalled_after: settings.stalled_after,
            stillness: Stillness::new(settings.quiet_after),
            lost: None,
            turns: 0,
            newly_silent: Vec::new(),
            report: None,
        }
    }

    /// Replaces what is wanted. Of a contract that is named twice the first counts.
    pub(super) fn want(&mut self, wanted: &[Wanted]) {
        let mut seen = HashSet::new();
        self.wanted = wanted.iter().copied().filter(|item| seen.insert(item.conid)).collect();
        for (conid, line) in &mut self.lines {
            line.wanted = seen.contains(conid);
        }
        for item in &self.wanted {
            let Wanted { conid, role, instrument } = *item;
            let line = self.lines.entry(conid).or_insert(Line {
                role,
                instrument,
                wanted: true,
                chosen: false,
                availability: None,
                stream: None,
            });
            if (line.role == Role::Underlying) != (role == Role::Underlying) {
                // Other fields are to be asked for: it begins anew.
                if let Some(stream) = line.stream.take() {
                    self.schedule.remove(&(stream.scheduled, conid));
                    self.ages.remove(&(stream.at, conid));
                }
            }
            line.role = role;
            line.instrument = instrument;
        }
        self.choose();
    }

    /// Gives the market data lines to contracts, and plans what to send for it.
    fn choose(&mut self) {
        let standing = |conid| self.lines.get(&conid).map_or(Standing::Untried, standing_of);
        let chosen = budget::choose(&self.wanted, self.budget, standing);
        for line in self.lines.values_mut() {
            line.chosen = false;
        }
        self.fresh.clear();
        for conid in chosen {
            let Some(line) = self.lines.get_mut(&conid) else { continue };
            line.chosen = true;
            match &line.stream {
                None => self.fresh.push_back(conid),
                Some(stream) => {
                    self.schedule.insert((stream.scheduled, conid));
                    self.ages.insert((stream.at, conid));
                }
            }
        }
        self.drop.clear();
        for (conid, line) in &self.lines {
            if let Some(stream) = line.stream.as_ref().filter(|_| !line.chosen) {
                self.schedule.remove(&(stream.scheduled, *conid));
                self.ages.remove(&(stream.at, *conid));
                self.drop.push_back(*conid);
            }
        }
        self.lines.retain(|_, line| line.wanted || line.stream.is_some());
        self.expiry_at = self.ages.first().map(|(at, _)| *at + self.pace.life);
        self.report = None;
    }

    /// Takes note of a frame; `None` when nobody wants its contract.
    pub(super) fn heard(&mut self, conid: Conid, frame: &Frame, now: Instant) -> Option<Heard> {
        let line = self.lines.get_mut(&conid).filter(|line| line.wanted)?;
        self.first_data.get_or_insert(now);
        self.last_data = Some(now);
        let mut refused = false;
        if frame.availability.is_some() && frame.availability != line.availability {
            line.availability = frame.availability;
            refused = frame.availability == Some(Availability::NotSubscribed);
            self.report = None;
        }
        let heard = Heard { role: line.role, instrument: line.instrument, availability: line.availability };
        if let Some(stream) = &mut line.stream {
            let whole = line.role == Role::Underlying || has_greek(frame) || stream.answer == Answer::Whole;
            let answer = if whole { Answer::Whole } else { Answer::Partial };
            if answer != stream.answer || stream.silent {
                self.report = None;
            }
            let past = stream.past(self.listening_since);
            let ended = self.stillness.heard(&mut stream.flow, past, now);
            // In a market that rests each subscription is answered by a frame, or a few: that alone is no flow.
            let flows = past.last_frame.is_some_and(|before| !self.stillness.is_answer(stream.at, before));
            let restarts = whole && (flows || stream.answer != Answer::Whole);
            let changed = answer != stream.answer || stream.silent || restarts && stream.asked > 1 || stream.doubted;
            stream.last_frame = Some(now);
            stream.answer = answer;
            stream.silent = false;
            if restarts {
                stream.asked = 1;
            }
            let cleared = std::mem::take(&mut stream.doubted);
            let due = stream.due(&self.pace, self.listening_since);
            if changed && line.chosen && due < stream.scheduled {
                self.schedule.remove(&(stream.scheduled, conid));
                stream.scheduled = due;
                self.schedule.insert((due, conid));
            }
            if let Some(since) = ended {
                self.doubt(since, now);
            } else if cleared {
                self.settle(now);
            }
        }
        if refused && self.budget.is_some_and(|lines| self.wanted.len() > lines) {
            self.choose();
        }
        Some(heard)
    }

    /// Nothing is read on this side: no contract can be blamed for its silence.
    pub(super) const fn pause(&mut self, now: Instant) {
        self.listening_since = now;
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether every contract that has a market data line has been subscribed.
    pub(super) fn all_sent(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Whether any wanted contract has ever had a frame.
    pub(super) const fn has_had_data(&self) -> bool {
        self.last_data.is_some()
    }

    pub(super) fn take_newly_silent(&mut self) -> Vec<Conid> {
        std::mem::take(&mut self.newly_silent)
    }

    /// Counted anew only after something has changed.
    pub(super) fn report(&mut self) -> Report {
        let lines = &self.lines;
        *self.report.get_or_insert_with(|| {
            let mut report = Report::default();
            for line in lines.values().filter(|line| line.wanted) {
                match line.role {
                    Role::Option { .. } => count(&mut report.options, line),
                    Role::Underlying => count(&mut report.underlyings, line),
                }
            }
            report
        })
    }
}

fn standing_of(line: &Line) -> Standing {
    let refused = line.availability == Some(Availability::NotSubscribed);
    match &line.stream {
        Some(_) if refused => Standing::Refused,
        None if refused => Standing::GivenUp,
        Some(stream) if stream.is_live() => Standing::Live,
        _ => Standing::Untried,
    }
}

fn has_greek(frame: &Frame) -> bool {
    let values = &frame.values;
    let greeks = [values.delta, values.gamma, values.theta, values.vega];
    greeks.into_iter().flatten().any(|greek| !greek.value.is_nan())
}

fn count(counts: &mut Counts, line: &Line) {
    let availability = line.availability;
    let stream = line.stream.as_ref();
    counts.wanted += 1;
    counts.over_budget += usize::from(!line.chosen);
    counts.sent += usize::from(stream.is_some());
    counts.live += usize::from(stream.is_some_and(|it| it.is_live()));
    counts.silent += usize::from(stream.is_some_and(|it| it.silent));
    // Outside trading hours there may be none.
    let is_frozen = availability.is_some_and(Availability::is_frozen);
    counts.without_greeks += usize::from(!is_frozen && stream.is_some_and(|it| it.answer == Answer::Partial));
    counts.not_permitted += usize::from(availability == Some(Availability::NotSubscribed));
    counts.not_acknowledged += usize::from(availability == Some(Availability::NotAcknowledged));
    counts.delayed += usize::from(availability.is_some_and(Availability::is_delayed));
    counts.frozen += usize::from(is_frozen);
}
