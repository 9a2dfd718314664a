//! The journal's thread: syncs what was written, and keeps a spare segment ready.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::JournalFs;
use crate::engine::Engine;
use crate::failpoints::{failpoint, failpoint_io};
use crate::format::FRAMES_AT;
use crate::writer::{Phase, Spare, Writer};

/// How long a refused segment is not tried again, unless something was released.
const RETRY_SEGMENT: Duration = Duration::from_millis(100);
/// The window grows with the disk's slowness up to here.
const MAX_WINDOW: Duration = Duration::from_secs(1);

enum Task {
    Sync,
    MakeSpare,
    Stop,
    /// Until something changes or, if given, for so long.
    Wait(Option<Duration>),
}

/// Works until the journal is closed or has failed.
pub(crate) fn run<F: JournalFs>(engine: &Engine<F>) {
    let _alarm = Alarm(engine);
    let mut window = engine.options.sync_window;
    loop {
        let mut writer = engine.lock();
        match next_task(engine, &mut writer, window) {
            Task::Stop => return,
            Task::Wait(None) => drop(engine.work.wait(writer).unwrap_or_else(PoisonError::into_inner)),
            Task::Wait(Some(timeout)) => {
                drop(engine.work.wait_timeout(writer, timeout).unwrap_or_else(PoisonError::into_inner));
            }
            Task::Sync => {
                drop(writer);
                let took = sync(engine);
                window = engine.options.sync_window.max((took * 2).min(MAX_WINDOW));
                engine.notify();
            }
            Task::MakeSpare => {
                drop(writer);
                make_spare(engine);
            }
        }
    }
}

fn next_task<F: JournalFs>(engine: &Engine<F>, writer: &mut Writer<F>, window: Duration) -> Task {
    let closing = match writer.phase {
        Phase::Failed(_) => return Task::Stop,
        Phase::Closed => true,
        Phase::Open => false,
    };
    let now = Instant::now();
    let sync_at = writer.unsynced_since.map(|since| since + window);
    let full = writer.filling.len() >= engine.options.sync_bytes;
    if sync_at.is_some_and(|at| closing || writer.sync_now || full || at <= now) {
        return Task::Sync;
    }
    writer.sync_now = false;
    if closing {
        return Task::Stop;
    }
    let retry_at = match &writer.spare {
        Spare::Wanted => return Task::MakeSpare,
        Spare::Refused { retry_at, .. } if *retry_at <= now => return Task::MakeSpare,
        Spare::Refused { retry_at, .. } => Some(*retry_at),
        Spare::Ready(_) | Spare::Making | Spare::OverQuota => None,
    };
    let next = sync_at.into_iter().chain(retry_at).min();
    Task::Wait(next.map(|at| at.saturating_duration_since(now)))
}

/// Makes durable what is written by now; tells how long the disk took.
fn sync<F: JournalFs>(engine: &Engine<F>) -> Duration {
    let mut writer = engine.lock();
    let writer_mut = &mut *writer;
    std::mem::swap(&mut writer_mut.syncing, &mut writer_mut.filling);
    let files = std::mem::take(&mut writer.unsynced_files);
    let (upto, given_up) = (writer.written, writer.given_up);
    writer.unsynced_since = None;
    writer.sync_now = false;
    if let Some(active) = &mut writer.active {
        active.unsynced = false;
    }
    drop(writer);

    let started = Instant::now();
    // Oldest first: a record is durable only when all before it are.
    let synced = files.iter().try_for_each(|file| {
        failpoint_io!("journal.before_sync")?;
        crate::fs::retry(|| engine.fs.sync_data(file))
    });
    let took = started.elapsed();
    failpoint!("journal.after_sync");

    let mut writer = engine.lock();
    if writer.given_up != given_up || matches!(writer.phase, Phase::Failed(_)) {
        return took; // A write has failed meanwhile: what this sync was about is in another file by now.
    }
    match synced {
        Ok(()) => {
            writer.durable = upto;
            writer.syncing.clear();
            writer.syncing.shrink_to(engine.options.sync_bytes.saturating_mul(2));
            engine.board.update(|inner| inner.progress.durable = upto);
            engine.done.notify_all();
        }
        // That the journal has failed is known to everybody by now.
        Err(error) => drop(engine.give_up_segment(&mut writer, error)),
    }
    took
}

fn make_spare<F: JournalFs>(engine: &Engine<F>) {
    let mut writer = engine.lock();
    let Some((size, markers_only)) = plan(engine, &writer) else {
        writer.spare = Spare::OverQuota;
        engine.done.notify_all();
        return;
    };
    writer.spare = Spare::Making;
    let number = engine.claim(&mut writer, size);
    drop(writer);
    let made = engine.make_segment(number, size, markers_only);
    let mut writer = engine.lock();
    writer.spare = match made {
        Ok(fresh) => {
            writer.told_refusal = None;
            Spare::Ready(fresh)
        }
        Err(error) => {
            if writer.is_news(&error, Instant::now()) {
                tracing::warn!(%error, "no new segment can be made");
            }
            Spare::Refused { why: Arc::new(error), retry_at: Instant::now() + RETRY_SEGMENT }
        }
    };
    engine.drop_outdated_spare(&mut writer);
    engine.done.notify_all();
}

/// The size of the next segment, and whether it is for markers only. One segment's room is left for the next incarnation,
/// so that it can say what it could not accept.
fn plan<F: JournalFs>(engine: &Engine<F>, writer: &Writer<F>) -> Option<(u64, bool)> {
    let options = &engine.options;
    let left = options.max_bytes.saturating_sub(engine.board.lock().used);
    if left / 2 >= options.segment_bytes {
        return Some((options.segment_bytes, false));
    }
    let last = left.min(options.segment_bytes);
    (writer.active.is_none() && last >= FRAMES_AT + options.reserve()).then_some((last, true))
}

/// Should the thread end by a panic, nobody may wait for it.
struct Alarm<'a, F: JournalFs>(&'a Engine<F>);

impl<F: JournalFs> Drop for Alarm<'_, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut writer = self.0.lock();
            drop(self.0.fail(&mut writer, std::io::Error::other("the journal's thread panicked")));
        }
    }
}
