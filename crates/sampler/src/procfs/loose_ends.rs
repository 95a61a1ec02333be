//! Pipes that are waited on and whose other end nobody was seen to hold: it may be held by a
//! process of the target that is not known yet.

use whyslow_events::{Event, Pid};

use crate::inspect::Inspector;

/// Pipes, and how often each is asked for again: what a process holds is read anew each time.
const PIPES: usize = 16;
const TRIES: u8 = 16;

#[derive(Debug, Default)]
pub(super) struct LooseEnds {
    /// The sites.
    sites: Vec<(Event, u8)>,
    /// There are processes that were not there when they were asked for last.
    newcomers: bool,
}

impl LooseEnds {
    /// A site that is told of for the first time, and that no process was seen to belong to.
    pub(super) fn note(&mut self, site: Event) {
        if self.sites.len() < PIPES {
            self.sites.push((site, TRIES));
        }
    }

    /// There is another process.
    pub(super) fn expect(&mut self) {
        self.newcomers = !self.sites.is_empty();
    }

    /// What is known of the sites now that there are these `processes`.
    pub(super) fn tie(
        &mut self,
        inspector: &Inspector,
        processes: impl Iterator<Item = Pid> + Clone,
    ) -> Vec<Event> {
        let mut known = vec![];
        if std::mem::take(&mut self.newcomers) {
            self.sites.retain_mut(|(site, left)| {
                let inside = inspector.inside(site, processes.clone());
                *left -= 1;
                let goes_on = inside.is_none() && *left > 0;
                known.extend(inside);
                goes_on
            });
        }
        known
    }
}
