//! What a directory holds: every combination of files and bytes has an answer.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::board::Segment;
use crate::format::{FRAMES_AT, MAX_SEQ, OPENING_AT, STAMP_BYTES, Seal, Stamp, StampRead};
use crate::fs::{is_lost, read_full, retry};
use crate::scan::{Found, Scanner};
use crate::{Error, JournalFs};

/// Records that were written once and are not readable any more. Both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// The first one missing.
    pub from: u64,
    /// The last one missing.
    pub to: u64,
}

/// The records that one run of a journal has left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incarnation {
    /// Its name.
    pub id: Uuid,
    /// The form of its payloads, as given by the program that wrote them.
    pub schema: u32,
    /// When it began, by the clock of then.
    pub opened_at: SystemTime,
    /// The first record kept; those before were released.
    pub first: u64,
    /// The last one readable.
    pub last: u64,
    /// What is missing between them.
    pub gaps: Vec<Gap>,
    /// Bytes behind the last record that are no record: what a crash interrupted. Not an error.
    pub torn_bytes: u64,
    /// The segments in which something is missing. When they are released they are set aside instead of deleted.
    pub damaged: Vec<String>,
    /// What its segments occupy.
    pub bytes: u64,
}

/// What was found in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// In the order in which they began.
    pub incarnations: Vec<Incarnation>,
    /// Segments that do not say whose they are, or have nothing but damage where others go on. A writer sets them aside (`*.quarantined`).
    pub unreadable: Vec<String>,
    /// Segments set aside earlier and now. Nothing reads or deletes them.
    pub quarantined: Vec<String>,
}

/// A [`Recovery`] with what the journal itself wants to know.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) recovery: Recovery,
    /// Those with records, in order.
    pub(crate) segments: Vec<Segment>,
    /// Segments of which nothing is to be kept, and files that did not become segments.
    pub(crate) leftovers: Vec<String>,
    pub(crate) last_number: u64,
}

/// How often a directory that changes is looked at. Segments go oldest first, which is the order in which they are opened,
/// and it takes longer to store one than to read it: the second look nearly always does.
const LOOKS: usize = 10;

pub(crate) const QUARANTINED: &str = ".quarantined";

pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:010}.seg")
}

/// The name a segment has until it is complete.
pub(crate) fn unfinished_name(number: u64) -> String {
    format!("{number:010}.tmp")
}

/// The number in a segment's name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    number_before(name, ".seg")
}

/// Whether a journal gives a file such a name.
pub(crate) fn is_own_name(name: &str) -> bool {
    segment_number(name).is_some() || number_before(name, ".tmp").is_some() || name.ends_with(QUARANTINED)
}

fn number_before(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let number = digits.parse().ok()?;
    (format!("{number:010}") == digits).then_some(number)
}

