//! What happens once to an open connection.

use super::{Session, messages};
use crate::tasty::dxlink::feed::{Output, garbage};
use crate::tasty::faults::{Mischief, SetupTimeouts};

impl Session {
    /// Does it at once.
    pub(crate) fn on_mischief(&mut self, mischief: &Mischief) {
        match mischief {
            Mischief::Columns(order) => {
                self.channels.values_mut().for_each(|feed| feed.reorder(*order, &mut self.out));
            }
            Mischief::Format { format, announced } => {
                self.channels.values_mut().for_each(|feed| feed.switch(*format, *announced, &mut self.out));
            }
            Mischief::Setup => self.send_setup(),
            Mischief::CloseChannels => {
                for (channel, _) in std::mem::take(&mut self.channels) {
                    self.closed_channels.insert(channel);
                    self.send(messages::channel_closed(channel));
                }
            }
            Mischief::Error { on_channels: true, code } => {
                let channels: Vec<u64> = self.channels.keys().copied().collect();
                channels.into_iter().for_each(|channel| self.send(messages::error(channel, code, "on purpose")));
            }
            Mischief::Error { on_channels: false, code } => self.send(messages::error(0, code, "on purpose")),
            Mischief::Text(text) => self.send(text.clone()),
            Mischief::Burst { bytes } => {
                let faults = self.shared.faults();
                for feed in self.channels.values_mut() {
                    feed.burst(*bytes, &self.shared.hub, &faults.feed, &mut self.out);
                }
            }
            Mischief::Oversized { bytes } => {
                let channels: Vec<u64> = self.channels.keys().copied().collect();
                for channel in channels {
                    self.send(messages::filler(channel, *bytes));
                }
            }
            Mischief::Silence => self.silent = true,
            Mischief::CutMidMessage => {
                let channel = self.channels.keys().next().copied().unwrap_or(0);
                self.out.push(Output::Cut(messages::filler(channel, 4_096)));
            }
        }
    }

    /// So many messages that cannot be read.
    pub(crate) fn flood(&mut self, messages: usize) {
        let channel = self.channels.keys().next().copied().unwrap_or(0);
        for _ in 0..messages {
            self.flooded = self.flooded.wrapping_add(1);
            self.send(garbage(channel, self.flooded));
        }
    }

    pub(super) fn send_setup(&mut self) {
        let timeout = match self.shared.faults().connection.setup_timeouts {
            SetupTimeouts::Configured => Some(self.config().keepalive_timeout.as_secs_f64()),
            SetupTimeouts::Absent => None,
            SetupTimeouts::Seconds(seconds) => Some(seconds),
        };
        self.send(messages::setup(timeout));
    }
}
