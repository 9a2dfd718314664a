//! Which value of a COMPACT row is which field.

use super::event::{Column, EventKind, NumberField};

/// The fields of one event type on one channel, in the order of a COMPACT row.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    columns: Vec<Named>,
    /// Doubles that events of this type once had and now lack: what they said before holds no more.
    lost: Vec<NumberField>,
}

/// A column and the text that introduces it in a payload: its name as a JSON key, with the colon.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) column: Column,
    pub(crate) key: Box<str>,
}

impl Layout {
    /// The fields as asked for: assumed until the server says otherwise.
    pub(crate) fn requested(kind: EventKind) -> Self {
        Self::of(kind.requested_fields().iter().copied())
    }

    /// The fields a FEED_CONFIG names. `None` when a row could not be read with them: no column says which symbol it is
    /// about, or there is nothing beside it.
    pub(crate) fn negotiated<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Self> {
        let layout = Self::of(fields);
        let symbols = layout.columns.iter().filter(|named| named.column == Column::EventSymbol).count();
        (symbols == 1 && layout.columns.len() > 1).then_some(layout)
    }

    fn of<'a>(fields: impl Iterator<Item = &'a str>) -> Self {
        let named = |name: &str| Named {
            column: Column::from_name(name),
            // Writing a text as JSON cannot fail; an empty key would only spoil the payload, never a value.
            key: serde_json::to_string(name).map(|key| key + ":").unwrap_or_default().into_boxed_str(),
        };
        Self { columns: fields.map(named).collect(), lost: Vec::new() }
    }

    /// Takes note of the doubles that events of this type had under former layouts of the session.
    pub(crate) fn follow(&mut self, former: impl Iterator<Item = NumberField>) {
        self.lost = former.filter(|field| self.numbers().all(|own| own != *field)).collect();
    }

    pub(crate) fn lost(&self) -> &[NumberField] {
        &self.lost
    }

    pub(crate) fn columns(&self) -> &[Named] {
        &self.columns
    }

    /// The doubles an event of this layout has.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = NumberField> {
        self.columns.iter().filter_map(|named| match named.column {
            Column::Number(field) => Some(field),
            _ => None,
        })
    }
}

/// The layouts of one channel.
#[derive(Clone, Debug)]
pub(crate) struct ChannelLayouts {
    pub(crate) number: u64,
    greeks: Layout,
    quote: Layout,
    trade: Layout,
}

impl ChannelLayouts {
    pub(crate) fn requested(number: u64) -> Self {
        Self {
            number,
            greeks: Layout::requested(EventKind::Greeks),
            quote: Layout::requested(EventKind::Quote),
            trade: Layout::requested(EventKind::Trade),
        }
    }

    pub(crate) const fn of(&self, kind: EventKind) -> &Layout {
        match kind {
            EventKind::Greeks => &self.greeks,
            EventKind::Quote => &self.quote,
            EventKind::Trade => &self.trade,
        }
    }

    pub(crate) fn set(&mut self, kind: EventKind, layout: Layout) {
        match kind {
            EventKind::Greeks => self.greeks = layout,
            EventKind::Quote => self.quote = layout,
            EventKind::Trade => self.trade = layout,
        }
    }
}
