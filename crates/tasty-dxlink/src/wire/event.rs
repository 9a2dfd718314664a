//! The event types this client reads, and their fields.

/// An event type. Everything else a server sends is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum EventKind {
    Greeks,
    Quote,
    Trade,
}

impl EventKind {
    pub(crate) const ALL: [Self; 3] = [Self::Greeks, Self::Quote, Self::Trade];

    /// The name on the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Greeks => "Greeks",
            Self::Quote => "Quote",
            Self::Trade => "Trade",
        }
    }

    /// One bit of its own, for sets of kinds.
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The name in metric labels.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Greeks => "greeks",
            Self::Quote => "quote",
            Self::Trade => "trade",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name.as_bytes() {
            b"Greeks" => Self::Greeks,
            b"Quote" => Self::Quote,
            b"Trade" => Self::Trade,
            _ => return None,
        })
    }

    /// What FEED_SETUP asks for. `sequence` and `index` are not read here; they are asked for so that a kept payload
    /// identifies its event.
    pub(crate) const fn requested_fields(self) -> &'static [&'static str] {
        match self {
            Self::Greeks => &[
                "eventType",
                "eventSymbol",
                "time",
                "sequence",
                "index",
                "eventFlags",
                "price",
                "volatility",
                "delta",
                "gamma",
                "theta",
                "rho",
                "vega",
            ],
            Self::Quote => &["eventType", "eventSymbol", "bidPrice", "askPrice"],
            Self::Trade => &["eventType", "eventSymbol", "time", "price"],
        }
    }
}

/// A field that holds a double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberField {
    Price,
    Volatility,
    Delta,
    Gamma,
    Theta,
    Rho,
    Vega,
    BidPrice,
    AskPrice,
}

/// What a field of an event means to this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    EventType,
    EventSymbol,
    Time,
    EventFlags,
    Number(NumberField),
    Unused,
}

impl Column {
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "eventType" => Self::EventType,
            "eventSymbol" => Self::EventSymbol,
            "time" => Self::Time,
            "eventFlags" => Self::EventFlags,
            "price" => Self::Number(NumberField::Price),
            "volatility" => Self::Number(NumberField::Volatility),
            "delta" => Self::Number(NumberField::Delta),
            "gamma" => Self::Number(NumberField::Gamma),
            "theta" => Self::Number(NumberField::Theta),
            "rho" => Self::Number(NumberField::Rho),
            "vega" => Self::Number(NumberField::Vega),
            "bidPrice" => Self::Number(NumberField::BidPrice),
            "askPrice" => Self::Number(NumberField::AskPrice),
            _ => Self::Unused,
        }
    }
}

/// The doubles of one event. `None`: not part of the event; NaN: the server says unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) price: Option<f64>,
    pub(crate) volatility: Option<f64>,
    pub(crate) delta: Option<f64>,
    pub(crate) gamma: Option<f64>,
    pub(crate) theta: Option<f64>,
    pub(crate) rho: Option<f64>,
    pub(crate) vega: Option<f64>,
    pub(crate) bid_price: Option<f64>,
    pub(crate) ask_price: Option<f64>,
}

impl Numbers {
    pub(crate) const fn field_mut(&mut self, field: NumberField) -> &mut Option<f64> {
        match field {
            NumberField::Price => &mut self.price,
            NumberField::Volatility => &mut self.volatility,
            NumberField::Delta => &mut self.delta,
            NumberField::Gamma => &mut self.gamma,
            NumberField::Theta => &mut self.theta,
            NumberField::Rho => &mut self.rho,
            NumberField::Vega => &mut self.vega,
            NumberField::BidPrice => &mut self.bid_price,
            NumberField::AskPrice => &mut self.ask_price,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requested_field_has_its_own_meaning() {
        for kind in EventKind::ALL {
            let fields = kind.requested_fields();
            assert!(fields.contains(&"eventSymbol") && fields.contains(&"eventType"));
            for (i, field) in fields.iter().enumerate() {
                let column = Column::from_name(field);
                assert!(column != Column::Unused || ["sequence", "index"].contains(field), "{field}");
                assert!(
                    column == Column::Unused
                        || fields.iter().skip(i + 1).all(|other| Column::from_name(other) != column),
                    "{field}"
                );
            }
            assert_eq!(EventKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(EventKind::from_name("greeks"), None);
    }
}
