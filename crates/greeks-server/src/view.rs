//! The book as JSON.
use greeks_model::UnixNanos;
use greeks_processor::book::LiveBook;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// G
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy { /// u
 #[default] Underlying, Expiry, Account, Broker }

/// S
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotEvent { pub(crate) version: u64, #[schema(value_type = crate::status::StatusDocument)] status: Box<RawValue> }
/// D
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeltaEvent { pub(crate) version: u64, since: u64 }

pub(crate) fn snapshot(book: &LiveBook, _g: GroupBy, status: &RawValue, _now: UnixNanos) -> SnapshotEvent { SnapshotEvent { version: book.version(), status: status.to_owned() } }
pub(crate) fn delta(book: &LiveBook, since: u64, _now: UnixNanos) -> Option<DeltaEvent> { let version = book.version(); (since <= version).then_some(DeltaEvent { version, since }) }
