//! A journal on a disk in memory, with a ledger of what it has promised.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use greeks_journal::{Cursor, Error, Gap, Handle, Journal, Next, Options, Recovery};
use uuid::Uuid;

use super::disk::{Disk, Image, Op};

/// What happened between the calls. The disk keeps it among them, so that every moment knows what was promised by then.
#[derive(Clone, Debug)]
pub enum Note {
    /// These records are being appended.
    Offered(Uuid, Vec<Vec<u8>>),
    Accepted(Uuid),
    Refused(Uuid),
    /// Refused by a journal that failed: nobody knows.
    InDoubt(Uuid),
    Durable(Uuid, u64),
    Released(Uuid, u64),
}

/// What must be there, and what may.
#[derive(Clone, Debug, Default)]
pub struct Ledger(pub BTreeMap<Uuid, Run>);

#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Accepted, by number.
    pub records: BTreeMap<u64, Vec<u8>>,
    /// May turn up or not.
    pub in_doubt: BTreeMap<u64, Vec<u8>>,
    pub written: u64,
    pub durable: u64,
    pub released: u64,
    pub failed: bool,
    /// Which run it was: identifiers are random, tests are not.
    pub order: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All that was accepted must be there.
    Kill,
    /// All that was durable must be there.
    PowerCut,
}

#[derive(Clone, Debug)]
pub enum Action {
    Append(Vec<u16>),
    Marker(u16),
    Flush,
    /// Of the n-th incarnation, so many percent.
    Release(u8, u8),
    /// The n-th incarnation, from so many percent on.
    Read(u8, u8),
}

pub const SEGMENT: u64 = 4096;

/// How a journal is opened.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub segments: u64,
    /// Records are synced at once by the journal's thread, while others are appended; otherwise flushes alone sync, and a
    /// run makes the same calls every time.
    pub eager: bool,
}

pub fn options(segments: u64) -> Options {
    Setup { segments, eager: false }.options()
}

impl Setup {
    fn options(self) -> Options {
        let sync_window = if self.eager { Duration::ZERO } else { Duration::from_secs(3600) };
        Options { max_bytes: self.segments * SEGMENT, segment_bytes: SEGMENT, sync_window, ..Options::default() }
    }
}

impl Ledger {
    pub fn follow(&mut self, note: &Note) {
        match note {
            Note::Offered(id, records) => {
                let run = self.0.entry(*id).or_default();
                if run.failed {
                    return; // What comes later is not even tried.
                }
                run.in_doubt = (run.written + 1..).zip(records.iter().cloned()).collect();
            }
            Note::Accepted(id) => {
                let run = self.0.entry(*id).or_default();
                run.written += run.in_doubt.len() as u64;
                run.records.append(&mut run.in_doubt);
            }
            Note::Refused(id) => self.0.entry(*id).or_default().in_doubt.clear(),
            Note::InDoubt(id) => self.0.entry(*id).or_default().failed = true,
            Note::Durable(id, upto) => self.0.entry(*id).or_default().durable = *upto,
            Note::Released(id, upto) => {
                let run = self.0.entry(*id).or_default();
                run.released = run.released.max(*upto);
            }
        }
    }

    /// The ledger as it was after `ops`.
    pub fn after(&self, ops: &[Op]) -> Self {
        let mut ledger = self.clone();
        for op in ops {
            if let Op::Note(note) = op {
                ledger.follow(note);
            }
        }
        ledger
    }

    /// Compares with what was recovered after a crash; what is there from now on has to stay.
    pub fn compare(&self, found: &BTreeMap<Uuid, Vec<Item>>, crash: Crash) -> Result<Self, String> {
        let mut next = Self::default();
        for (id, items) in found {
            let run = self.0.get(id).ok_or(format!("incarnation {id} was never written"))?;
            let records: BTreeMap<u64, Vec<u8>> =
                items.iter().filter_map(|item| item.bytes.clone().map(|bytes| (item.seq, bytes))).collect();
            for (seq, bytes) in &records {
                let known = run.records.get(seq).or(run.in_doubt.get(seq));
                if *seq == 0 || known != Some(bytes) {
                    return Err(format!("record {seq} was not accepted like this: {} bytes", bytes.len()));
                }
            }
            let last = records.keys().last().copied().unwrap_or(0);
            // What was not synced may be released and lost all the same.
            let released = run.released.min(last);
            next.0.insert(
                *id,
                Run { records, written: last, durable: last, released, order: run.order, ..Run::default() },
            );
        }
        for (id, run) in &self.0 {
            let upto = if crash == Crash::Kill { run.written } else { run.durable };
            for seq in run.records.keys().filter(|seq| (run.released + 1..=upto).contains(seq)) {
                if next.0.get(id).is_none_or(|found| !found.records.contains_key(seq)) {
                    return Err(format!(
                        "record {seq} is lost ({crash:?}; durable {}, written {})",
                        run.durable, run.written
                    ));
                }
            }
        }
        Ok(next)
    }
}

