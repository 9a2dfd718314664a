//! Bytes on disk: stamps and frames. Pure functions; the format itself is described at the crate's root.

use uuid::Uuid;

/// A record is at most this long. Segments of less than 16 MiB hold less: an append is at most half of one.
pub const MAX_RECORD_BYTES: usize = 8 << 20;

/// The version of the format that is written.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const STAMP_BYTES: usize = 64;
/// Where the second stamp is.
pub(crate) const OPENING_AT: u64 = 64;
/// Where the first frame is.
pub(crate) const FRAMES_AT: u64 = 128;
/// What precedes the payload in a frame.
pub(crate) const FRAME_HEAD: usize = 16;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;

/// No record has a higher number. Keeps arithmetic with numbers found on disk from overflowing.
pub(crate) const MAX_SEQ: u64 = u64::MAX >> 1;

const MAGIC: [u8; 8] = *b"grkjrnl\n";
/// The top byte of a frame's first word: tells a frame from zeros and from most other bytes.
const TAG: u32 = 0xA5 << 24;
const LENGTH: u32 = 0x00FF_FFFF;

/// Says what a segment is. Written when the segment is made (`base` 0) and again when its first record is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) incarnation: Uuid,
    /// The number in the file's name.
    pub(crate) number: u64,
    /// The first record of the segment; records of older segments with this number or a higher one do not count.
    pub(crate) base: u64,
    /// The caller's name for the form of its payloads.
    pub(crate) schema: u32,
    /// When the incarnation began, nanoseconds since 1970.
    pub(crate) opened_at: u64,
}

/// What 64 bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StampRead {
    Valid(Stamp),
    /// Intact, of a version this code does not know.
    Unknown(u32),
    /// Never written.
    Blank,
    Damaged,
}

impl Stamp {
    pub(crate) fn encode(&self) -> [u8; STAMP_BYTES] {
        let mut bytes = Vec::with_capacity(STAMP_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(self.schema.to_le_bytes());
        bytes.extend(self.incarnation.as_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.base.to_le_bytes());
        bytes.extend(self.opened_at.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let mut stamp = [0; STAMP_BYTES];
        stamp.copy_from_slice(&bytes);
        stamp
    }

    pub(crate) fn decode(bytes: &[u8; STAMP_BYTES]) -> StampRead {
        if bytes.iter().all(|byte| *byte == 0) {
            return StampRead::Blank;
        }
        let mut rest = Fields(bytes);
        let magic: [u8; 8] = rest.take();
        let version = u32::from_le_bytes(rest.take());
        let stamp = Self {
            schema: u32::from_le_bytes(rest.take()),
            incarnation: Uuid::from_bytes(rest.take()),
            number: u64::from_le_bytes(rest.take()),
            base: u64::from_le_bytes(rest.take()),
            opened_at: u64::from_le_bytes(rest.take()),
        };
        let reserved: [u8; 4] = rest.take();
        let (summed, sum) = bytes.split_at(STAMP_BYTES - 4);
        match (magic == MAGIC && crc32c::crc32c(summed).to_le_bytes() == sum, version, reserved) {
            (false, ..) => StampRead::Damaged,
            (true, FORMAT_VERSION, [0, 0, 0, 0]) => StampRead::Valid(stamp),
            (true, other, _) => StampRead::Unknown(other),
        }
    }
}

/// The first bytes of a frame, taken at their word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) length: usize,
    pub(crate) sum: u32,
    pub(crate) seq: u64,
}

impl FrameHead {
    /// `None` when no frame begins like this.
    pub(crate) fn decode(head: &[u8; FRAME_HEAD]) -> Option<Self> {
        let mut rest = Fields(head);
        let word = u32::from_le_bytes(rest.take());
        let sum = u32::from_le_bytes(rest.take());
        let seq = u64::from_le_bytes(rest.take());
        let length = (word & LENGTH) as usize;
        (word & !LENGTH == TAG && length <= MAX_RECORD_BYTES && (1..=MAX_SEQ).contains(&seq)).then_some(Self {
            length,
            sum,
            seq,
        })
    }
}

/// The length of the frame of a payload this long.
pub(crate) const fn frame_bytes(payload: usize) -> usize {
    (FRAME_HEAD + payload).next_multiple_of(ALIGN)
}

/// The checksum of frames of one segment. It covers where the frame stands, so that it holds at one place only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal(u32);

impl Seal {
    pub(crate) fn new(incarnation: Uuid, number: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(incarnation.as_bytes()), &number.to_le_bytes()))
    }

    /// Adds the frame of `payload`, which will stand at `at`, to `out`.
    pub(crate) fn push(self, out: &mut Vec<u8>, at: u64, seq: u64, payload: &[u8]) {
        let word = TAG | u32::try_from(payload.len()).map_or(LENGTH, |length| length & LENGTH);
        let start = out.len();
        out.extend(word.to_le_bytes());
        out.extend([0; 4]);
        out.extend(seq.to_le_bytes());
        out.extend(payload);
        out.resize(start + frame_bytes(payload.len()), 0);
        let sum = self.sum(at, &out[start..]);
        out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
    }

    /// Whether `frame` is intact and was written to stand at `at`.
    pub(crate) fn holds(self, at: u64, head: FrameHead, frame: &[u8]) -> bool {
        frame.len() == frame_bytes(head.length) && self.sum(at, frame) == head.sum
    }

    fn sum(self, at: u64, frame: &[u8]) -> u32 {
        let (word, rest) = frame.split_at(4);
        let mut place = [0; 12];
        place[..8].copy_from_slice(&at.to_le_bytes());
        place[8..].copy_from_slice(word);
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &place), rest.get(4..).unwrap_or_default())
    }
}

