//! Accounts and their positions.

use broker_net::json::{decimal, double, plain};
use greeks_model::{AccountId, Decimal};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Rest, body};
use crate::Error;

const ACCOUNTS: &str = "GET /customers/me/accounts";
const POSITIONS: &str = "GET /accounts/{account}/positions";
/// Positions come in one page today; if they ever do not, none may be missed, and none of a hostile answer's million.
const MOST_PAGES: u64 = 50;

/// An open position in an option, as the broker describes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PositionRow {
    pub(crate) on_future: bool,
    pub(crate) symbol: String,
    pub(crate) underlying_symbol: String,
    pub(crate) streamer_symbol: Option<String>,
    /// Contracts, negative when short; NaN when the broker's answer does not tell, so that the position does not read as
    /// closed.
    pub(crate) quantity: f64,
    pub(crate) multiplier: Decimal,
}

/// The open option positions of one account.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Positions {
    pub(crate) rows: Vec<PositionRow>,
    /// What could not be understood, or not fully: the symbol, if there is one, and why.
    pub(crate) skipped: Vec<(String, &'static str)>,
}

impl Rest {
    /// The customer's open accounts.
    pub(crate) async fn accounts(&self) -> Result<Vec<AccountId>, Error> {
        let body = self.get(ACCOUNTS, &["customers", "me", "accounts"], &[]).await?;
        read_accounts(&body)
    }

    /// The open option positions of one account: all of them or an error.
    pub(crate) async fn positions(&self, account: &AccountId) -> Result<Positions, Error> {
        let path = ["accounts", account.as_str(), "positions"];
        let mut found = Positions::default();
        let mut page = 0;
        loop {
            let offset = page.to_string();
            let query: &[(&str, &str)] = if page == 0 { &[] } else { &[("page-offset", &offset)] };
            let body = self.get(POSITIONS, &path, query).await?;
            let pages = read_positions(&body, &mut found)?;
            page += 1;
            if page >= pages.min(MOST_PAGES) {
                return Ok(found);
            }
        }
    }
}

fn read_accounts(body: &[u8]) -> Result<Vec<AccountId>, Error> {
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow)]
        account: Account<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Account<'a> {
        #[serde(borrow)]
        account_number: &'a RawValue,
        #[serde(borrow)]
        is_closed: Option<&'a RawValue>,
    }
    let (items, _) = body::items(ACCOUNTS, body)?;
    let mut accounts = Vec::new();
    for item in items {
        let item: Item<'_> =
            serde_json::from_str(item.get()).map_err(|source| Error::Body { call: ACCOUNTS, source })?;
        let closed = item.account.is_closed.is_some_and(|raw| matches!(raw.get(), "true" | "\"true\""));
        let Ok(account) = AccountId::new(plain(item.account.account_number).trim()) else {
            tracing::warn!("an account without a usable number was left out");
            continue;
        };
        if !closed && !accounts.contains(&account) {
            accounts.push(account);
        }
    }
    Ok(accounts)
}

/// Adds the rows of one page and gives the number of pages.
fn read_positions(body: &[u8], found: &mut Positions) -> Result<u64, Error> {
    let (items, pages) = body::items(POSITIONS, body)?;
    for item in items {
        if let Some((symbol, fault)) = read_position(item, &mut found.rows) {
            found.skipped.push((symbol, fault));
        }
    }
    Ok(pages)
}

