//! The accounts whose positions can be read.

use greeks_model::AccountId;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Call, Rest, body};
use crate::Error;

const ACCOUNTS: &str = "GET /portfolio/accounts";
const SUBACCOUNTS: &str = "GET /portfolio/subaccounts";
const PAGES: &str = "GET /portfolio/subaccounts2";
/// The most that one answer about sub-accounts holds; whoever has more asks for pages.
const MOST_AT_ONCE: usize = 100;
/// Sub-accounts on a page.
const PAGE: usize = 20;
/// No advisor has this many pages, but a hostile answer could.
const MOST_PAGES: usize = 500;

/// The accounts of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) ids: Vec<AccountId>,
    /// Whether these are all. An advisor's sub-accounts are not always told.
    pub(crate) complete: bool,
}

/// The last answer, for those who ask again too early.
#[derive(Debug)]
pub(super) struct AccountList {
    asked: Instant,
    known: Option<Accounts>,
    /// All that were told by the last answer that told any.
    last: Option<Vec<AccountId>>,
}

impl AccountList {
    pub(super) const fn asked_at(asked: Instant) -> Self {
        Self { asked, known: None, last: None }
    }
}

/// One answer.
#[derive(Debug, Default, PartialEq)]
struct Listing {
    accounts: Vec<AccountId>,
    /// Whether an account says that it is part of a structure.
    tiered: bool,
    /// Whether an account is an advisor's own, above others.
    advisor: bool,
}

impl Rest {
    /// The accounts of the user, sub-accounts of an advisor included. The gateway allows one such call in 5 seconds: an
    /// answer younger than that is given again.
    pub(crate) async fn portfolio_accounts(&self) -> Result<Accounts, Error> {
        self.accounts(false).await
    }

    /// The same, asked for now: whoever has heard of a change waits for an answer that can show it. For the gateway's
    /// sake too, which refuses to tell positions before.
    pub(crate) async fn portfolio_accounts_anew(&self) -> Result<Accounts, Error> {
        self.accounts(true).await
    }

    async fn accounts(&self, anew: bool) -> Result<Accounts, Error> {
        // Held over the calls on purpose: whoever comes second gets the first one's answer.
        let asked_at = Instant::now();
        let mut list = self.account_list.lock().await;
        let young = list.asked.elapsed() < self.account_list_spacing;
        let after_the_question = list.asked >= asked_at;
        if let Some(known) = list.known.as_ref().filter(|_| after_the_question || (young && !anew)) {
            return Ok(known.clone());
        }
        tokio::time::sleep_until(list.asked + self.account_list_spacing).await;
        // Before the call too: it counts even if a session that ends drops it.
        list.asked = Instant::now();
        list.known = None;
        let mut answer = self.ask_for_accounts().await;
        list.asked = Instant::now();
        match &mut answer {
            Ok(accounts) => {
                let same_user = |known: &&Vec<AccountId>| known.iter().any(|id| accounts.ids.contains(id));
                if let Some(known) = list.last.as_ref().filter(|_| !accounts.complete).filter(same_user) {
                    // What was told once does not vanish because it is not told now.
                    add(&mut accounts.ids, known.clone());
                }
                list.last = Some(accounts.ids.clone());
                list.known = Some(accounts.clone());
            }
            Err(_) => list.known = None,
        }
        answer
    }

    async fn ask_for_accounts(&self) -> Result<Accounts, Error> {
        let listing = match self.call(Call::get(ACCOUNTS, &["portfolio", "accounts"]), &[], None::<&()>).await {
            Ok(answer) => read(ACCOUNTS, &answer)?,
            // Documented for users without an advisor's structure; what it does to the others is not.
            Err(Error::Status { status, reason, .. }) => {
                tracing::debug!(status, reason, "the list of accounts is refused");
                Listing::default()
            }
            Err(error) => return Err(error),
        };
        let Listing { accounts: mut ids, tiered, advisor } = listing;
        if !tiered && !ids.is_empty() {
            return Ok(Accounts { ids, complete: true });
        }
        let complete = match self.sub_accounts().await {
            Ok(told) => {
                add(&mut ids, told.ids);
                told.complete
            }
            Err(Error::Status { status, reason, .. }) if !ids.is_empty() => {
                tracing::debug!(status, reason, "no sub-accounts are told");
                // Others in a structure, such as an advisor's client, have none to tell.
                !advisor
            }
            Err(error) => return Err(error),
        };
        if !complete {
            tracing::warn!(accounts = ids.len(), "the gateway does not tell all sub-accounts");
        }
        Ok(Accounts { ids, complete })
    }

    /// All at once, or page by page where they are too many for that or the one answer is refused.
    async fn sub_accounts(&self) -> Result<Accounts, Error> {
        // It may share its limit with the call before.
        tokio::time::sleep(self.account_list_spacing).await;
        let call = Call::get(SUBACCOUNTS, &["portfolio", "subaccounts"]);
        let ids = match self.call(call, &[], None::<&()>).await {
            Ok(answer) => read(SUBACCOUNTS, &answer)?.accounts,
            Err(Error::Status { status, reason, .. }) => {
                tracing::debug!(status, reason, "the list of sub-accounts is refused; asking for its pages");
                return self.pages().await;
            }
            Err(error) => return Err(error),
        };
        if ids.len() < MOST_AT_ONCE {
            return Ok(Accounts { ids, complete: true });
        }
        match self.pages().await {
            Ok(mut told) => {
                add(&mut told.ids, ids);
                Ok(told)
            }
            Err(Error::Status { .. }) => Ok(Accounts { ids, complete: false }),
            Err(error) => Err(error),
        }
    }

