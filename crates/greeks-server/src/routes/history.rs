//! A figure of the book over time.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use greeks_store::{GapRow, HistoryFilter, Metric};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Shared;
use crate::extract::{Params, Word, check_stretch};
use crate::problem::Problem;
use crate::status::Time;

const DAY: Duration = Duration::from_secs(86_400);

/// Steps that a stretch is divided into when none is asked for, in seconds.
const STEPS: [u64; 7] = [60, 300, 900, 3_600, 14_400, 86_400, 604_800];

/// The most points when no step is asked for.
const COMFORTABLE: u64 = 500;

/// Which figure, from when to when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryParams {
    /// The figure.
    #[param(inline)]
    metric: MetricName,
    /// The first bucket holds this moment; a day before `to` unless given.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// The last bucket begins before this moment; now unless given.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
    /// The length of a bucket in seconds; one that gives up to 500 unless given. At most 3,000 buckets. One of up to 16 whole
    /// minutes shows its last minute, a longer one its last values.
    #[param(minimum = 1)]
    step: Option<u32>,
    /// How much older than what the bucket shows a value may be, in seconds; 900 unless given, which is what is stored by the
    /// minute and answers soonest.
    #[param(minimum = 0, maximum = 604_800)]
    lookback: Option<u32>,
    /// The broker.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    broker: Option<Word>,
    /// The account as the broker writes it.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    account_id: Option<Word>,
    /// The contract.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    contract_key: Option<Word>,
    /// The underlying.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    underlying: Option<Word>,
}

/// A position-signed figure: value x quantity x multiplier, summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetricName {
    /// Units of the underlying.
    Delta,
    /// Money: delta x price of the underlying.
    DeltaDollars,
    /// Money: change of delta dollars when the underlying moves by 1 %.
    #[serde(rename = "gamma_1pct")]
    Gamma1Pct,
    /// Money per calendar day.
    Theta,
    /// Money per 1 volatility point.
    Vega,
}

impl From<MetricName> for Metric {
    fn from(name: MetricName) -> Self {
        match name {
            MetricName::Delta => Self::Delta,
            MetricName::DeltaDollars => Self::DeltaDollars,
            MetricName::Gamma1Pct => Self::Gamma1Pct,
            MetricName::Theta => Self::Theta,
            MetricName::Vega => Self::Vega,
        }
    }
}

/// A figure over time, and what could not be seen of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryDocument {
    metric: MetricName,
    /// The length of a bucket.
    step_seconds: u32,
    /// In the order of time.
    points: Vec<PointDocument>,
    /// Gaps that touch the stretch, newest first, at most 1,000.
    gaps: Vec<GapDocument>,
}

/// What was held at the end of one bucket, or is now in the one that still runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PointDocument {
    /// Where the bucket begins.
    at: Time,
    /// The sum; null where nothing is known.
    value: Option<f64>,
    /// Lines in the sum.
    covered: u32,
    /// Lines held: when fewer are covered the value is that of a part.
    held: u32,
}

/// A stretch that could not be received or kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapDocument {
    /// Whose values are missing; `journal` where that cannot be told any more.
    source: String,
    /// `gap`: could not be received; `shed`: was received and could not be kept.
    kind: String,
    /// Up to when the stream was whole.
    from: Time,
    /// When it was whole again; null while that is not known.
    to: Option<Time>,
    /// Why.
    reason: String,
    /// How many events are missing, where that is known.
    events: Option<u64>,
}

/// A figure of the book over time, in buckets; gaps are told, not filled.
#[utoipa::path(get, path = "/v1/history", tag = "portfolio", params(HistoryParams), responses(
    (status = 200, description = "The figure.", body = HistoryDocument),
    (status = 503, description = "The database does not answer.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn history(
    State(shared): State<Arc<Shared>>,
    Params(params): Params<HistoryParams>,
) -> Result<Json<HistoryDocument>, Problem> {
    let to = params.to.unwrap_or(Time(shared.now()));
    let from = params.from.unwrap_or(Time(before(to.0, DAY)));
    check_stretch(Some(from), Some(to))?;
    let step_seconds = params.step.unwrap_or_else(|| comfortable(to.0.saturating_since(from.0)));
    let step = Duration::from_secs(step_seconds.into());
    let mut filter = HistoryFilter::new(params.metric.into(), from.0, to.0, step);
    if let Some(lookback) = params.lookback {
        filter.lookback = Duration::from_secs(lookback.into());
    }
    filter.broker = params.broker.map(|word| word.0);
    filter.account_id = params.account_id.map(|word| word.0);
    filter.contract_key = params.contract_key.map(|word| word.0);
    filter.underlying = params.underlying.map(|word| word.0);
    let history = shared.ask(shared.api.queries.history(&filter)).await?;
    let points = history.points.iter().map(|point| PointDocument {
        at: Time(point.at),
        value: point.value,
        covered: point.covered,
        held: point.held,
    });
    let gaps = history.gaps.into_iter().map(GapDocument::from).collect();
    Ok(Json(HistoryDocument { metric: params.metric, step_seconds, points: points.collect(), gaps }))
}

fn before(at: greeks_model::UnixNanos, by: Duration) -> greeks_model::UnixNanos {
    let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    greeks_model::UnixNanos::from_nanos(at.as_nanos().saturating_sub(by))
}

/// A step that divides the stretch into few enough points to look at.
fn comfortable(stretch: Duration) -> u32 {
    let fits = |step: &&u64| stretch.as_secs() / **step <= COMFORTABLE;
    let step = STEPS.iter().find(fits).copied().unwrap_or(stretch.as_secs() / COMFORTABLE);
    u32::try_from(step).unwrap_or(u32::MAX)
}

impl From<GapRow> for GapDocument {
    fn from(gap: GapRow) -> Self {
        Self {
            source: gap.source,
            kind: gap.kind,
            from: Time(gap.from),
            to: gap.to.map(Time),
            reason: gap.reason,
            events: gap.events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_fit_their_stretch() {
        for (stretch, step) in
            [(0, 60), (60 * 501, 300), (86_400, 300), (86_400 * 30, 14_400), (86_400 * 36_500, 6_307_200)]
        {
            assert_eq!(comfortable(Duration::from_secs(stretch)), step, "{stretch}");
        }
    }

    #[test]
    fn every_metric_has_its_name() {
        for metric in Metric::ALL {
            let name: MetricName = serde_json::from_value(metric.as_str().into()).unwrap();
            assert_eq!(Metric::from(name), metric);
        }
    }
}
