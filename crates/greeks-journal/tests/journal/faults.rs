//! Every single system call fails once, in every way; and all calls fail from some moment on.

use crate::support::disk::{Disk, Fault, FaultKind, Image, Lies};
use crate::support::world::{Action, Crash, Ledger, Setup, World, crash, read, seed};
use fastrand::Rng;
use greeks_journal::{Archive, Error, State};

const LAZY: Setup = Setup { segments: 10, eager: false };
const EAGER: Setup = Setup { eager: true, ..LAZY };

/// Two runs on one disk; the second has something to recover. The fault strikes in the second.
struct Stage {
    image: Image,
    ledger: Ledger,
    actions: Vec<Action>,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let disk = Disk::empty();
        let mut first = World::fresh(disk.clone(), LAZY);
        (0..15).for_each(|_| first.apply(&Action::random(&mut rng)));
        first.apply(&Action::Flush);
        let ledger = first.ledger.clone();
        let image = disk.now(); // Killed: nothing is given back.
        let actions = (0..20).map(|_| Action::random(&mut rng)).collect();
        Self { image, ledger, actions }
    }
}

struct Run {
    /// The fault struck.
    struck: bool,
    state: Option<State>,
    /// Everything was accepted and synced at the end.
    healed: bool,
}

/// Plays the stage with a fault, then crashes in several ways and compares.
fn play(setup: Setup, stage: &Stage, fault: Fault, rng: &mut Rng) -> Run {
    let disk = Disk::new(stage.image.clone(), Lies::default());
    disk.fail(Some(fault));
    let mut run = Run { struck: false, state: None, healed: false };
    match World::open(disk.clone(), setup, &stage.ledger, Crash::Kill) {
        Ok(Ok(mut world)) => {
            stage.actions.iter().for_each(|action| world.apply(action));
            run.healed = !fault.lasting && world.heals();
            run.state = Some(world.journal.handle().progress().state);
        }
        Ok(Err(violation)) => assert!(fault.lasting, "{fault:?}: {violation}"),
        // It may be that the directory cannot be read: then the journal does not open, and has changed nothing that matters.
        Err(error) => assert!(!matches!(fault.kind, FaultKind::Eintr | FaultKind::Short), "{fault:?}: {error:?}"),
    }
    run.struck = disk.calls() > fault.at;
    disk.fail(None);
    let log = disk.log();
    let moments: Vec<usize> = (0..3).map(|_| rng.usize(..=log.len())).chain([log.len()]).collect();
    for at in moments {
        for kind in [Crash::Kill, Crash::PowerCut] {
            let image = crash(&stage.image, &log, at, kind, rng);
            let promised = stage.ledger.after(&log[..at]);
            let reopened = World::open(Disk::new(image, Lies::default()), LAZY, &promised, kind);
            let world = reopened.unwrap().unwrap_or_else(|violation| {
                panic!("{fault:?}, {kind:?} at {at} of {}: {violation}", log.len());
            });
            if kind == Crash::Kill && !fault.lasting {
                let whole = world.recovery.incarnations.iter().all(|run| run.damaged.is_empty() && run.gaps.is_empty());
                assert!(whole && world.recovery.unreadable.is_empty(), "{fault:?}: {:?}", world.recovery);
            }
        }
    }
    run
}

/// Every call of the run fails, one after the other, until there is none left.
fn every_call(setup: Setup, kind: FaultKind, lasting: bool) -> Vec<Run> {
    let seed = seed();
    let stage = Stage::new(seed);
    let mut rng = Rng::with_seed(seed);
    let mut runs = Vec::new();
    for at in 0.. {
        let run = play(setup, &stage, Fault { at, kind, lasting }, &mut rng);
        if !run.struck {
            break;
        }
        runs.push(run);
    }
    eprintln!("{setup:?}, {kind:?}, lasting {lasting}: {} calls failed", runs.len());
    assert!(runs.len() > 20);
    runs
}

fn all<const N: usize>(kinds: [FaultKind; N]) -> impl Iterator<Item = (Setup, FaultKind)> {
    kinds.into_iter().flat_map(|kind| [(LAZY, kind), (EAGER, kind)])
}

#[test]
fn one_failed_call_costs_nothing_that_was_promised() {
    let kinds = [FaultKind::Eio, FaultKind::Enospc, FaultKind::HalfThenEnospc, FaultKind::HalfThenEio];
    for (setup, kind) in all(kinds) {
        for run in every_call(setup, kind, false) {
            assert_ne!(run.state, Some(State::Failed), "one failure is survived");
            assert!(run.healed || run.state.is_none());
        }
    }
}

