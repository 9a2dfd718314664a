//! The open option positions of an account.

use std::collections::HashMap;

use broker_net::json;
use greeks_model::AccountId;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::terms::RawTerms;
use super::{AssetClass, Call, Rest, Terms, body};
use crate::Error;
use crate::wire::Conid;

const POSITIONS: &str = "GET /portfolio/{account}/positions/{page}";
const POSITIONS_NOW: &str = "GET /portfolio2/{account}/positions";
const INVALIDATE: &str = "POST /portfolio/{account}/positions/invalidate";
/// Rows of a page that is not the last one; a shorter one need not be.
const FULL_PAGE: usize = 100;
/// Nobody holds this many.
const MOST_PAGES: usize = 200;

/// An open position in an option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PositionRow {
    pub(crate) conid: Conid,
    /// `SPY    JAN2025 440 C [SPY   250117C00440000 100]`; can be empty.
    pub(crate) description: String,
    pub(crate) terms: Terms,
    /// Contracts, negative when short; NaN when the answer does not tell, so that the position does not read as closed.
    pub(crate) quantity: f64,
}

impl PositionRow {
    /// What a message calls the position.
    pub(crate) fn name(&self) -> String {
        if self.description.is_empty() { format!("contract {}", self.conid) } else { self.description.clone() }
    }
}

/// The open option positions of one account.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Positions {
    /// One for each contract.
    pub(crate) rows: Vec<PositionRow>,
    /// What could not be understood, or not fully: its name, if there is one, and why.
    pub(crate) skipped: Vec<(String, &'static str)>,
}

/// What the uncached list tells of an option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PositionNow {
    pub(crate) conid: Conid,
    pub(crate) description: String,
    pub(crate) class: AssetClass,
    pub(crate) quantity: f64,
}

impl Rest {
    /// The open option positions of one account: all of them or an error. The gateway caches this list.
    pub(crate) async fn positions(&self, account: &AccountId) -> Result<Positions, Error> {
        let mut collector = Collector::default();
        for page in 0..MOST_PAGES {
            let number = page.to_string();
            let path = ["portfolio", account.as_str(), "positions", &number];
            let answer = match self.ask(Call::get(POSITIONS, &path), &[]).await {
                // Not every gateway tells an empty page where the pages end.
                Err(Error::Status { status: 404, .. }) if collector.may_be_at_end() => return Ok(collector.finish()),
                Ok(answer) if collector.may_be_at_end() && is_nothing(&answer) => return Ok(collector.finish()),
                answer => answer?,
            };
            if collector.add_page(&answer)? == Page::Last {
                return Ok(collector.finish());
            }
        }
        Err(Error::EndlessPages { account: account.to_string(), pages: MOST_PAGES })
    }

