//! Whether single records are refused or nearly everything.

use greeks_model::{Record, Seq};

use super::writer::{WriteError, Writer};
use crate::failure::Failure;

/// A batch of so many records says something about the database.
pub(super) const LARGE: usize = 1_000;

/// Whether the database refuses more than 1 % of a large batch, of which `rest` are not stored. Then the records are not at
/// fault, as after a change of the schema, and keeping them in quarantine would only bury them there. Nothing is stored by
/// looking: everything is rolled back.
pub(super) async fn most_refused(
    writer: &mut Writer,
    batch: usize,
    first: Seq,
    rest: &[Record],
) -> Result<bool, WriteError> {
    let mut refused = 0;
    let mut open = vec![(first, rest)];
    while let Some((first, records)) = open.pop() {
        match writer.probe(first, records).await {
            Ok(()) => continue,
            Err(error) if matches!(error.failure(), Failure::Data | Failure::Internal) && writer.roll_back().await => {}
            Err(error) => return Err(error),
        }
        if records.len() > 1 {
            let (left, right) = records.split_at(records.len() / 2);
            open.push((first.plus(left.len() as u64), right));
            open.push((first, left));
            continue;
        }
        refused += 1;
        if refused * 100 > batch {
            return Ok(true);
        }
    }
    Ok(false)
}
