//! A trade to be added, and what is wrong with it.

use greeks_model::{AccountId, Contract, Decimal, SourceId, Uuid};
use serde_json::Value;

/// A trade to be added to the strategy log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewTrade {
    /// Makes adding it twice the same as adding it once; `None` draws one.
    pub id: Option<Uuid>,
    /// The broker.
    pub broker: String,
    /// The account as the broker writes it.
    pub account_id: String,
    /// As the writer calls it, up to 64 characters.
    pub symbol: String,
    /// The contract, where the trade is in an option.
    pub contract_key: Option<String>,
    /// What was done, in the writer's words, up to 64 characters.
    pub action: String,
    /// Contracts, negative when sold; not 0.
    pub quantity: Decimal,
    /// Per unit, without the multiplier; negative for a credit.
    pub price: Option<Decimal>,
    /// The strategy it belongs to, up to 64 characters.
    pub strategy_tag: Option<String>,
    /// A JSON object of up to 16 KiB, whatever the writer wants to keep with it.
    pub metadata: Option<Value>,
}

impl NewTrade {
    /// The longest text.
    pub const MAX_TEXT: usize = 64;
    /// The longest metadata, in bytes of JSON.
    pub const MAX_METADATA: usize = 16 * 1024;

    /// A trade with what every trade has.
    pub fn new(broker: &str, account_id: &str, symbol: &str, action: &str, quantity: Decimal) -> Self {
        Self {
            id: None,
            broker: broker.to_owned(),
            account_id: account_id.to_owned(),
            symbol: symbol.to_owned(),
            contract_key: None,
            action: action.to_owned(),
            quantity,
            price: None,
            strategy_tag: None,
            metadata: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidTrade> {
        SourceId::new(&self.broker).map_err(|_| InvalidTrade::Broker)?;
        AccountId::new(&self.account_id).map_err(|_| InvalidTrade::Account)?;
        text("symbol", &self.symbol)?;
        text("action", &self.action)?;
        self.strategy_tag.as_deref().map_or(Ok(()), |tag| text("strategy_tag", tag))?;
        if let Some(key) = &self.contract_key {
            let contract: Contract = key.parse().map_err(|_| InvalidTrade::Contract)?;
            // Another spelling of the same contract would not be found by its key.
            if contract.to_string() != *key {
                return Err(InvalidTrade::Contract);
            }
        }
        if self.quantity.is_zero() {
            return Err(InvalidTrade::Quantity);
        }
        self.metadata.as_ref().map_or(Ok(()), metadata)
    }
}

/// What is wrong with a [`NewTrade`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTrade {
    /// Not a name of a source.
    #[error("broker is not the name of a source: lower-case letters, digits, `-` and `_`")]
    Broker,
    /// Not an account.
    #[error("account_id is not an account number")]
    Account,
    /// Empty, too long, or with characters that cannot be seen.
    #[error("{field} must have 1 to {} visible characters", NewTrade::MAX_TEXT)]
    Text {
        /// Which field.
        field: &'static str,
    },
    /// Not a contract key.
    #[error("contract_key is not like `AAPL  261218C00232500` or `/ESZ26 261127P5000`")]
    Contract,
    /// Nothing was traded.
    #[error("quantity must not be 0")]
    Quantity,
    /// Not an object, too long, or with the character U+0000, which PostgreSQL cannot keep.
    #[error("metadata must be a JSON object of at most {} bytes without the character U+0000", NewTrade::MAX_METADATA)]
    Metadata,
    /// Another trade has this id.
    #[error("the id {id} belongs to another trade")]
    IdTaken {
        /// The id.
        id: Uuid,
    },
}

fn text(field: &'static str, text: &str) -> Result<(), InvalidTrade> {
    let fits = !text.trim().is_empty()
        && text.trim().len() == text.len()
        && text.chars().count() <= NewTrade::MAX_TEXT
        && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(InvalidTrade::Text { field }) }
}

fn metadata(value: &Value) -> Result<(), InvalidTrade> {
    let fits = value.is_object() && value.to_string().len() <= NewTrade::MAX_METADATA && !has_zero(value);
    if fits { Ok(()) } else { Err(InvalidTrade::Metadata) }
}

fn has_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_zero),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_zero(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(change: impl FnOnce(&mut NewTrade)) -> Option<InvalidTrade> {
        let mut trade = NewTrade::new("ibkr", "U1", "AAPL", "buy", Decimal::from(1));
        trade.contract_key = Some("AAPL  261218C00232500".into());
        (trade.strategy_tag, trade.metadata) = (Some("wheel".into()), Some(json!({"a": "\\u0000"})));
        change(&mut trade);
        trade.check().err()
    }

    #[test]
    fn each_fault_has_its_name_and_no_fault_none() {
        use InvalidTrade::{Account, Broker, Contract, Metadata, Quantity, Text};
        assert_eq!(refused(|_| ()), None);
        assert_eq!(refused(|trade| trade.contract_key = Some("/ESZ26 261127P5000".into())), None);
        assert_eq!(refused(|trade| trade.broker = "I B".into()), Some(Broker));
        assert_eq!(refused(|trade| trade.account_id = String::new()), Some(Account));
        assert_eq!(refused(|trade| trade.quantity = "-0.00".parse().unwrap()), Some(Quantity));
        for key in ["AAPL 261218C00232500", "", "AAPL"] {
            assert_eq!(refused(|trade| trade.contract_key = Some(key.into())), Some(Contract), "{key}");
        }
        for bad in ["", " ", " buy", "a\0b", "a\nb", &"x".repeat(65)] {
            assert_eq!(refused(|trade| trade.symbol = bad.into()), Some(Text { field: "symbol" }), "{bad:?}");
            assert_eq!(refused(|trade| trade.action = bad.into()), Some(Text { field: "action" }), "{bad:?}");
            let tag = refused(|trade| trade.strategy_tag = Some(bad.into()));
            assert_eq!(tag, Some(Text { field: "strategy_tag" }), "{bad:?}");
        }
        assert_eq!(refused(|trade| trade.symbol = "ü".repeat(64)), None, "characters, not bytes");
        for bad in
            [json!([]), json!("x"), json!({"a": [{"b": "x\0"}]}), json!({"\0": 1}), json!({"a": "x".repeat(16_384)})]
        {
            assert_eq!(refused(|trade| trade.metadata = Some(bad)), Some(Metadata));
        }
    }

    #[test]
    fn faults_are_said_in_words() {
        let text = InvalidTrade::Text { field: "symbol" }.to_string();
        assert_eq!(text, "symbol must have 1 to 64 visible characters");
        assert!(InvalidTrade::Metadata.to_string().contains("16384 bytes"));
    }
}
