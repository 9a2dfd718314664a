//! The strategy log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use greeks_model::Decimal;
use greeks_store::{InvalidCursor, NewTrade, Trade, TradeFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::Shared;
use crate::extract::{JsonBody, Nothing, Params, Word, check_stretch};
use crate::line::number;
use crate::problem::Problem;
use crate::status::Time;

/// Which trades.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TradeParams {
    /// The broker.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    broker: Option<Word>,
    /// The account as the broker writes it.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    account_id: Option<Word>,
    /// The contract.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    contract_key: Option<Word>,
    /// The strategy.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    strategy_tag: Option<Word>,
    /// Added from this on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// Added before this.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
    /// At most so many.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 1_000, default = 100, required = false)]
    limit: u32,
    /// `next_cursor` of the page before.
    #[param(pattern = "^-?[0-9]{1,18}\\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    cursor: Option<String>,
}

fn default_limit() -> u32 {
    TradeFilter::default().limit
}

/// A trade to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTradeDocument {
    /// Makes adding it twice the same as adding it once; drawn unless given.
    #[schema(value_type = Option<String>, format = "uuid")]
    id: Option<String>,
    /// The broker.
    #[schema(min_length = 1, max_length = 32, pattern = "^[a-z0-9_-]+$")]
    broker: String,
    /// As the broker writes it.
    #[schema(min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
    account_id: String,
    /// As you call it.
    #[schema(min_length = 1, max_length = 64)]
    symbol: String,
    /// The contract, where the trade is in an option.
    contract_key: Option<String>,
    /// What was done, in your words.
    #[schema(min_length = 1, max_length = 64)]
    action: String,
    /// Contracts, negative when sold; not 0.
    #[schema(value_type = f64)]
    quantity: serde_json::Number,
    /// Per unit, without the multiplier; negative for a credit.
    #[schema(value_type = Option<f64>)]
    price: Option<serde_json::Number>,
    /// The strategy it belongs to.
    #[schema(min_length = 1, max_length = 64)]
    strategy_tag: Option<String>,
    /// Whatever you want to keep with it, up to 16 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
}

/// A trade in the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TradeDocument {
    #[schema(value_type = String, format = "uuid")]
    id: String,
    /// When it was added, by the database's clock.
    created_at: Time,
    broker: String,
    /// As the broker writes it.
    account_id: String,
    symbol: String,
    contract_key: Option<String>,
    action: String,
    /// Contracts, negative when sold.
    quantity: f64,
    /// Per unit, without the multiplier.
    price: Option<f64>,
    strategy_tag: Option<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
}

/// Some trades, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TradesDocument {
    trades: Vec<TradeDocument>,
    /// Where the next page begins; null after the last one.
    next_cursor: Option<String>,
}

/// Trades in the log, newest first.
#[utoipa::path(get, path = "/v1/trades", tag = "trades", params(TradeParams), responses(
    (status = 200, description = "A page of trades.", body = TradesDocument),
    (status = 503, description = "The database does not answer.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Params(params): Params<TradeParams>,
) -> Result<Json<TradesDocument>, Problem> {
    check_stretch(params.from, params.to)?;
    if !(1..=TradeFilter::MAX_LIMIT).contains(&params.limit) {
        return Err(Problem::bad_request(format!("limit is 1 to {}", TradeFilter::MAX_LIMIT)));
    }
    let cursor = params.cursor.map(|text| text.parse()).transpose();
    let mut filter = TradeFilter::default();
    filter.cursor = cursor.map_err(|error: InvalidCursor| Problem::bad_request(error.to_string()))?;
    filter.broker = params.broker.map(|word| word.0);
    filter.account_id = params.account_id.map(|word| word.0);
    filter.contract_key = params.contract_key.map(|word| word.0);
    filter.strategy_tag = params.strategy_tag.map(|word| word.0);
    filter.from = params.from.map(|at| at.0);
    filter.to = params.to.map(|at| at.0);
    filter.limit = params.limit;
    let page = shared.ask(shared.api.queries.trades(&filter)).await?;
    let next_cursor = page.next.map(|cursor| cursor.to_string());
    Ok(Json(TradesDocument { trades: page.trades.into_iter().map(TradeDocument::from).collect(), next_cursor }))
}

/// Adds a trade. One whose id is there already with the same values is not added again.
#[utoipa::path(post, path = "/v1/trades", tag = "trades", request_body = NewTradeDocument, responses(
    (status = 201, description = "The trade as it stands in the log.", body = TradeDocument),
    (status = 409, description = "Another trade has this id.", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database does not answer; with an id, send it again.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn add(
    State(shared): State<Arc<Shared>>,
    Params(Nothing {}): Params<Nothing>,
    JsonBody(document): JsonBody<NewTradeDocument>,
) -> Result<(StatusCode, Json<TradeDocument>), Problem> {
    let trade = document.into_trade()?;
    let added = shared.ask(shared.api.queries.add_trade(&trade)).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

impl NewTradeDocument {
    fn into_trade(self) -> Result<NewTrade, Problem> {
        let quantity = exact("quantity", &self.quantity)?;
        let mut trade = NewTrade::new(&self.broker, &self.account_id, &self.symbol, &self.action, quantity);
        let id = self.id.map(|text| Uuid::parse_str(&text)).transpose();
        trade.id = id.map_err(|_| Problem::unprocessable("id is no UUID"))?;
        trade.contract_key = self.contract_key;
        trade.price = self.price.map(|price| exact("price", &price)).transpose()?;
        trade.strategy_tag = self.strategy_tag;
        trade.metadata = self.metadata;
        Ok(trade)
    }
}

/// The decimal that a number is written as.
fn exact(field: &str, number: &serde_json::Number) -> Result<Decimal, Problem> {
    let text = number.to_string();
    let decimal =
        if text.contains(['e', 'E']) { Decimal::from_scientific(&text) } else { Decimal::from_str_exact(&text) };
    decimal.map_err(|_| Problem::unprocessable(format!("{field} has more digits than can be kept")))
}

impl From<Trade> for TradeDocument {
    fn from(trade: Trade) -> Self {
        Self {
            id: trade.id.to_string(),
            created_at: Time(trade.created_at),
            broker: trade.broker,
            account_id: trade.account_id,
            symbol: trade.symbol,
            contract_key: trade.contract_key,
            action: trade.action,
            quantity: number(trade.quantity),
            price: trade.price.map(number),
            strategy_tag: trade.strategy_tag,
            metadata: trade.metadata,
        }
    }
}