    async fn pages(&self) -> Result<Accounts, Error> {
        let mut ids = Vec::new();
        for page in 0..MOST_PAGES {
            let call = Call::get(PAGES, &["portfolio", "subaccounts2"]);
            let more = match self.call(call, &[("page", &page.to_string())], None::<&()>).await {
                Ok(answer) => read(PAGES, &answer)?.accounts,
                // Where the pages end.
                Err(Error::Status { status: 404, .. }) if page > 0 => return Ok(Accounts { ids, complete: true }),
                Err(Error::Status { .. }) if page > 0 => return Ok(Accounts { ids, complete: false }),
                Err(error) => return Err(error),
            };
            if more.is_empty() {
                return Ok(Accounts { ids, complete: page > 0 });
            }
            let before = ids.len();
            add(&mut ids, more);
            if ids.len() == before {
                // The number of the page is ignored: what is no page is the whole list.
                let complete = before != PAGE;
                return Ok(Accounts { ids, complete });
            }
        }
        Ok(Accounts { ids, complete: false })
    }
}

fn add(accounts: &mut Vec<AccountId>, more: Vec<AccountId>) {
    for account in more {
        if !accounts.contains(&account) {
            accounts.push(account);
        }
    }
}

/// A bare list, or one beside its metadata.
fn read(call: &'static str, answer: &[u8]) -> Result<Listing, Error> {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        subaccounts: Vec<&'a RawValue>,
    }
    let items = if answer.trim_ascii_start().starts_with(b"{") {
        body::read::<Page<'_>>(call, answer)?.subaccounts
    } else {
        body::list(call, answer)?
    };
    let mut listing = Listing::default();
    for item in items {
        read_account(item, &mut listing);
    }
    Ok(listing)
}

fn read_account(item: &RawValue, listing: &mut Listing) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Account<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        account_id: Option<&'a RawValue>,
        #[serde(borrow)]
        faclient: Option<&'a RawValue>,
        #[serde(borrow)]
        parent: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Parent<'a> {
        #[serde(borrow)]
        is_m_parent: Option<&'a RawValue>,
        #[serde(borrow)]
        is_m_child: Option<&'a RawValue>,
    }
    let Ok(account) = serde_json::from_str::<Account<'_>>(item.get()) else {
        tracing::warn!("an account that cannot be read was left out");
        return;
    };
    let number = body::text(account.id).or_else(|| body::text(account.account_id)).unwrap_or_default();
    let Ok(id) = AccountId::new(&number) else {
        tracing::warn!("an account without a usable number was left out");
        return;
    };
    let parent = account.parent.and_then(|raw| serde_json::from_str::<Parent<'_>>(raw.get()).ok());
    let related = parent.is_some_and(|it| [it.is_m_parent, it.is_m_child].map(body::flag).contains(&Some(true)));
    let advisor = is_master(&number);
    listing.advisor |= advisor;
    listing.tiered |= advisor || related || body::flag(account.faclient) == Some(true);
    // Some lists hold an entry that stands for all of an advisor's accounts.
    if !number.eq_ignore_ascii_case("all") {
        add(&mut listing.accounts, vec![id]);
    }
}

/// An advisor's own account begins with F, on paper with DF.
fn is_master(number: &str) -> bool {
    let bare = number.strip_prefix('D').unwrap_or(number);
    bare.strip_prefix('F').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(accounts: &[AccountId]) -> Vec<&str> {
        accounts.iter().map(AccountId::as_str).collect()
    }

    #[test]
    fn lists_of_every_shape() {
        let plain = br#"[{"id":"U1234567","accountId":"U1234567","faclient":false,"parent":{"mmc":[],"accountId":"","isMParent":false,"isMChild":false}}]"#;
        let listing = read(ACCOUNTS, plain).unwrap();
        assert_eq!((numbers(&listing.accounts), listing.tiered), (vec!["U1234567"], false));
        let page = br#"{"metadata":{"total":2,"pageSize":20,"pageNum":0},"subaccounts":[{"id":"U1"},{"accountId":"U2","id":null},{"id":"U1"},{"id":"All"},{"id":""},7]}"#;
        assert_eq!(numbers(&read(PAGES, page).unwrap().accounts), ["U1", "U2"]);
        assert_eq!(read(ACCOUNTS, b"[]").unwrap(), Listing::default());
        for body in [&b"<html>"[..], b"{}", br#"{"subaccounts":7}"#, b"7"] {
            assert!(matches!(read(ACCOUNTS, body), Err(Error::Body { .. })));
        }
    }

    #[test]
    fn an_advisor_is_known_by_any_of_its_signs() {
        for (account, tiered, advisor) in [
            (r#"{"id":"U1234567","faclient":true}"#, true, false),
            (r#"{"id":"U1234567","parent":{"isMParent":true}}"#, true, false),
            (r#"{"id":"U1234567","parent":{"isMChild":true}}"#, true, false),
            (r#"{"id":"F1234567"}"#, true, true),
            (r#"{"id":"DF123456"}"#, true, true),
            (r#"{"id":"DU123456"}"#, false, false),
            (r#"{"id":"FOO"}"#, false, false),
            (r#"{"id":"U1234567","faclient":null,"parent":null}"#, false, false),
        ] {
            let listing = read(ACCOUNTS, format!("[{account}]").as_bytes()).unwrap();
            assert_eq!((listing.tiered, listing.advisor), (tiered, advisor), "{account}");
        }
    }
}
