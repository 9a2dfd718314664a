//! The process is killed, or the power fails, at every moment of a run. A disk that breaks its promises is found out.

use crate::support::disk::{Disk, Image, Lies};
use crate::support::world::{Action, Crash, Ledger, Setup, World, crash, seed};
use fastrand::Rng;

const SETUP: Setup = Setup { segments: 8, eager: false };
const ACTIONS: usize = 40;

struct Outcome {
    images: u32,
    violations: Vec<String>,
}

/// Runs, crashes at every call (`stride` 1) and compares; some images are run on and crashed again.
fn torture(seed: u64, kind: Crash, lies: Lies, stride: usize) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let mut outcome = Outcome { images: 0, violations: Vec::new() };
    let mut start = (Image::default(), Ledger::default());
    for generation in 0..3 {
        let (base, ledger) = &start;
        let setup = Setup { eager: generation == 1, ..SETUP };
        let mut world = World::open(Disk::new(base.clone(), lies), setup, ledger, kind).unwrap().unwrap();
        for _ in 0..ACTIONS {
            world.apply(&Action::random(&mut rng));
        }
        let disk = world.disk.clone();
        drop(world);
        let log = disk.log();
        let mut survivors = Vec::new();
        for at in (0..=log.len()).step_by(stride) {
            let image = crash(base, &log, at, kind, &mut rng);
            let promised = ledger.after(&log[..at]);
            outcome.images += 1;
            match World::open(Disk::new(image.clone(), Lies::default()), SETUP, &promised, kind).unwrap() {
                // What a crash leaves is never taken for damage to the segment as a whole.
                Ok(world) if !world.recovery.unreadable.is_empty() => {
                    outcome.violations.push(format!("seed {seed}, {kind:?} at {at}: {:?}", world.recovery));
                }
                Ok(world) => survivors.push((image, world.ledger.clone())),
                Err(violation) => {
                    outcome.violations.push(format!("seed {seed}, {kind:?} at {at} of {}: {violation}", log.len()));
                }
            }
        }
        let Some(chosen) = rng.choice(survivors) else { break };
        start = chosen;
        // The new incarnation of the check is not on the image.
        start.1.0.retain(|_, run| run.written > 0);
    }
    outcome
}

fn torture_all(kind: Crash, lies: Lies, seeds: u64, stride: usize) -> Outcome {
    let first = seed();
    let mut total = Outcome { images: 0, violations: Vec::new() };
    for seed in first..first + seeds {
        let outcome = torture(seed, kind, lies, stride);
        total.images += outcome.images;
        total.violations.extend(outcome.violations);
    }
    eprintln!("{} images, {} violations", total.images, total.violations.len());
    total
}

#[test]
fn a_kill_at_any_call_loses_nothing_accepted() {
    let outcome = torture_all(Crash::Kill, Lies::default(), 16, 1);
    assert!(outcome.images > 3_000);
    assert_eq!(outcome.violations, Vec::<String>::new());
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_synced() {
    let outcome = torture_all(Crash::PowerCut, Lies::default(), 64, 1);
    assert!(outcome.images > 10_000);
    assert_eq!(outcome.violations, Vec::<String>::new());
}

#[test]
fn a_disk_that_does_not_sync_data_is_found_out() {
    let lies = Lies { data_sync: true, ..Lies::default() };
    assert!(!torture_all(Crash::PowerCut, lies, 3, 3).violations.is_empty());
}

#[test]
fn a_disk_that_does_not_sync_names_is_found_out() {
    let lies = Lies { dir_sync: true, ..Lies::default() };
    assert!(!torture_all(Crash::PowerCut, lies, 3, 3).violations.is_empty());
}
