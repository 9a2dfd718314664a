//! Which minutes of the book say something else once a record is stored.
//!
//! A value counts for its minute and the quarter of an hour behind it, and a change of what is held for all that follow. A
//! gap says of the minutes that lie in it wholly that nothing was heard; it may become longer, shorter or closed when it is
//! told once more, and only what that makes different is touched.

use std::collections::BTreeMap;

use greeks_model::UnixNanos;
use jiff::Timestamp;
use tokio_postgres::{Client, Error};

use super::rows::Parts;

/// Seconds of a minute; and what a value counts for beside the minute it falls in, as in `v_portfolio_1m`.
pub(super) const MINUTE: i64 = 60;
pub(super) const CARRIED: i64 = 15;

/// The last minute of these gaps, as far as they are known; NULL of one that is open.
const KNOWN: &str = "SELECT told.n::bigint, floor(extract(epoch FROM nullif(g.gap_to, 'infinity')) / 60)::bigint \
    FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS told(source, kind, gap_from, n) \
    JOIN ingest_gaps g USING (source, kind, gap_from)";

/// A stretch of minutes since 1970, the end not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stretch {
    pub(super) since: i64,
    pub(super) until: i64,
}

/// The first minute that any of them may touch.
pub(super) fn earliest(parts: &Parts<'_>) -> Option<i64> {
    let ticks = parts.ticks.iter().map(|(_, tick)| tick.event_time);
    let positions = parts.positions.iter().map(|(_, record)| record.observed_at);
    let gaps = parts.gaps.iter().map(|(_, gap)| gap.from);
    let sheds = parts.shed.iter().map(|(_, shed)| shed.from);
    ticks.chain(positions).chain(gaps).chain(sheds).min().map(minute)
}

/// What values and positions touch.
pub(super) fn by_rows(parts: &Parts<'_>) -> Vec<Stretch> {
    let values = parts.ticks.iter().map(|(_, tick)| minute(tick.event_time));
    let values = values.map(|since| Stretch { since, until: since + 1 + CARRIED });
    let held = parts.positions.iter().map(|(_, record)| minute(record.observed_at));
    values.chain(held.map(|since| Stretch { since, until: i64::MAX })).collect()
}

/// What gaps and sheds touch, given what is stored of them already; of those alone that begin where it matters.
pub(super) async fn by_gaps(
    client: &Client,
    parts: &Parts<'_>,
    matters: impl Fn(i64) -> bool,
) -> Result<Vec<Stretch>, Error> {
    let gaps = parts.gaps.iter().map(|(_, gap)| ((gap.source.as_str(), "gap", gap.from.as_micros()), gap.to));
    let sheds =
        parts.shed.iter().map(|(_, shed)| ((shed.source.as_str(), "shed", shed.from.as_micros()), Some(shed.to)));
    // Of what is said of the same one the last end holds: to state one that is closed as open does not open it.
    let mut told = BTreeMap::<_, Option<i64>>::new();
    for (key, to) in gaps.chain(sheds) {
        let last = told.entry(key).or_default();
        *last = to.map(minute).or(*last);
    }
    told.retain(|(.., from), _| matters(minute(UnixNanos::from_micros(*from))));
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let sources: Vec<&str> = told.keys().map(|(source, ..)| *source).collect();
    let kinds: Vec<&str> = told.keys().map(|(_, kind, _)| *kind).collect();
    let from: Vec<Timestamp> = told.keys().map(|(.., from)| UnixNanos::from_micros(*from).to_timestamp()).collect();
    let rows = client.query(KNOWN, &[&sources, &kinds, &from]).await?;
    let known: BTreeMap<i64, Option<i64>> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let each = (1..).zip(&told);
    let touched = each.filter_map(|(n, ((.., from), to))| {
        changed(minute(UnixNanos::from_micros(*from)), known.get(&n).copied(), *to)
    });
    Ok(touched.collect())
}

/// The minutes that lie in a gap from `from` on, and did not in what is known of it; or the other way round. `None` as an
/// end says that it is open.
fn changed(from: i64, known: Option<Option<i64>>, to: Option<i64>) -> Option<Stretch> {
    let stretch = match (known, to) {
        (None, None) => Stretch { since: from, until: i64::MAX },
        (None, Some(to)) => Stretch { since: from, until: to.saturating_add(1) },
        (Some(_), None) => return None,
        (Some(None), Some(to)) => Stretch { since: to.max(from), until: i64::MAX },
        (Some(Some(before)), Some(to)) => {
            Stretch { since: before.min(to).max(from), until: before.max(to).saturating_add(1) }
        }
    };
    (stretch.since < stretch.until).then_some(stretch)
}

/// The minute since 1970 in which this lies.
fn minute(at: UnixNanos) -> i64 {
    at.as_nanos().div_euclid(MINUTE * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_gap_only_what_becomes_different_is_touched() {
        for (known, to, touched) in [
            (None, None, Some((10, i64::MAX))),
            (None, Some(13), Some((10, 14))),
            // It begins and ends within a minute.
            (None, Some(10), Some((10, 11))),
            // It ends before it begins, as after a clock was set back: it says nothing.
            (None, Some(8), None),
            (Some(None), None, None),
            (Some(Some(13)), None, None),
            (Some(None), Some(13), Some((13, i64::MAX))),
            (Some(Some(13)), Some(20), Some((13, 21))),
            (Some(Some(20)), Some(13), Some((13, 21))),
            (Some(Some(13)), Some(13), Some((13, 14))),
        ] {
            let touched = touched.map(|(since, until)| Stretch { since, until });
            assert_eq!(changed(10, known, to), touched, "{known:?}, {to:?}");
        }
    }
}
