//! Any sequence of calls, restarts and crashes behaves like a list of records per incarnation.

use crate::support::disk::{Disk, Lies};
use crate::support::world::{Action, Crash, Setup, World, crash};
use fastrand::Rng;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Do(Action),
    /// Closed and opened again.
    Restart,
    /// Ended by a crash right now, and opened on what is left.
    Crash(Crash, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let append = prop::collection::vec(0..300_u16, 1..5).prop_map(Action::Append);
    let too_much = Just(Action::Append(vec![900, 900, 900]));
    let place = || (any::<u8>(), 0..=100_u8);
    let action = prop_oneof![
        12 => append,
        1 => too_much,
        1 => (0..100_u16).prop_map(Action::Marker),
        3 => Just(Action::Flush),
        3 => place().prop_map(|(which, percent)| Action::Release(which, percent)),
        3 => place().prop_map(|(which, percent)| Action::Read(which, percent)),
    ];
    prop_oneof![
        20 => action.prop_map(Step::Do),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(|seed| Step::Crash(Crash::Kill, seed)),
        1 => any::<u64>().prop_map(|seed| Step::Crash(Crash::PowerCut, seed)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_list(steps in prop::collection::vec(step(), 1..120), segments in 3..9_u64, eager: bool) {
        let setup = Setup { segments, eager };
        let mut world = World::fresh(Disk::empty(), setup);
        for step in steps {
            match step {
                Step::Do(action) => world.apply(&action),
                Step::Restart => {
                    let World { disk, journal, ledger, .. } = world;
                    journal.close().unwrap();
                    // Closing syncs: all that was accepted has to be there after a power cut as well.
                    let log = disk.log();
                    let image = crash(&disk.base(), &log, log.len(), Crash::PowerCut, &mut Rng::with_seed(1));
                    let disk = Disk::new(image, Lies::default());
                    world = World::open(disk, setup, &ledger, Crash::Kill).unwrap().unwrap();
                }
                Step::Crash(kind, seed) => {
                    let (disk, ledger) = (world.disk.clone(), world.ledger.clone());
                    let (base, log) = (disk.base(), disk.log()); // What dropping the journal does comes later.
                    drop(world);
                    let disk = match kind {
                        Crash::Kill => Disk::resumed(base, log),
                        Crash::PowerCut => {
                            let image = crash(&base, &log, log.len(), kind, &mut Rng::with_seed(seed));
                            Disk::new(image, Lies::default())
                        }
                    };
                    world = World::open(disk, setup, &ledger, kind).unwrap().unwrap();
                }
            }
        }
    }
}
