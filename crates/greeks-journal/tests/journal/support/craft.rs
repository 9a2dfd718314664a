//! Segments put together by hand, possible and impossible ones.

use uuid::Uuid;

pub fn stamp(incarnation: Uuid, number: u64, base: u64) -> Vec<u8> {
    let mut bytes = b"grkjrnl\n".to_vec();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(incarnation.as_bytes());
    for field in [number, base, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// A segment with both stamps and these records.
pub fn segment(incarnation: Uuid, number: u64, base: u64, records: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut segment = [stamp(incarnation, number, 0), stamp(incarnation, number, base)].concat();
    for (seq, payload) in records {
        let word = (0xA500_0000 | payload.len() as u32).to_le_bytes();
        let mut rest = [&seq.to_le_bytes()[..], payload].concat();
        rest.resize(rest.len().next_multiple_of(8), 0);
        let at = (segment.len() as u64).to_le_bytes();
        let summed = [incarnation.as_bytes(), &number.to_le_bytes()[..], &at, &word, &rest].concat();
        segment.extend(word);
        segment.extend(crc32c::crc32c(&summed).to_le_bytes());
        segment.extend(rest);
    }
    segment
}

/// The name of a segment's file.
pub fn name(number: u64) -> String {
    format!("{number:010}.seg")
}