/// What a cursor told of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub seq: u64,
    /// `None` for a record that is missing.
    pub bytes: Option<Vec<u8>>,
}

/// Everything a cursor finds, in order. A call that fails once is made again.
pub fn read(cursor: &mut Cursor<Disk>) -> Result<Vec<Item>, Error> {
    let mut items: Vec<Item> = Vec::new();
    let mut failures = 0;
    loop {
        match cursor.read() {
            Ok(Next::Record { seq, bytes }) => items.push(Item { seq, bytes: Some(bytes.to_vec()) }),
            Ok(Next::Gap(gap)) => items.extend((gap.from..=gap.to).map(|seq| Item { seq, bytes: None })),
            Ok(_) => break,
            Err(Error::Io { .. }) if failures == 0 => failures += 1,
            Err(error) => return Err(error),
        }
    }
    for pair in items.windows(2) {
        assert_eq!(pair[0].seq + 1, pair[1].seq, "numbers are handed out in order and without holes");
    }
    Ok(items)
}

/// Reads all that was recovered, and checks that both ways of telling gaps agree.
fn read_all(disk: &Disk, handle: &Handle<Disk>, recovery: &Recovery) -> Result<BTreeMap<Uuid, Vec<Item>>, Error> {
    let mut found = BTreeMap::new();
    for run in &recovery.incarnations {
        let items = read(&mut handle.cursor(run.id, run.first - 1)?)?;
        assert_eq!(items.first().map(|item| item.seq), Some(run.first));
        assert_eq!(items.last().map(|item| item.seq), Some(run.last));
        let told: Vec<u64> = run.gaps.iter().flat_map(|Gap { from, to }| *from..=*to).collect();
        let met: Vec<u64> = items.iter().filter(|item| item.bytes.is_none()).map(|item| item.seq).collect();
        assert!(met == told || disk.is_broken(), "{met:?} {told:?}");
        found.insert(run.id, items);
    }
    Ok(found)
}

pub struct World {
    pub disk: Disk,
    pub journal: Journal<Disk>,
    pub ledger: Ledger,
    /// What was found when it was opened.
    pub recovery: Recovery,
    setup: Setup,
    /// What the next record begins with, so that no two are alike.
    unique: u64,
}

impl World {
    /// Opens a journal on what a crash has left and checks that with `ledger`.
    ///
    /// The outer error is the journal's, the inner one says what it has lost or invented.
    pub fn open(disk: Disk, setup: Setup, ledger: &Ledger, crash: Crash) -> Result<Result<Self, String>, Error> {
        let (journal, recovery) = Journal::open_in(disk.clone(), setup.options())?;
        let found = read_all(&disk, &journal.handle(), &recovery)?;
        let mut ledger = match ledger.compare(&found, crash) {
            Ok(ledger) => ledger,
            Err(violation) => return Ok(Err(violation)),
        };
        let order = ledger.0.values().map(|run| run.order + 1).max().unwrap_or(0);
        ledger.0.insert(journal.incarnation(), Run { order, ..Run::default() });
        Ok(Ok(Self { disk, journal, ledger, recovery, setup, unique: (order as u64) << 32 }))
    }

    pub fn fresh(disk: Disk, setup: Setup) -> Self {
        Self::open(disk, setup, &Ledger::default(), Crash::Kill).unwrap().unwrap()
    }

    fn note(&mut self, note: Note) {
        self.ledger.follow(&note);
        self.disk.note(note);
    }

    fn record(&mut self, length: u16) -> Vec<u8> {
        self.unique = self.unique.wrapping_add(1);
        let mut bytes = vec![0; length as usize];
        Rng::with_seed(self.unique).fill(&mut bytes);
        bytes
    }

    pub fn apply(&mut self, action: &Action) {
        match action {
            Action::Append(lengths) => self.append(lengths, false),
            Action::Marker(length) => self.append(&[*length], true),
            Action::Flush => self.flush(),
            Action::Release(which, percent) => {
                let (id, run) = self.pick(*which);
                let upto = run.written * u64::from(*percent) / 100;
                self.note(Note::Released(id, upto));
                // A failure is not the end: the records are there, and may be released again.
                let _tried = self.journal.handle().release(id, upto);
            }
            Action::Read(which, percent) => self.read(*which, *percent),
        }
    }