#[test]
fn interrupted_and_short_calls_go_unnoticed() {
    for (setup, kind) in all([FaultKind::Eintr, FaultKind::Short]) {
        for run in every_call(setup, kind, false) {
            assert_eq!((run.state, run.healed), (Some(State::Open), true));
        }
    }
}

#[test]
fn a_disk_that_stays_broken_stops_the_journal_and_costs_nothing_that_was_promised() {
    for (setup, kind) in all([FaultKind::Eio, FaultKind::HalfThenEio]) {
        let runs = every_call(setup, kind, true);
        let stopped = runs.iter().filter(|run| run.state == Some(State::Failed)).count();
        assert!(stopped > 5, "{kind:?}: {stopped} of {} runs", runs.len());
    }
}

/// That nothing fits any more refuses records, and stops nothing: what does not need room goes on.
#[test]
fn a_disk_that_stays_full_costs_nothing_that_was_promised_and_is_no_broken_one() {
    for (setup, kind) in all([FaultKind::Enospc, FaultKind::HalfThenEnospc]) {
        for run in every_call(setup, kind, true) {
            assert_ne!(run.state, Some(State::Failed), "{setup:?} {kind:?}");
        }
    }
}

/// Records that are refused leave intact frames behind, with the numbers of those that are accepted in their place.
#[test]
fn what_a_full_disk_has_taken_of_a_refused_batch_never_counts() {
    let refused = [&[1_u8; 40][..], &[2; 40], &[3; 40], &[4; 600]];
    for accepted in [&[&[7_u8; 40][..]][..], &[&[7; 200][..]], &[&[7; 10][..], &[8; 10]], &[]] {
        let disk = Disk::empty();
        let mut world = World::fresh(disk.clone(), LAZY);
        world.apply(&Action::Append(vec![100]));
        world.apply(&Action::Flush);
        let id = world.journal.incarnation();
        disk.fail(Some(Fault { at: disk.calls(), kind: FaultKind::HalfThenEnospc, lasting: true }));
        assert!(matches!(world.journal.append(&refused), Err(Error::NoSpace(_))));
        disk.fail(None);
        let first = world.ledger.0[&id].records[&1].clone();
        let mut expected = vec![first];
        if !accepted.is_empty() {
            assert_eq!(world.journal.append(accepted).unwrap(), 1 + accepted.len() as u64);
            world.journal.flush().unwrap();
            expected.extend(accepted.iter().map(|bytes| bytes.to_vec()));
        }
        assert_eq!(world.journal.handle().usage().segments_given_up, 0);
        let log = disk.log();
        let mut rng = Rng::with_seed(1);
        for image in [disk.now(), Image::default().after_power_cut(&log, &mut rng)] {
            let archive = Archive::open_in(Disk::new(image, Lies::default())).unwrap();
            let found = read(&mut archive.cursor(id, 0).unwrap()).unwrap();
            assert_eq!(found.into_iter().map(|item| item.bytes.unwrap()).collect::<Vec<_>>(), expected);
        }
    }
}

/// A write fails while a sync is going on: what that sync says when it ends is about a segment that counts no more.
#[test]
fn a_sync_that_ends_late_says_nothing() {
    for fails in [false, true] {
        let disk = Disk::empty();
        let mut world = World::fresh(disk.clone(), LAZY);
        let id = world.journal.incarnation();
        let usage = world.journal.handle();
        world.apply(&Action::Append(vec![100]));
        disk.hold_next_sync();
        let flushed = std::thread::scope(|scope| {
            let flush = scope.spawn(|| world.journal.flush());
            disk.wait_for_held_sync();
            disk.fail(Some(Fault { at: disk.calls(), kind: FaultKind::HalfThenEio, lasting: false }));
            assert_eq!(world.journal.append(&["second"]).unwrap(), 2);
            assert_eq!(usage.progress().durable, 1, "the first was moved and synced");
            disk.let_go(fails);
            flush.join().unwrap()
        });
        flushed.unwrap();
        assert_eq!(world.journal.append(&["third"]).unwrap(), 3);
        world.journal.flush().unwrap();
        let progress = usage.progress();
        assert_eq!((progress.durable, progress.state), (3, State::Open));
        assert_eq!(usage.usage().segments_given_up, 1);
        let log = disk.log();
        let image = Image::default().after_power_cut(&log, &mut Rng::with_seed(1));
        let archive = Archive::open_in(Disk::new(image, Lies::default())).unwrap();
        let found = read(&mut archive.cursor(id, 0).unwrap()).unwrap();
        assert_eq!(
            found[1..].iter().map(|item| item.bytes.as_deref().unwrap()).collect::<Vec<_>>(),
            [&b"second"[..], b"third"]
        );
        assert_eq!(found[0].bytes.as_ref(), world.ledger.0[&id].records.get(&1));
    }
}
