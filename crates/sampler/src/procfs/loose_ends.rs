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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::process::{self, Command};

    use nix::unistd::pipe;
    use whyslow_events::{Entry, Object, Site, SiteId};

    use super::*;

    #[test]
    fn a_pipe_is_tied_when_the_process_at_its_other_end_is_known() {
        let (reader, writer) = pipe().unwrap();
        let inode = File::from(reader.try_clone().unwrap()).metadata().unwrap().ino();
        let mut child = Command::new("sleep").arg("60").stdout(writer).spawn().unwrap();
        let [us, other] = [process::id(), child.id()].map(Pid);
        let entry = Entry::Syscall("read".to_owned());
        let site = Site { pid: us, entry, pc: 1, object: Object::Pipe(inode) };
        let (id, inspector) = (SiteId(1), Inspector::default());
        let mut ends = LooseEnds::default();
        ends.note(Event::Site { id, site });
        let mut tie = |expected: bool, known: &[Pid]| {
            if expected {
                ends.expect();
            }
            ends.tie(&inspector, known.iter().copied())
        };
        assert_eq!(tie(true, &[us]), []);
        assert_eq!(tie(false, &[us, other]), [], "nobody has come");
        assert_eq!(tie(true, &[us, other]), [Event::Inside { site: id }]);
        assert_eq!(tie(true, &[us, other]), [], "it is said once");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