/// Reads everything; changes nothing.
///
/// Beside a running journal a segment may be released between the look at the names and its turn: then everything is
/// looked at again. To pass over that one alone would make a gap of what was stored, if one behind it is there still.
pub(crate) fn survey<F: JournalFs>(fs: &F) -> Result<Survey, Error> {
    for _ in 1..LOOKS {
        match look(fs) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    look(fs)
}

fn look<F: JournalFs>(fs: &F) -> Result<Survey, Error> {
    let mut names = retry(|| fs.list()).map_err(|source| Error::io("list", "the directory", source))?;
    names.sort_unstable();
    let mut survey = Survey::default();
    let mut runs: BTreeMap<u64, Vec<Scanned>> = BTreeMap::new();
    // Where each incarnation begins: numbers rise from one to the next, clocks need not.
    let mut begun: HashMap<Uuid, u64> = HashMap::new();
    for name in names {
        if let Some(number) = segment_number(&name) {
            survey.last_number = survey.last_number.max(number);
            match scan(fs, &name, number)? {
                Some(scanned) => {
                    let start = *begun.entry(scanned.stamp.incarnation).or_insert(number);
                    runs.entry(start).or_default().push(scanned);
                }
                None => survey.recovery.unreadable.push(name),
            }
        } else if number_before(&name, ".tmp").is_some() {
            survey.leftovers.push(name);
        } else if name.ends_with(QUARANTINED) {
            survey.recovery.quarantined.push(name);
        }
    }
    for run in runs.into_values() {
        survey.add(run);
    }
    survey.segments.sort_unstable_by_key(|segment| segment.number);
    Ok(survey)
}

/// One segment, looked at for itself.
struct Scanned {
    stamp: Stamp,
    /// The first record it is there for; `None` when its first record was never due.
    base: Option<u64>,
    /// The last intact record.
    last: Option<u64>,
    holes: Vec<Gap>,
    /// Where the last intact record ends.
    end: u64,
    junk: u64,
    damaged: bool,
    size: u64,
}

/// `None` when the segment does not say whose it is.
fn scan<F: JournalFs>(fs: &F, name: &str, number: u64) -> Result<Option<Scanned>, Error> {
    let failed = |action| move |source: io::Error| Error::io(action, name, source);
    let (file, size) = retry(|| fs.open(name)).map_err(failed("open"))?;
    let birth = read_stamp(fs, &file, 0, name).map_err(failed("read"))?;
    let opening = match read_stamp(fs, &file, OPENING_AT, name).map_err(failed("read"))? {
        // No record has such a number.
        StampRead::Valid(Stamp { base, .. }) if !(1..=MAX_SEQ).contains(&base) => StampRead::Damaged,
        opening => opening,
    };
    let (stamp, base) = match (birth, opening) {
        (StampRead::Unknown(version), _) | (_, StampRead::Unknown(version)) => {
            return Err(Error::UnknownVersion { name: name.into(), version });
        }
        // Either stamp says whose the segment is: one of them may be damaged.
        (StampRead::Valid(birth), StampRead::Valid(opening)) if birth != (Stamp { base: 0, ..opening }) => {
            return Ok(None);
        }
        (_, StampRead::Valid(opening)) => (opening, Some(opening.base)),
        (StampRead::Valid(birth), StampRead::Damaged) => (birth, None),
        (StampRead::Valid(birth), StampRead::Blank) => {
            let nothing = Scanned::nothing(birth, size);
            return Ok((birth.number == number).then_some(nothing));
        }
        (StampRead::Blank | StampRead::Damaged, StampRead::Blank | StampRead::Damaged) => return Ok(None),
    };
    if stamp.number != number {
        return Ok(None);
    }
    let seal = Seal::new(stamp.incarnation, number);
    let mut scanner = Scanner::new(file, seal, base, size);
    let mut scanned = Scanned { base, ..Scanned::nothing(stamp, size) };
    loop {
        match scanner.next(fs).map_err(failed("read"))? {
            Found::Record(seq) => {
                scanned.base.get_or_insert(seq);
                scanned.last = Some(seq);
            }
            Found::Hole(gap) => scanned.holes.push(gap),
            Found::End { junk } => {
                scanned.junk = junk;
                break;
            }
        }
    }
    scanned.end = scanner.position();
    scanned.damaged = scanner.damaged();
    Ok(Some(scanned))
}

fn read_stamp<F: JournalFs>(fs: &F, file: &F::File, at: u64, name: &str) -> io::Result<StampRead> {
    let mut bytes = [0; STAMP_BYTES];
    match read_full(fs, file, &mut bytes, at) {
        Ok(_) => Ok(Stamp::decode(&bytes)),
        Err(error) if is_lost(&error) => {
            tracing::warn!(segment = name, %error, "the head of a segment cannot be read");
            Ok(StampRead::Damaged)
        }
        Err(error) => Err(error),
    }
}

impl Scanned {
    fn name(&self) -> String {
        segment_name(self.stamp.number)
    }

    fn nothing(stamp: Stamp, size: u64) -> Self {
        Self { stamp, base: None, last: None, holes: Vec::new(), end: FRAMES_AT, junk: 0, damaged: false, size }
    }
}

impl Survey {
    /// Joins the segments of one incarnation, given in the order of their numbers.
    fn add(&mut self, mut run: Vec<Scanned>) {
        // Where a segment begins, older ones end: they were given up after a failed write or sync.
        let mut end = u64::MAX;
        for segment in run.iter_mut().rev() {
            segment.last =
                segment.last.map(|last| last.min(end)).filter(|last| segment.base.is_some_and(|base| *last >= base));
            segment.holes.retain(|hole| hole.from <= end);
            segment.holes.iter_mut().for_each(|hole| hole.to = hole.to.min(end));
            if let Some(base) = segment.base {
                end = end.min(base.saturating_sub(1));
            }
        }
        let Some(newest) = run.iter().rposition(|segment| segment.last.is_some()) else {
            self.leftovers.extend(run.iter().map(Scanned::name));
            return;
        };
        let mut found: Option<Incarnation> = None;
        for (index, segment) in run.iter().enumerate() {
            let (Some(first), Some(last)) = (segment.base, segment.last) else {
                let expected = found.as_ref().map(|found| found.last.saturating_add(1)).or(segment.base);
                let followed = begins(run.get(index + 1..).unwrap_or_default());
                match &mut found {
                    // Records were here: others follow, but not the next ones. Keep it for those who want to look.
                    _ if segment.junk > 0
                        && followed.is_some_and(|next| expected.is_none_or(|expected| next > expected)) =>
                    {
                        self.recovery.unreadable.push(segment.name());
                        continue;
                    }
                    Some(found) if index > newest => found.torn_bytes += segment.junk,
                    _ => {}
                }
                self.leftovers.push(segment.name());
                continue;
            };
            let found = found.get_or_insert_with(|| Incarnation {
                id: segment.stamp.incarnation,
                schema: segment.stamp.schema,
                opened_at: UNIX_EPOCH + Duration::from_nanos(segment.stamp.opened_at),
                first,
                last: first.saturating_sub(1),
                gaps: Vec::new(),
                torn_bytes: 0,
                damaged: Vec::new(),
                bytes: 0,
            });
            let expected = found.last.saturating_add(1);
            if first > expected {
                found.gaps.push(Gap { from: expected, to: first - 1 });
            }
            found.gaps.extend(segment.holes.iter().copied());
            found.last = last;
            found.bytes += segment.size;
            let cut_short = run.get(index + 1..).and_then(|rest| rest.iter().find_map(|next| next.base));
            let damaged =
                segment.damaged || cut_short.is_some_and(|next| segment.junk > 0 && next.saturating_sub(1) > last);
            if damaged {
                found.damaged.push(segment.name());
            }
            if index == newest {
                found.torn_bytes += segment.junk;
            }
            self.segments.push(Segment {
                incarnation: segment.stamp.incarnation,
                number: segment.stamp.number,
                first,
                last,
                limit: segment.size,
                size: segment.size,
                // Only zeros follow: they need not be kept.
                end: if segment.junk == 0 { segment.end } else { segment.size },
                damaged,
                active: false,
                releasing: false,
                marks: Vec::new(),
            });
        }
        self.recovery.incarnations.extend(found);
    }
}

/// The first record of the first of these segments that was begun.
fn begins(segments: &[Scanned]) -> Option<u64> {
    segments.iter().find_map(|segment| segment.base)
}