    /// Tries until a record is accepted and synced, for as long as a broken disk may keep a sound journal from it.
    pub fn heals(&mut self) -> bool {
        let id = self.journal.incarnation();
        let before = self.ledger.0[&id].written;
        let end = Instant::now() + Duration::from_secs(10);
        while self.ledger.0[&id].written == before && Instant::now() < end {
            self.append(&[10], true);
            std::thread::yield_now();
        }
        self.flush();
        let run = &self.ledger.0[&id];
        run.written > before && run.written == run.durable
    }

    fn append(&mut self, lengths: &[u16], marker: bool) {
        let id = self.journal.incarnation();
        let records: Vec<Vec<u8>> = lengths.iter().map(|length| self.record(*length)).collect();
        let expected = self.ledger.0[&id].written + records.len() as u64;
        self.note(Note::Offered(id, records.clone()));
        let outcome = if marker { self.journal.append_marker(&records) } else { self.journal.append(&records) };
        let usage = self.journal.handle().usage();
        match outcome {
            Ok(last) => {
                assert_eq!(last, expected);
                self.note(Note::Accepted(id));
            }
            Err(Error::QuotaReached { used, limit }) => {
                assert!(used + 2 * SEGMENT > limit, "refused with {used} of {limit} bytes used");
                self.note(Note::Refused(id));
            }
            Err(Error::TooLarge { .. } | Error::NoSpace(_)) => self.note(Note::Refused(id)),
            Err(Error::Failed(_)) => self.note(Note::InDoubt(id)),
            Err(other) => panic!("{other:?}"),
        }
        assert!(usage.segments_given_up > 0 || usage.used_bytes <= self.setup.segments * SEGMENT, "{usage:?}");
        assert_eq!(self.journal.handle().progress().written, self.ledger.0[&id].written);
    }

    fn flush(&mut self) {
        let id = self.journal.incarnation();
        let upto = self.ledger.0[&id].written;
        if self.journal.flush().is_ok() {
            assert_eq!(self.journal.handle().progress().durable, upto);
            self.note(Note::Durable(id, upto));
        }
    }

    fn pick(&self, which: u8) -> (Uuid, Run) {
        let mut runs: Vec<_> = self.ledger.0.iter().collect();
        runs.sort_unstable_by_key(|(_, run)| run.order);
        let (id, run) = runs[which as usize % runs.len()];
        (*id, run.clone())
    }

    fn read(&self, which: u8, percent: u8) {
        let (id, run) = self.pick(which);
        let after = run.released + (run.written - run.released) * u64::from(percent) / 100;
        match self.journal.handle().cursor(id, after) {
            Ok(mut cursor) => {
                let expected: Vec<Item> =
                    (after + 1..=run.written).map(|seq| Item { seq, bytes: run.records.get(&seq).cloned() }).collect();
                match read(&mut cursor) {
                    // On a disk that stays broken everything may look damaged, but nothing looks different.
                    found if self.disk.is_broken() => found.into_iter().flatten().for_each(|item| {
                        assert!(item.bytes.is_none() || expected.contains(&item));
                    }),
                    found => assert_eq!(found.unwrap(), expected),
                }
            }
            Err(Error::UnknownIncarnation(_)) => assert_eq!(run.released, run.written, "all was released"),
            Err(Error::Released { asked, first }) => {
                // What was lost before all that is left looks released after a restart.
                let lost_at_the_beginning = run.records.keys().next().is_some_and(|oldest| first <= *oldest);
                assert!(asked <= run.released || lost_at_the_beginning, "{asked} {first} {run:?}");
            }
            Err(other) => assert!(self.disk.is_broken(), "{other:?}"),
        }
    }
}

impl Action {
    pub fn random(rng: &mut Rng) -> Self {
        match rng.u8(..20) {
            0..12 => Self::Append((0..rng.usize(1..5)).map(|_| rng.u16(..300)).collect()),
            12 => Self::Marker(rng.u16(..100)),
            13..16 => Self::Flush,
            16 | 17 => Self::Release(rng.u8(..), rng.u8(..=100)),
            _ => Self::Read(rng.u8(..), rng.u8(..=100)),
        }
    }
}

/// Where random runs begin: what `SEED` says, or anywhere.
#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a failure is repeated with the seed it has printed"
)]
pub fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| Rng::new().u64(..u64::MAX / 2));
    eprintln!("SEED={seed}");
    seed
}

/// The image that a crash after `ops` leaves of `base`.
pub fn crash(base: &Image, log: &[Op], at: usize, crash: Crash, rng: &mut Rng) -> Image {
    match crash {
        Crash::Kill => base.after_kill(&log[..at], log.get(at), rng),
        Crash::PowerCut => base.after_power_cut(&log[..at], rng),
    }
}
