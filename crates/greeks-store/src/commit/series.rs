//! Ids of series. They are looked up first and made only where missing, because a refused INSERT burns an id; they are
//! made in a transaction of their own, so that an id once known is known for good, whatever becomes of the rows.
//!
//! The underlying is no part of the key: a row of `series` keeps the one it was made with, also when a source names another
//! one later. The stored minutes of the book are sums by underlying, of all its past: what they were made of is not changed
//! behind them, and the role that stores rows has no right to. That the two differ is told; `migrations/README.md` has what
//! the owner of the tables does about it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use greeks_model::jiff::civil::Date;
use greeks_model::{BySeries, Decimal, Series};
use tokio_postgres::{Client, Error};

const SELECT: &str = "SELECT k.n, s.series_id, s.underlying \
    FROM unnest($1::text[], $2::text[], $3::text[], $4::numeric[]) \
         WITH ORDINALITY AS k(broker, account_id, contract_key, multiplier, n) \
    JOIN series s USING (broker, account_id, contract_key, multiplier)";

const INSERT: &str = "INSERT INTO series \
    (broker, account_id, contract_key, multiplier, underlying, expiration, strike, option_type) \
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::numeric[], $5::text[], $6::date[], $7::numeric[], \
                         $8::text[]) \
    ON CONFLICT (broker, account_id, contract_key, multiplier) DO NOTHING";

/// More than a large book has.
const NEAR: usize = 16_384;

/// The ids known to be in the database.
#[derive(Debug)]
pub(super) struct SeriesIds {
    ids: HashMap<Arc<Series>, i32>,
    /// Of those that rows are of; it saves hashing a series whole, twice a row.
    near: BySeries<i32>,
}

impl Default for SeriesIds {
    fn default() -> Self {
        Self { ids: HashMap::new(), near: BySeries::new(NEAR) }
    }
}

impl SeriesIds {
    pub(super) fn get(&self, series: &Arc<Series>) -> Option<i32> {
        self.near.get(series).or_else(|| self.ids.get(series)).copied()
    }

    /// Whether its id is known, which is then found fast.
    fn knows(&mut self, series: &Arc<Series>) -> bool {
        if self.near.get(series).is_some() {
            return true;
        }
        let Some(id) = self.ids.get(series) else { return false };
        self.near.insert(series, *id);
        true
    }

    /// Makes every one of `series` known.
    pub(super) async fn resolve<'a>(
        &mut self,
        client: &Client,
        series: impl Iterator<Item = &'a Arc<Series>>,
    ) -> Result<(), Error> {
        // In the order of their rows: where two differ in the underlying alone, the first one stays.
        let mut seen = HashSet::new();
        let missing: Vec<&Arc<Series>> = series.filter(|series| !self.knows(series) && seen.insert(*series)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = self.look_up(client, &missing).await?;
        if missing.is_empty() {
            return Ok(());
        }
        insert(client, &missing).await?;
        self.look_up(client, &missing).await?;
        Ok(())
    }

    /// Adds those that are there, returns the others.
    async fn look_up<'a>(
        &mut self,
        client: &Client,
        wanted: &[&'a Arc<Series>],
    ) -> Result<Vec<&'a Arc<Series>>, Error> {
        let keys = Keys::of(wanted);
        let rows = client.query(SELECT, &[&keys.brokers, &keys.accounts, &keys.contracts, &keys.multipliers]).await?;
        for row in rows {
            let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            if let Some(series) = wanted.get(place) {
                self.ids.insert(Arc::clone(series), row.get(1));
                tell_difference(series, row.get(1), row.get(2));
            }
        }
        Ok(wanted.iter().copied().filter(|series| !self.ids.contains_key(*series)).collect())
    }
}

/// Each is looked up once for a connection: nobody is told of it with every row.
fn tell_difference(series: &Series, series_id: i32, stored: &str) {
    if stored != &*series.underlying {
        let (contract, named) = (series.contract.to_string(), &*series.underlying);
        tracing::warn!(contract, named, stored, series_id, "rows are stored under the underlying that came first");
    }
}

async fn insert(client: &Client, series: &[&Arc<Series>]) -> Result<(), Error> {
    let keys = Keys::of(series);
    let underlyings: Vec<&str> = series.iter().map(|series| &*series.underlying).collect();
    let expirations: Vec<Date> = series.iter().map(|series| series.contract.expiration()).collect();
    let strikes: Vec<Decimal> = series.iter().map(|series| series.contract.strike()).collect();
    let types: Vec<String> = series.iter().map(|series| series.contract.option_type().to_string()).collect();
    fail_point!("series.before_insert");
    let made = client
        .execute(
            INSERT,
            &[
                &keys.brokers,
                &keys.accounts,
                &keys.contracts,
                &keys.multipliers,
                &underlyings,
                &expirations,
                &strikes,
                &types,
            ],
        )
        .await?;
    tracing::debug!(made, "series added");
    Ok(())
}

/// The unique key, one column each.
struct Keys<'a> {
    brokers: Vec<&'a str>,
    accounts: Vec<&'a str>,
    contracts: Vec<String>,
    multipliers: Vec<Decimal>,
}

impl<'a> Keys<'a> {
    fn of(series: &[&'a Arc<Series>]) -> Self {
        Self {
            brokers: series.iter().map(|series| series.broker.as_str()).collect(),
            accounts: series.iter().map(|series| series.account_id.as_str()).collect(),
            contracts: series.iter().map(|series| series.contract.to_string()).collect(),
            multipliers: series.iter().map(|series| series.multiplier).collect(),
        }
    }
}
