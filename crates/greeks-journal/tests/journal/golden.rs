//! Every format ever released is read back from bytes that this crate has not written.

use std::time::{Duration, UNIX_EPOCH};

use crate::support::disk::{Disk, Image, Lies};
use crate::support::world::{Item, SEGMENT, options, read};
use greeks_journal::{Archive, Error, Journal};
use uuid::Uuid;

/// Made by `v1.py` beside it.
const V1: &[u8] = include_bytes!("fixtures/v1.seg");

fn disk(segment: Vec<u8>) -> Disk {
    let mut image = Image::default();
    image.insert("0000000007.seg", segment);
    Disk::new(image, Lies::default())
}

#[test]
fn version_1_is_read() {
    let archive = Archive::open_in(disk(V1.to_vec())).unwrap();
    let recovery = archive.recovery();
    assert_eq!((recovery.unreadable.len(), recovery.quarantined.len()), (0, 0));
    let [run] = recovery.incarnations.as_slice() else { panic!("{recovery:?}") };
    assert_eq!(run.id, Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));
    assert_eq!((run.first, run.last, run.gaps.len(), run.torn_bytes, run.damaged.len()), (41, 44, 0, 0, 0));
    assert_eq!((run.schema, run.bytes), (3, V1.len() as u64));
    assert_eq!(run.opened_at, UNIX_EPOCH + Duration::from_secs(1_795_392_000));
    let items = read(&mut archive.cursor(run.id, 40).unwrap()).unwrap();
    let all_bytes: Vec<u8> = (0..=255).collect();
    let records: [&[u8]; 4] = [b"", b"greeks", &all_bytes, &[0xFF; 8]];
    let expected: Vec<Item> =
        (41..).zip(records).map(|(seq, bytes)| Item { seq, bytes: Some(bytes.to_vec()) }).collect();
    assert_eq!(items, expected);
}

#[test]
fn a_new_incarnation_follows_an_old_one() {
    let disk = disk(V1.to_vec());
    let (journal, recovery) = Journal::open_in(disk.clone(), options(8)).unwrap();
    assert_eq!(recovery.incarnations[0].bytes, V1.len() as u64 - 64, "zeros at the end are given back");
    journal.append(&["next"]).unwrap();
    drop(journal);
    let now = disk.now();
    assert_eq!(now.names().collect::<Vec<_>>(), ["0000000007.seg", "0000000008.seg"]);
    assert_eq!(now.content("0000000007.seg"), &V1[..V1.len() - 64], "old segments are not written to");
    assert!((now.content("0000000008.seg").len() as u64) < SEGMENT);
}

/// A stamp of a later version, as such a version would write it.
#[test]
fn an_unknown_version_is_refused_and_not_touched() {
    let mut segment = V1.to_vec();
    for stamp in segment[..128].chunks_mut(64) {
        stamp[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let sum = crc32c::crc32c(&stamp[..60]);
        stamp[60..].copy_from_slice(&sum.to_le_bytes());
    }
    let disk = disk(segment.clone());
    let refused = Journal::open_in(disk.clone(), options(8)).unwrap_err();
    assert!(matches!(&refused, Error::UnknownVersion { version: 2, name } if name == "0000000007.seg"), "{refused:?}");
    assert!(matches!(Archive::open_in(disk.clone()), Err(Error::UnknownVersion { .. })));
    assert_eq!(disk.now().content("0000000007.seg"), segment);
    assert_eq!(disk.now().names().count(), 1);
}
