//! The strategy log.

use std::fmt;
use std::str::FromStr;

use greeks_model::jiff::Timestamp;
use greeks_model::{Decimal, UnixNanos, Uuid};
use serde_json::Value;
use tokio_postgres::Row;

use super::filter::InvalidCursor;
use super::new_trade::{InvalidTrade, NewTrade};
use super::pool::{Queries, QueryError};

/// The columns of a [`Trade`].
const COLUMNS: &str =
    "id, created_at, broker, account_id, symbol, contract_key, action, quantity, price, strategy_tag, metadata";

const ADD: &str = "INSERT INTO trades (id, broker, account_id, symbol, contract_key, action, quantity, price, \
    strategy_tag, metadata) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING";

/// Whether what stands there is what would have been added: numbers by their value, JSON by what it says.
const ADDED: &str = "(broker, account_id, symbol, action, quantity) = ($2, $3, $4, $6, $7) \
    AND contract_key IS NOT DISTINCT FROM $5 AND price IS NOT DISTINCT FROM $8 \
    AND strategy_tag IS NOT DISTINCT FROM $9 AND metadata IS NOT DISTINCT FROM $10 FROM trades WHERE id = $1";

/// Behind the cursor, newest first.
const LIST: &str = "FROM trades WHERE ($1::text IS NULL OR broker = $1) AND ($2::text IS NULL OR account_id = $2) \
    AND ($3::text IS NULL OR contract_key = $3) AND ($4::text IS NULL OR strategy_tag = $4) \
    AND ($5::timestamptz IS NULL OR created_at >= $5) AND ($6::timestamptz IS NULL OR created_at < $6) \
    AND ($7::timestamptz IS NULL OR (created_at, id) < ($7, $8::uuid)) \
    ORDER BY created_at DESC, id DESC LIMIT $9";

/// One row of `trades`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Trade {
    /// Given by whoever added it, else drawn.
    pub id: Uuid,
    /// When it was added, by the database's clock.
    pub created_at: UnixNanos,
    /// The broker.
    pub broker: String,
    /// The account as the broker writes it.
    pub account_id: String,
    /// As the writer calls it.
    pub symbol: String,
    /// The contract, where the trade is in an option.
    pub contract_key: Option<String>,
    /// What was done, in the writer's words.
    pub action: String,
    /// Contracts, negative when sold.
    pub quantity: Decimal,
    /// Per unit, without the multiplier.
    pub price: Option<Decimal>,
    /// The strategy it belongs to.
    pub strategy_tag: Option<String>,
    /// Whatever the writer wants to keep with it.
    pub metadata: Option<Value>,
}

/// Which trades; what is `None` does not restrict. The default is the newest 100 of all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TradeFilter {
    /// The broker.
    pub broker: Option<String>,
    /// The account, as the broker writes it.
    pub account_id: Option<String>,
    /// The contract.
    pub contract_key: Option<String>,
    /// The strategy.
    pub strategy_tag: Option<String>,
    /// Added from this on.
    pub from: Option<UnixNanos>,
    /// Added before this.
    pub to: Option<UnixNanos>,
    /// At most so many, 1 to [`TradeFilter::MAX_LIMIT`].
    pub limit: u32,
    /// Go on after this trade, as told by [`TradePage::next`].
    pub cursor: Option<TradeCursor>,
}

impl TradeFilter {
    /// The most trades of one page.
    pub const MAX_LIMIT: u32 = 1_000;
}

impl Default for TradeFilter {
    fn default() -> Self {
        Self {
            broker: None,
            account_id: None,
            contract_key: None,
            strategy_tag: None,
            from: None,
            to: None,
            limit: 100,
            cursor: None,
        }
    }
}

/// Some trades, newest first.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TradePage {
    /// The trades.
    pub trades: Vec<Trade>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<TradeCursor>,
}

/// A place in the order newest first; opaque text outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TradeCursor {
    created_at_micros: i64,
    id: Uuid,
}

impl fmt::Display for TradeCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_at_micros, self.id)
    }
}

