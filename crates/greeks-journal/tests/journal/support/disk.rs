//! A disk in memory that remembers every call, fails the one it is told to, and can tell what a power cut at any moment
//! would have left.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Condvar, Mutex};

use fastrand::Rng;
use greeks_journal::JournalFs;

const SECTOR: usize = 512;

/// What is written to the log beside calls.
pub type Note = super::world::Note;

#[derive(Clone)]
pub struct Disk(Arc<Mutex<Inner>>, Arc<Gate>);

/// Holds a sync up.
#[derive(Default)]
struct Gate {
    state: Mutex<Held>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Held {
    #[default]
    No,
    /// The next one will be.
    Next,
    One,
    /// It goes on, and fails if told so.
    Go {
        fails: bool,
    },
}

/// Everything on the disk, as a program would see it.
#[derive(Clone, Default)]
pub struct Image {
    names: BTreeMap<String, u64>,
    files: HashMap<u64, Vec<u8>>,
}

struct Inner {
    /// What was there at first, durably.
    base: Image,
    now: Image,
    next_file: u64,
    log: Vec<Op>,
    calls: u64,
    fault: Option<Fault>,
    lies: Lies,
    /// How much fits.
    capacity: u64,
}

/// Which promises the disk breaks.
#[derive(Clone, Copy, Default)]
pub struct Lies {
    pub data_sync: bool,
    pub dir_sync: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which call, counted from 0.
    pub at: u64,
    pub kind: FaultKind,
    /// All later calls too.
    pub lasting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    Eio,
    /// Nothing more fits: what is there can be read, synced, removed and overwritten.
    Enospc,
    /// The same, and half of what is new is written.
    HalfThenEnospc,
    Eintr,
    /// Half is written, and said so.
    Short,
    /// Half is written, and the call fails.
    HalfThenEio,
}

#[derive(Clone, Debug)]
pub enum Op {
    Create(String, u64),
    Length(u64, u64),
    Write(u64, u64, Vec<u8>),
    SyncData(u64),
    /// The kernel forgets what it could not write.
    SyncFailed(u64),
    Rename(String, String),
    Remove(String),
    SyncDir,
    Note(Note),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Write,
    /// Needs room like a write.
    Grow,
    Sync,
    Other,
}

impl Disk {
    pub fn new(base: Image, lies: Lies) -> Self {
        let next_file = base.files.keys().max().map_or(1, |last| last + 1);
        let now = base.clone();
        let inner = Inner { base, now, next_file, log: vec![], calls: 0, fault: None, lies, capacity: u64::MAX };
        Self(Arc::new(Mutex::new(inner)), Arc::default())
    }

    /// The disk after `log`, for a program that knows nothing of it: what was not synced still is not.
    pub fn resumed(base: Image, log: Vec<Op>) -> Self {
        let disk = Self::new(base, Lies::default());
        {
            let mut inner = disk.0.lock().unwrap();
            log.into_iter().for_each(|op| inner.do_op(op));
            inner.next_file = inner.now.files.keys().max().map_or(1, |last| last + 1);
        }
        disk
    }

    pub fn empty() -> Self {
        Self::new(Image::default(), Lies::default())
    }

    pub fn note(&self, note: Note) {
        self.0.lock().unwrap().log.push(Op::Note(note));
    }

    pub fn fail(&self, fault: Option<Fault>) {
        self.0.lock().unwrap().fault = fault;
    }

    /// The next sync of a file will take until [`let_go`](Self::let_go).
    pub fn hold_next_sync(&self) {
        *self.1.state.lock().unwrap() = Held::Next;
    }

    /// Returns when a sync is being held up.
    pub fn wait_for_held_sync(&self) {
        drop(self.1.changed.wait_while(self.1.state.lock().unwrap(), |held| *held != Held::One).unwrap());
    }

    /// The sync that is held up ends, and fails if told so.
    pub fn let_go(&self, fails: bool) {
        *self.1.state.lock().unwrap() = Held::Go { fails };
        self.1.changed.notify_all();
    }

    /// Tells whether this sync was held up and is to fail.
    fn pass_gate(&self) -> bool {
        let mut held = self.1.state.lock().unwrap();
        if *held != Held::Next {
            return false;
        }
        *held = Held::One;
        self.1.changed.notify_all();
        held = self.1.changed.wait_while(held, |held| *held == Held::One).unwrap();
        let fails = *held == Held::Go { fails: true };
        *held = Held::No;
        fails
    }

    /// Makes the disk this large.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().unwrap().capacity = bytes;
    }

    /// Whether calls will go on failing.
    pub fn is_broken(&self) -> bool {
        self.0.lock().unwrap().fault.is_some_and(|fault| fault.lasting)
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    pub fn log(&self) -> Vec<Op> {
        self.0.lock().unwrap().log.clone()
    }

    pub fn now(&self) -> Image {
        self.0.lock().unwrap().now.clone()
    }

    pub fn base(&self) -> Image {
        self.0.lock().unwrap().base.clone()
    }

    /// Changes bytes of a file behind the journal's back.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.0.lock().unwrap();
        let file = inner.now.names[name];
        change(inner.now.files.get_mut(&file).unwrap());
    }

