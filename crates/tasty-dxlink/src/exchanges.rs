//! Where the options on a product's futures trade, as the API's own answers have shown it.
//!
//! The streamer symbol of an option on a future follows from its REST symbol but for the exchange. One answer of the API
//! tells the exchange of a whole product, and whether the rule holds there.

use std::collections::HashMap;

use greeks_model::{Contract, Future};

use crate::contracts;

/// What is known of each product.
#[derive(Debug, Default)]
pub(crate) struct Exchanges(HashMap<String, Shown>);

/// What the answers have shown of a product, of which one option at least has been looked at.
#[derive(Debug, Default)]
struct Shown {
    mic: Option<String>,
    /// Whether a symbol did not follow the rule.
    exception: bool,
}

/// The way to the streamer symbol of an option on a future.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the rule, which answers have borne out.
    Computed(String),
    /// By the rule, which the API may know better.
    Presumed(String),
    /// The API has to be asked; the rule's symbol, if there is one, is for the case that it does not answer.
    Asked(Option<String>),
}

impl Way {
    /// The rule's symbol.
    pub(crate) fn computed(self) -> Option<String> {
        match self {
            Self::Computed(symbol) | Self::Presumed(symbol) => Some(symbol),
            Self::Asked(symbol) => symbol,
        }
    }
}

impl Exchanges {
    /// How to come to the symbol of this option: the first of each product is asked about.
    pub(crate) fn way(&mut self, product: &str, code: &Future, contract: &Contract) -> Way {
        match (self.0.get(product), self.computed(product, code, contract)) {
            (None, computed) => {
                self.0.insert(product.to_owned(), Shown::default());
                Way::Asked(computed)
            }
            (_, None) => Way::Asked(None),
            (Some(Shown { mic: Some(_), exception: false }), Some(computed)) => Way::Computed(computed),
            (_, Some(computed)) => Way::Presumed(computed),
        }
    }

    /// The rule's symbol, where the exchange is known.
    pub(crate) fn computed(&self, product: &str, code: &Future, contract: &Contract) -> Option<String> {
        let learned = self.0.get(product).and_then(|shown| shown.mic.as_deref());
        let mic = learned.or_else(|| contracts::mic_of_product(product));
        mic.map(|mic| contracts::future_option_streamer_symbol(code, contract, mic))
    }

    /// The API has named the symbol of this option.
    pub(crate) fn learn(&mut self, product: &str, code: &Future, contract: &Contract, symbol: &str) {
        let shown = self.0.entry(product.to_owned()).or_default();
        let told = contracts::mic_of(symbol);
        let follows = told.is_some_and(|mic| contracts::future_option_streamer_symbol(code, contract, mic) == symbol);
        let differs = shown.mic.as_deref().is_some_and(|mic| told != Some(mic));
        shown.exception |= !follows || differs;
        if follows || shown.mic.is_none() {
            shown.mic = told.map(str::to_owned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::{NamedOption, OptionKind, future_option};

    fn option(symbol: &str) -> (Future, Contract) {
        let NamedOption { contract, kind, .. } = future_option(symbol, "").unwrap();
        let OptionKind::Future { option, .. } = kind else { panic!("{symbol}") };
        (option, contract)
    }

    #[test]
    fn one_answer_tells_the_exchange_of_a_product() {
        let (code, first) = option("./ESZ6 EW4X6 261127P5000");
        let (later_code, later) = option("./ESZ6 EW1Z6 261204C5100");
        for (product, presumed, later_presumed) in
            [("ES", Some("./EW4X26P5000:XCME"), Some("./EW1Z26C5100:XCME")), ("ZZ", None, None)]
        {
            let mut known = Exchanges::default();
            let owned = |symbol: Option<&str>| symbol.map(str::to_owned);
            assert_eq!(known.way(product, &code, &first), Way::Asked(owned(presumed)));
            let until_then = owned(later_presumed).map_or(Way::Asked(None), Way::Presumed);
            assert_eq!(known.way(product, &later_code, &later), until_then);
            known.learn(product, &code, &first, "./EW4X26P5000:XTEST");
            assert_eq!(known.way(product, &later_code, &later), Way::Computed("./EW1Z26C5100:XTEST".into()));
        }
    }

    #[test]
    fn after_an_exception_the_rule_is_a_presumption() {
        let (code, contract) = option("./ESZ6 EW4X6 261127P5000");
        for (product, exception, presumed) in [
            ("ZZ", "./EW4X26P50:XTEST", "./EW4X26P5000:XTEST"),
            ("ZZ", "./EW4X26P5000", "./EW4X26P5000:XTEST"),
            ("ZZ", "./EW4X26P5000:XCBT", "./EW4X26P5000:XTEST"),
            ("ES", ".ES", "./EW4X26P5000:XTEST"),
        ] {
            let mut known = Exchanges::default();
            known.learn(product, &code, &contract, "./EW4X26P5000:XTEST");
            known.learn(product, &code, &contract, exception);
            known.learn(product, &code, &contract, "./EW4X26P5000:XTEST");
            assert_eq!(known.way(product, &code, &contract), Way::Presumed(presumed.into()), "{exception}");
        }
        // Of an exception that comes first the exchange is believed.
        let mut known = Exchanges::default();
        known.learn("ZZ", &code, &contract, "./EW4X26P50:XTEST");
        assert_eq!(known.way("ZZ", &code, &contract), Way::Presumed("./EW4X26P5000:XTEST".into()));
        known.learn("YY", &code, &contract, ".EW");
        assert_eq!(known.way("YY", &code, &contract), Way::Asked(None));
    }
}
