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

/// What the answers have shown of a product.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// The API has been asked about one of its options.
    Nothing,
    /// Symbols follow the rule, with this exchange.
    Rule { mic: String },
    /// A symbol did not follow the rule.
    Exception,
}

/// The way to the streamer symbol of an option on a future.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the rule, which answers have borne out.
    Computed(String),
    /// By the rule with the exchange of a table, unless the API is asked.
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
        let with = |mic: &str| contracts::future_option_streamer_symbol(code, contract, mic);
        let presumed = contracts::mic_of_product(product).map(with);
        match self.0.get(product) {
            None => {
                self.0.insert(product.to_owned(), Shown::Nothing);
                Way::Asked(presumed)
            }
            Some(Shown::Nothing) => presumed.map_or(Way::Asked(None), Way::Presumed),
            Some(Shown::Rule { mic }) => Way::Computed(with(mic)),
            Some(Shown::Exception) => Way::Asked(presumed),
        }
    }

    /// The API has named the symbol of this option.
    pub(crate) fn learn(&mut self, product: &str, code: &Future, contract: &Contract, symbol: &str) {
        let mic = contracts::mic_of(symbol)
            .filter(|mic| contracts::future_option_streamer_symbol(code, contract, mic) == symbol);
        let shown = match (self.0.get(product), mic) {
            (Some(Shown::Exception), _) | (_, None) => Shown::Exception,
            (Some(Shown::Rule { mic: before }), Some(mic)) if before != mic => Shown::Exception,
            (_, Some(mic)) => Shown::Rule { mic: mic.to_owned() },
        };
        self.0.insert(product.to_owned(), shown);
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
    fn a_product_with_an_exception_is_always_asked_about() {
        let (code, contract) = option("./ESZ6 EW4X6 261127P5000");
        for exception in ["./EW4X26P50:XCME", "./EW4X26P5000", "./EW4X26P5000:XCBT", ".ES"] {
            let mut known = Exchanges::default();
            known.learn("ES", &code, &contract, "./EW4X26P5000:XCME");
            known.learn("ES", &code, &contract, exception);
            known.learn("ES", &code, &contract, "./EW4X26P5000:XCME");
            let asked = Way::Asked(Some("./EW4X26P5000:XCME".into()));
            assert_eq!(known.way("ES", &code, &contract), asked, "{exception}");
        }
    }
}