/// Cuts arrays off the front; what is missing reads as zero.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by `v1.py` beside it, which knows the description of the format and nothing of this file.
    const GOLDEN: &[u8] = include_bytes!("../tests/journal/fixtures/v1.seg");

    fn golden_stamp() -> Stamp {
        let incarnation = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        Stamp { incarnation, number: 7, base: 41, schema: 3, opened_at: 1_795_392_000_000_000_000 }
    }

    #[test]
    fn writes_the_golden_segment() {
        let stamp = golden_stamp();
        let seal = Seal::new(stamp.incarnation, stamp.number);
        let mut segment = Stamp { base: 0, ..stamp }.encode().to_vec();
        segment.extend(stamp.encode());
        let all_bytes: Vec<u8> = (0..=255).collect();
        let payloads: [&[u8]; 4] = [b"", b"greeks", &all_bytes, &[0xFF; 8]];
        for (seq, payload) in (41..).zip(payloads) {
            let at = segment.len() as u64;
            seal.push(&mut segment, at, seq, payload);
        }
        segment.extend([0; 64]);
        assert_eq!(segment, GOLDEN);
    }

    #[test]
    fn a_stamp_with_any_bit_flipped_is_damaged() {
        let intact = golden_stamp().encode();
        assert_eq!(Stamp::decode(&intact), StampRead::Valid(golden_stamp()));
        for bit in 0..STAMP_BYTES * 8 {
            let mut stamp = intact;
            stamp[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::decode(&stamp), StampRead::Damaged, "bit {bit}");
        }
        assert_eq!(Stamp::decode(&[0; STAMP_BYTES]), StampRead::Blank);
    }

    #[test]
    fn a_stamp_of_another_version_is_told_from_damage() {
        let mut stamp = golden_stamp().encode();
        stamp[8] = 2;
        let sum = crc32c::crc32c(&stamp[..60]);
        stamp[60..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Stamp::decode(&stamp), StampRead::Unknown(2));
    }

    proptest! {
        #[test]
        fn a_frame_holds_in_its_place_only(
            payload in prop::collection::vec(any::<u8>(), 0..2000),
            seq in 1..=MAX_SEQ,
            at in (0_u64..1 << 40).prop_map(|at| at * 8),
            before in prop::collection::vec(any::<u8>(), 0..50),
            bit in any::<prop::sample::Index>(),
        ) {
            let (incarnation, number) = (Uuid::from_u128(1), 1);
            let seal = Seal::new(incarnation, number);
            let mut out = before.clone();
            seal.push(&mut out, at, seq, &payload);
            prop_assert_eq!(&out[..before.len()], &before);
            let frame = &mut out[before.len()..];
            prop_assert_eq!(frame.len(), frame_bytes(payload.len()));
            let decode = |frame: &[u8]| FrameHead::decode(frame.first_chunk().unwrap());
            let head = decode(frame).unwrap();
            prop_assert_eq!((head.length, head.seq), (payload.len(), seq));
            prop_assert_eq!(&frame[FRAME_HEAD..][..payload.len()], &payload);
            prop_assert!(seal.holds(at, head, frame));
            prop_assert!(!seal.holds(at + 8, head, frame));
            prop_assert!(!Seal::new(incarnation, number + 1).holds(at, head, frame));
            prop_assert!(!Seal::new(Uuid::from_u128(2), number).holds(at, head, frame));
            let bit = bit.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            let damaged = decode(frame).is_some_and(|head| seal.holds(at, head, frame));
            prop_assert!(!damaged, "bit {} of the frame can flip unnoticed", bit);
        }
    }
}