impl FromStr for TradeCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (time, id) = text.split_once('.').ok_or(InvalidCursor)?;
        let created_at_micros = time.parse().map_err(|_| InvalidCursor)?;
        Ok(Self { created_at_micros, id: id.parse().map_err(|_| InvalidCursor)? })
    }
}

impl Queries {
    /// Adds a trade. One whose id is there already is not added again, so a client that has had no answer may ask once
    /// more; what stands there is returned.
    ///
    /// # Errors
    /// [`QueryError::Trade`] when it is not fit to be stored, or another trade has its id; [`QueryError::NotAllowed`] when
    /// the user of the database may not add trades.
    ///
    /// # Cancel safety
    /// Whether the trade is added after the future was dropped is not known: give it an id, and add it again.
    pub async fn add_trade(&self, new: &NewTrade) -> Result<Trade, QueryError> {
        new.check()?;
        // Drawn here: a statement that is sent again over another connection must not add it twice.
        let id = new.id.unwrap_or_else(Uuid::new_v4);
        let NewTrade { broker, account_id, symbol, contract_key, action, quantity, price, .. } = new;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 10] =
            [&id, broker, account_id, symbol, contract_key, action, quantity, price, &new.strategy_tag, &new.metadata];
        self.rows(ADD, &params).await.map_err(|error| match error {
            QueryError::NotAllowed { source, .. } => {
                QueryError::NotAllowed { what: "add trades (GRANT INSERT, SELECT ON trades)", source }
            }
            other => other,
        })?;
        let rows = self.rows(&format!("SELECT {COLUMNS}, {ADDED}"), &params).await?;
        // Nothing but another client's DELETE can have come between.
        let row = rows.first().ok_or(InvalidTrade::IdTaken { id })?;
        if row.try_get::<_, Option<bool>>(11)? != Some(true) {
            return Err(InvalidTrade::IdTaken { id }.into());
        }
        Ok(Trade::read(row)?)
    }

    /// Trades newest first.
    ///
    /// # Errors
    /// [`QueryError`] when the database does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question and nothing else.
    pub async fn trades(&self, filter: &TradeFilter) -> Result<TradePage, QueryError> {
        let limit = filter.limit.clamp(1, TradeFilter::MAX_LIMIT);
        // One more than asked for tells whether there is a next page.
        let fetch = i64::from(limit) + 1;
        let TradeFilter { broker, account_id, contract_key, strategy_tag, .. } = filter;
        let [from, to] = [filter.from, filter.to].map(|time| time.map(|time| micros(time.as_micros())));
        let behind = filter.cursor.map(|cursor| micros(cursor.created_at_micros));
        let id = filter.cursor.map(|cursor| cursor.id);
        let rows = self
            .rows(
                &format!("SELECT {COLUMNS} {LIST}"),
                &[broker, account_id, contract_key, strategy_tag, &from, &to, &behind, &id, &fetch],
            )
            .await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let trades: Vec<Trade> = rows.iter().take(limit).map(Trade::read).collect::<Result<_, _>>()?;
        let next = trades.last().filter(|_| rows.len() > limit).map(Trade::cursor);
        Ok(TradePage { trades, next })
    }
}

impl Trade {
    /// The trade's place in the order newest first.
    pub fn cursor(&self) -> TradeCursor {
        TradeCursor { created_at_micros: self.created_at.as_micros(), id: self.id }
    }

    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: row.try_get(0)?,
            created_at: row.try_get(1).map(UnixNanos::from_timestamp)?,
            broker: row.try_get(2)?,
            account_id: row.try_get(3)?,
            symbol: row.try_get(4)?,
            contract_key: row.try_get(5)?,
            action: row.try_get(6)?,
            quantity: row.try_get(7)?,
            price: row.try_get(8)?,
            strategy_tag: row.try_get(9)?,
            metadata: row.try_get(10)?,
        })
    }
}

fn micros(micros: i64) -> Timestamp {
    UnixNanos::from_micros(micros).to_timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_does() {
        let cursor = TradeCursor { created_at_micros: -5, id: Uuid::from_u128(7) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1", "1.2", "1.2.3", "x.00000000-0000-0000-0000-000000000007"] {
            assert_eq!(text.parse::<TradeCursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