    /// Whether this call fails, and how.
    fn enter(&self, call: Call) -> (std::sync::MutexGuard<'_, Inner>, Option<FaultKind>) {
        let mut inner = self.0.lock().unwrap();
        let number = inner.calls;
        inner.calls += 1;
        let hit = inner.fault.filter(|fault| number == fault.at || (fault.lasting && number > fault.at));
        let kind = hit.map(|fault| fault.kind).filter(|kind| match kind {
            FaultKind::Short | FaultKind::HalfThenEio => call == Call::Write,
            FaultKind::Enospc | FaultKind::HalfThenEnospc => matches!(call, Call::Write | Call::Grow),
            FaultKind::Eio | FaultKind::Eintr => true,
        });
        (inner, kind)
    }

    fn simple(&self, call: Call) -> io::Result<std::sync::MutexGuard<'_, Inner>> {
        match self.enter(call) {
            (inner, None) => Ok(inner),
            (_, Some(kind)) => Err(kind.error()),
        }
    }
}

impl FaultKind {
    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Enospc | Self::HalfThenEnospc => 28,
            Self::Eintr => 4,
            Self::Eio | Self::Short | Self::HalfThenEio => 5,
        })
    }
}

impl Image {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    pub fn content(&self, name: &str) -> &[u8] {
        &self.files[&self.names[name]]
    }

    pub fn insert(&mut self, name: &str, content: Vec<u8>) {
        let file = self.files.keys().max().map_or(1, |last| last + 1);
        self.files.insert(file, content);
        self.names.insert(name.into(), file);
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(name, file) => {
                self.names.insert(name.clone(), *file);
                self.files.insert(*file, Vec::new());
            }
            Op::Length(file, length) => self.file(*file).resize(*length as usize, 0),
            Op::Write(file, at, bytes) => put(self.file(*file), *at as usize, bytes),
            Op::Rename(from, to) => {
                let file = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), file);
            }
            Op::Remove(name) => drop(self.names.remove(name)),
            Op::SyncData(_) | Op::SyncFailed(_) | Op::SyncDir | Op::Note(_) => {}
        }
    }

    fn file(&mut self, file: u64) -> &mut Vec<u8> {
        self.files.entry(file).or_default()
    }

    /// What a `kill -9` after `ops` leaves: all of it, and perhaps a part of the write that was going on.
    pub fn after_kill(&self, ops: &[Op], going_on: Option<&Op>, rng: &mut Rng) -> Self {
        let mut image = self.clone();
        ops.iter().for_each(|op| image.apply(op));
        if let Some(Op::Write(file, at, bytes)) = going_on {
            image.apply(&Op::Write(*file, *at, bytes[..rng.usize(..=bytes.len())].to_vec()));
        }
        image
    }

    /// What a power cut after `ops` leaves: what was synced, and of the rest whatever chance wants, sector by sector.
    pub fn after_power_cut(&self, ops: &[Op], rng: &mut Rng) -> Self {
        let mut durable = self.clone();
        let mut writes: HashMap<u64, Vec<&Op>> = HashMap::new();
        let mut names: Vec<&Op> = Vec::new();
        for op in ops {
            match op {
                Op::Length(file, _) | Op::Write(file, ..) => writes.entry(*file).or_default().push(op),
                Op::SyncData(file) => writes.remove(file).into_iter().flatten().for_each(|op| durable.apply(op)),
                Op::SyncFailed(file) => drop(writes.remove(file)),
                Op::Create(..) | Op::Rename(..) | Op::Remove(_) => names.push(op),
                Op::SyncDir => names.drain(..).for_each(|op| durable.rename(op)),
                Op::Note(_) => {}
            }
        }
        // File systems keep the order of names as a rule; half of the time this one does not.
        let ordered = rng.bool().then(|| rng.usize(..=names.len()));
        for (index, op) in names.into_iter().enumerate() {
            if ordered.map_or_else(|| rng.bool(), |kept| index < kept) {
                durable.rename(op);
            }
        }
        let mood = rng.u8(..4);
        for (file, pending) in writes {
            let old = durable.files.get(&file).cloned().unwrap_or_default();
            durable.files.insert(file, partly_written(&old, &pending, mood, rng));
        }
        durable
    }

    /// Applies a change of names without touching content.
    fn rename(&mut self, op: &Op) {
        match op {
            Op::Create(name, file) => {
                self.names.insert(name.clone(), *file);
                self.files.entry(*file).or_default();
            }
            Op::Rename(from, to) => {
                // The creation may have been lost while the rename was not: then the name is lost as well.
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Op::Remove(name) => drop(self.names.remove(name)),
            _ => {}
        }
    }
}