    /// The option positions of one account as they are now, closed ones included, in few words and not cached; `None` when
    /// this gateway has no such list.
    pub(crate) async fn positions_now(&self, account: &AccountId) -> Result<Option<Vec<PositionNow>>, Error> {
        let path = ["portfolio2", account.as_str(), "positions"];
        match self.ask(Call::get(POSITIONS_NOW, &path), &[]).await {
            Ok(answer) => read_now(&answer).map(Some),
            Err(Error::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the gateway forget its cached list of an account's positions.
    pub(crate) async fn invalidate(&self, account: &AccountId) -> Result<(), Error> {
        let path = ["portfolio", account.as_str(), "positions", "invalidate"];
        self.ask(Call::post(INVALIDATE, &path), &[]).await.map(|_| ())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Last,
    More,
}

/// Rows of pages, each contract once.
#[derive(Debug, Default)]
struct Collector {
    /// In the order of arrival, closed ones included. An advisor's model portfolios hold the same contract side by side.
    rows: Vec<(String, PositionRow)>,
    places: HashMap<(String, Conid), usize>,
    skipped: Vec<(String, &'static str)>,
    former: Vec<Option<Conid>>,
}

/// No list, and no word about why.
fn is_nothing(answer: &[u8]) -> bool {
    matches!(answer.trim_ascii(), b"null" | b"{}")
}

impl Collector {
    /// Whether the page before may have been the last one.
    const fn may_be_at_end(&self) -> bool {
        !self.former.is_empty() && self.former.len() < FULL_PAGE
    }

    fn add_page(&mut self, answer: &[u8]) -> Result<Page, Error> {
        let items = body::list(POSITIONS, answer)?;
        let terms: Vec<_> = items.iter().map(|item| serde_json::from_str::<RawTerms<'_>>(item.get()).ok()).collect();
        let conids: Vec<_> = terms.iter().map(|terms| terms.as_ref().and_then(RawTerms::conid)).collect();
        // The end is an empty page; a server that ignores the page number tells the same rows for ever.
        if items.is_empty() || conids == self.former {
            return Ok(Page::Last);
        }
        self.former = conids;
        for (item, terms) in items.into_iter().zip(terms) {
            if let Err((name, why)) = self.add(item, terms.as_ref()) {
                self.skipped.push((name, why));
            }
        }
        Ok(Page::More)
    }

    fn add(&mut self, item: &RawValue, raw: Option<&RawTerms<'_>>) -> Result<(), (String, &'static str)> {
        let row = serde_json::from_str::<Row<'_>>(item.get()).ok();
        let (Some(raw), Some(row)) = (raw, row) else { return Err((String::new(), "a row that is no object")) };
        let terms = raw.read();
        // A row without a class is an option if it says what only an option has.
        if terms.class == Some(AssetClass::Other) || (terms.class.is_none() && terms.option_type.is_none()) {
            return Ok(());
        }
        let description = body::text(row.contract_desc).or_else(|| body::text(row.description)).unwrap_or_default();
        let quantity = row.position.and_then(quantity);
        if terms.class == Some(AssetClass::Warrant) {
            let closed = quantity == Some(0.0);
            return if closed { Ok(()) } else { Err((description, "warrants have no OSI symbol")) };
        }
        let Some(conid) = raw.conid() else { return Err((description, "no contract number")) };
        let key = (body::text(row.model).unwrap_or_default(), conid);
        let row = PositionRow { conid, description, terms, quantity: quantity.unwrap_or(f64::NAN) };
        let fault = quantity.is_none().then(|| (row.name(), "no quantity"));
        // A row that moves to the next page between two calls comes twice: the later one is the newer.
        match self.places.get(&key).and_then(|place| self.rows.get_mut(*place)) {
            Some(former) => former.1 = row,
            None => {
                self.places.insert(key.clone(), self.rows.len());
                self.rows.push((key.0, row));
            }
        }
        fault.map_or(Ok(()), Err)
    }

    fn finish(self) -> Positions {
        let mut rows: Vec<PositionRow> = Vec::with_capacity(self.rows.len());
        let mut places = HashMap::new();
        for (_, row) in self.rows {
            match places.get(&row.conid).and_then(|place: &usize| rows.get_mut(*place)) {
                Some(former) => former.quantity += row.quantity,
                None => {
                    places.insert(row.conid, rows.len());
                    rows.push(row);
                }
            }
        }
        rows.retain(|row| row.quantity != 0.0);
        Positions { rows, skipped: self.skipped }
    }
}

/// What is read of a row beside its terms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(borrow)]
    contract_desc: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    position: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

fn read_now(answer: &[u8]) -> Result<Vec<PositionNow>, Error> {
    let mut found: Vec<PositionNow> = Vec::new();
    for item in body::list(POSITIONS_NOW, answer)? {
        let terms = serde_json::from_str::<RawTerms<'_>>(item.get());
        let (Ok(terms), Ok(row)) = (terms, serde_json::from_str::<Row<'_>>(item.get())) else { continue };
        let class = terms.read().class.unwrap_or(AssetClass::Other);
        let (Some(conid), Some(quantity)) = (terms.conid(), row.position.and_then(quantity)) else { continue };
        if !matches!(class, AssetClass::Option | AssetClass::FutureOption) {
            continue;
        }
        let description = body::text(row.description).or_else(|| body::text(row.contract_desc)).unwrap_or_default();
        match found.iter_mut().find(|row| row.conid == conid) {
            Some(former) => former.quantity += quantity,
            None => found.push(PositionNow { conid, description, class, quantity }),
        }
    }
    Ok(found)
}

/// A count of contracts: a number, in quotes or not, possibly with separators.
fn quantity(raw: &RawValue) -> Option<f64> {
    json::double(raw)
        .or_else(|| json::plain(raw).trim().replace(',', "").parse().ok().filter(|it: &f64| it.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &[String]) -> String {
        format!("[{}]", rows.join(","))
    }

    fn row(conid: i64, class: &str, position: &str) -> String {
        format!(
            r#"{{"acctId":"U1","conid":{conid},"contractDesc":"row {conid}","position":{position},"assetClass":"{class}"}}"#
        )
    }

    fn collect(pages: &[String]) -> Positions {
        let mut collector = Collector::default();
        for page in pages {
            collector.add_page(page.as_bytes()).unwrap();
        }
        collector.finish()
    }

    fn told(positions: &Positions) -> Vec<(i64, f64)> {
        positions.rows.iter().map(|row| (row.conid.get(), row.quantity)).collect()
    }

    #[test]
    fn options_are_kept_and_closed_ones_and_others_dropped() {
        let rows = [
            row(1, "OPT", "2"),
            row(2, "STK", "100"),
            row(3, "FOP", "\"-1.5\""),
            row(4, "OPT", "0.0"),
            row(5, "IND", "0"),
            row(6, "OPT", "\"1,000\""),
            r#"{"conid":"7","position":3,"putOrCall":"P"}"#.into(),
            r#"{"conid":8,"position":3}"#.into(),
            row(9, "WAR", "0"),
        ];
        let positions = collect(&[page(&rows)]);
        assert_eq!(told(&positions), [(1, 2.0), (3, -1.5), (6, 1000.0), (7, 3.0)]);
        assert_eq!(positions.skipped, []);
    }

    #[test]
    fn what_cannot_be_understood_is_told_and_never_reads_as_closed() {
        let rows = [
            row(1, "OPT", "null"),
            row(2, "OPT", "\"many\""),
            row(-3, "OPT", "1"),
            row(4, "WAR", "1"),
            "7".into(),
            r#"{"conid":5,"assetClass":"OPT"}"#.into(),
            row(6, "OPT", "1"),
        ];
        let positions = collect(&[page(&rows)]);
        let (unknown, known): (Vec<_>, Vec<_>) = told(&positions).into_iter().partition(|(_, it)| it.is_nan());
        assert_eq!(unknown.iter().map(|(conid, _)| *conid).collect::<Vec<_>>(), [1, 2, 5]);
        assert_eq!(known, [(6, 1.0)]);
        let skipped: Vec<_> = positions.skipped.iter().map(|(name, why)| (name.as_str(), *why)).collect();
        assert_eq!(
            skipped,
            [
                ("row 1", "no quantity"),
                ("row 2", "no quantity"),
                ("row -3", "no contract number"),
                ("row 4", "warrants have no OSI symbol"),
                ("", "a row that is no object"),
                ("contract 5", "no quantity"),
            ]
        );
    }

    #[test]
    fn a_row_on_two_pages_counts_once_and_the_later_one_counts() {
        let pages = [
            page(&[row(1, "OPT", "1"), row(2, "OPT", "2"), row(3, "OPT", "3")]),
            page(&[row(2, "OPT", "5"), row(3, "OPT", "0"), row(4, "OPT", "4")]),
        ];
        assert_eq!(told(&collect(&pages)), [(1, 1.0), (2, 5.0), (4, 4.0)]);
    }

    #[test]
    fn model_portfolios_add_up() {
        let row = |position: i32, model: &str| {
            format!(r#"{{"conid":1,"position":{position},"assetClass":"OPT","model":"{model}"}}"#)
        };
        assert_eq!(told(&collect(&[page(&[row(2, "a"), row(3, "b")]), page(&[row(4, "b")])])), [(1, 6.0)]);
        assert_eq!(told(&collect(&[page(&[row(2, "a"), row(-2, "b")])])), []);
    }

    #[test]
    fn only_an_empty_or_a_repeated_page_is_the_last() {
        let mut collector = Collector::default();
        let short = page(&[row(1, "OPT", "1")]);
        assert_eq!(collector.add_page(short.as_bytes()).unwrap(), Page::More);
        assert_eq!(collector.add_page(page(&[row(2, "STK", "1")]).as_bytes()).unwrap(), Page::More);
        assert_eq!(collector.add_page(short.as_bytes()).unwrap(), Page::More, "not the former page");
        assert_eq!(collector.add_page(short.as_bytes()).unwrap(), Page::Last);
        assert_eq!(Collector::default().add_page(b" [ ] ").unwrap(), Page::Last);
        for body in [&b"{}"[..], b"null", b"", b"<html>"] {
            assert!(matches!(Collector::default().add_page(body), Err(Error::Body { .. })));
        }
    }

    #[test]
    fn the_uncached_list() {
        let found = read_now(
            br#"[{"position":1,"conid":"584891614","avgCost":5801.04,"description":"SPY Jan17'25 440 Call","secType":"OPT","assetClass":"OPT"},
                {"position":-2,"conid":"9","assetClass":"FOP"},{"position":5,"conid":"9","assetClass":"FOP"},
                {"position":100,"conid":"756733","secType":"STK","assetClass":"STK"},{"position":0.0,"conid":"3","secType":"OPT"},
                {"position":null,"conid":"4","assetClass":"OPT"},7]"#,
        )
        .unwrap();
        let told: Vec<_> = found.iter().map(|row| (row.conid.get(), row.quantity)).collect();
        assert_eq!(told, [(584_891_614, 1.0), (9, 3.0), (3, 0.0)]);
        assert_eq!(found[0].description, "SPY Jan17'25 440 Call");
        assert!(matches!(read_now(b"{}"), Err(Error::Body { .. })));
    }
}
