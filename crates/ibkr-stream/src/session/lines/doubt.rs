//! What is done about subscriptions that ended before their time: what may have ended with them is asked at once.

use std::time::Instant;

use super::Lines;

impl Lines {
    /// Since when frames are missing, if that has come out since the last call.
    pub(in crate::session) const fn take_lost(&mut self) -> Option<Instant> {
        self.lost.take()
    }

    /// Subscriptions had ended at `since`. Whoever has not spoken since then, nor been asked, is asked now.
    pub(super) fn doubt(&mut self, since: Instant, now: Instant) {
        self.lost = Some(self.lost.map_or(since, |known| known.min(since)));
        for (conid, line) in &mut self.lines {
            let Some(stream) = line.stream.as_mut().filter(|_| line.chosen) else { continue };
            let before = |at| self.stillness.is_before(at, since);
            if stream.last_frame.is_some_and(before) && before(stream.at) && !stream.doubted {
                stream.doubted = true;
                self.schedule.remove(&(stream.scheduled, *conid));
                stream.scheduled = now;
                self.schedule.insert((now, *conid));
            }
        }
    }

    /// One of the doubted has spoken or been asked. After the last of them the loss is complete.
    pub(super) fn settle(&mut self, now: Instant) {
        let is_doubted = |line: &super::Line| line.stream.as_ref().is_some_and(|stream| stream.doubted);
        if self.lines.values().any(is_doubted) {
            return;
        }
        if let Some(since) = self.stillness.all_asked(now) {
            self.lost = Some(self.lost.map_or(since, |known| known.min(since)));
        }
    }
}