/// Some sectors as they were, some as written last or in between, some that were empty as garbage.
fn partly_written(old: &[u8], pending: &[&Op], mood: u8, rng: &mut Rng) -> Vec<u8> {
    let mut new = old.to_vec();
    let mut versions: HashMap<usize, usize> = HashMap::new();
    let mut length = old.len();
    for (index, op) in pending.iter().enumerate() {
        match op {
            Op::Length(_, to) => {
                if rng.bool() {
                    length = *to as usize;
                }
                new.resize(new.len().max(*to as usize), 0);
            }
            Op::Write(_, at, bytes) => {
                for (position, byte) in (*at as usize..).zip(bytes) {
                    let version = versions.entry(position / SECTOR).or_insert_with(|| match mood {
                        0 => 0,
                        1 => usize::MAX,
                        _ => rng.usize(..=pending.len()),
                    });
                    if index < *version {
                        put(&mut new, position, &[*byte]);
                    }
                }
            }
            _ => {}
        }
    }
    for (sector, version) in versions {
        let place = sector * SECTOR..((sector + 1) * SECTOR).min(new.len());
        let was_empty = old.get(place.clone()).is_none_or(|old| old.iter().all(|byte| *byte == 0));
        if version == 0 && was_empty && mood == 3 && rng.u8(..4) == 0 && place.start < place.end {
            rng.fill(&mut new[place]);
        }
    }
    new.truncate(length);
    new
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Inner {
    fn do_op(&mut self, op: Op) {
        self.now.apply(&op);
        self.log.push(op);
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.now.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl JournalFs for Disk {
    type File = u64;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.simple(Call::Other)?.now.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<u64> {
        let mut inner = self.simple(Call::Grow)?;
        if inner.now.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = inner.next_file;
        inner.next_file += 1;
        inner.do_op(Op::Create(name.into(), file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<(u64, u64)> {
        let inner = self.simple(Call::Other)?;
        let file = inner.find(name)?;
        Ok((file, inner.now.files[&file].len() as u64))
    }

    fn allocate(&self, file: &u64, length: u64) -> io::Result<()> {
        let mut inner = self.simple(Call::Grow)?;
        let named = inner.now.names.values().map(|file| inner.now.files[file].len() as u64);
        if named.sum::<u64>() + length > inner.capacity {
            return Err(FaultKind::Enospc.error());
        }
        inner.do_op(Op::Length(*file, length));
        Ok(())
    }

    fn truncate(&self, file: &u64, length: u64) -> io::Result<()> {
        self.simple(Call::Other)?.do_op(Op::Length(*file, length));
        Ok(())
    }

    fn write_at(&self, file: &u64, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (mut inner, fault) = self.enter(Call::Write);
        let half = bytes.len().div_ceil(2);
        let place = offset as usize..offset as usize + bytes.len();
        let is_new = inner.now.files[file].get(place).is_none_or(|there| there.iter().all(|byte| *byte == 0));
        let fault = fault.filter(|kind| is_new || !matches!(kind, FaultKind::Enospc | FaultKind::HalfThenEnospc));
        match fault {
            None => {
                inner.do_op(Op::Write(*file, offset, bytes.to_vec()));
                Ok(bytes.len())
            }
            Some(kind @ (FaultKind::Short | FaultKind::HalfThenEio | FaultKind::HalfThenEnospc)) => {
                inner.do_op(Op::Write(*file, offset, bytes[..half].to_vec()));
                if kind == FaultKind::Short { Ok(half) } else { Err(kind.error()) }
            }
            Some(kind) => Err(kind.error()),
        }
    }

    fn read_at(&self, file: &u64, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.simple(Call::Other)?;
        let content = inner.now.files[file].get(offset as usize..).unwrap_or_default();
        let length = content.len().min(bytes.len());
        bytes[..length].copy_from_slice(&content[..length]);
        Ok(length)
    }

    fn sync_data(&self, file: &u64) -> io::Result<()> {
        if self.pass_gate() {
            self.0.lock().unwrap().log.push(Op::SyncFailed(*file));
            return Err(FaultKind::Eio.error());
        }
        let (mut inner, fault) = self.enter(Call::Sync);
        match fault {
            None if inner.lies.data_sync => Ok(()),
            None => {
                inner.do_op(Op::SyncData(*file));
                Ok(())
            }
            Some(FaultKind::Eintr) => Err(FaultKind::Eintr.error()),
            Some(kind) => {
                inner.do_op(Op::SyncFailed(*file));
                Err(kind.error())
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.simple(Call::Other)?;
        inner.find(from)?;
        inner.do_op(Op::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.simple(Call::Other)?;
        inner.find(name)?;
        inner.do_op(Op::Remove(name.into()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut inner = self.simple(Call::Sync)?;
        if !inner.lies.dir_sync {
            inner.do_op(Op::SyncDir);
        }
        Ok(())
    }
}