/// Adds one position if it is an open option; gives its symbol and what is wrong when it cannot be understood fully.
fn read_position(item: &RawValue, rows: &mut Vec<PositionRow>) -> Option<(String, &'static str)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Row<'a> {
        #[serde(borrow)]
        instrument_type: Option<&'a RawValue>,
        #[serde(borrow)]
        symbol: Option<&'a RawValue>,
        #[serde(borrow)]
        underlying_symbol: Option<&'a RawValue>,
        #[serde(borrow)]
        streamer_symbol: Option<&'a RawValue>,
        #[serde(borrow)]
        quantity: Option<&'a RawValue>,
        #[serde(borrow)]
        quantity_direction: Option<&'a RawValue>,
        #[serde(borrow)]
        multiplier: Option<&'a RawValue>,
    }
    let text = |raw: Option<&RawValue>| raw.map(|raw| plain(raw).into_owned()).unwrap_or_default();
    let Ok(row) = serde_json::from_str::<Row<'_>>(item.get()) else {
        return Some((String::new(), "not an object"));
    };
    let on_future = match text(row.instrument_type).trim() {
        "Equity Option" => false,
        "Future Option" => true,
        _ => return None,
    };
    let symbol = text(row.symbol);
    if symbol.trim().is_empty() {
        return Some((symbol, "no symbol"));
    }
    let quantity = signed_quantity(row.quantity, row.quantity_direction);
    if quantity == Ok(0.0) {
        return None;
    }
    let multiplier = row.multiplier.and_then(decimal).filter(|it| *it > Decimal::ZERO);
    let fault = quantity.err().or_else(|| multiplier.is_none().then_some("no multiplier"));
    rows.push(PositionRow {
        on_future,
        streamer_symbol: Some(text(row.streamer_symbol).trim().to_owned()).filter(|it| !it.is_empty()),
        underlying_symbol: text(row.underlying_symbol),
        quantity: quantity.ok().filter(|_| fault.is_none()).unwrap_or(f64::NAN),
        multiplier: multiplier.unwrap_or_default(),
        symbol: symbol.clone(),
    });
    fault.map(|fault| (symbol, fault))
}

/// The quantity has no sign: the direction is the sign.
fn signed_quantity(quantity: Option<&RawValue>, direction: Option<&RawValue>) -> Result<f64, &'static str> {
    let size = quantity.and_then(double).ok_or("no quantity")?;
    match direction.map(plain).unwrap_or_default().trim() {
        "Long" => Ok(size.abs()),
        "Short" => Ok(-size.abs()),
        "Zero" => Ok(0.0),
        _ if size == 0.0 => Ok(0.0),
        _ => Err("neither long nor short"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_nested_and_closed_ones_left_out() {
        let body = include_bytes!("../../tests/fixtures/accounts.json");
        let accounts = read_accounts(body).unwrap();
        assert_eq!(accounts.iter().map(AccountId::as_str).collect::<Vec<_>>(), ["5WT00001", "5WT00002"]);
        assert!(matches!(read_accounts(b"<html>"), Err(Error::Body { .. })));
        assert!(matches!(read_accounts(br#"{"data":{"items":[{"account-number":"x"}]}}"#), Err(Error::Body { .. })));
    }

    #[test]
    fn positions_are_signed_and_filtered() {
        let mut found = Positions::default();
        assert_eq!(read_positions(include_bytes!("../../tests/fixtures/positions.json"), &mut found).unwrap(), 1);
        let (whole, faulty): (Vec<_>, Vec<_>) = found.rows.iter().partition(|row| row.quantity.is_finite());
        assert_eq!(
            faulty.iter().map(|row| row.symbol.as_str()).collect::<Vec<_>>(),
            ["NODIR 261218C00232500", "NOMUL 261218C00232500", "NOQTY 261218C00232500"]
        );
        let rows: Vec<_> = whole
            .iter()
            .map(|row| (row.symbol.as_str(), row.quantity, row.multiplier.to_string(), row.on_future))
            .collect();
        assert_eq!(
            rows,
            [
                ("./MNQZ5D4AU5 250922C24575", 1.0, "2".into(), true),
                ("AAPL  261218C00232500", -3.0, "100".into(), false),
                ("SPXW  261124P06650000", 2.5, "100.0".into(), false),
            ]
        );
        assert_eq!(found.rows[2].streamer_symbol.as_deref(), Some(".SPXW261124P6650"));
        assert_eq!(found.rows[0].streamer_symbol, None);
        let skipped: Vec<_> = found.skipped.iter().map(|(symbol, why)| (symbol.as_str(), *why)).collect();
        assert_eq!(
            skipped,
            [
                ("NODIR 261218C00232500", "neither long nor short"),
                ("NOMUL 261218C00232500", "no multiplier"),
                ("NOQTY 261218C00232500", "no quantity"),
                ("", "not an object"),
                ("", "no symbol"),
            ]
        );
    }
}
