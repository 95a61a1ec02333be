//! The kernel function a thread sleeps in, by name (`/proc/PID/task/TID/wchan`): whoever may
//! see a process at all may read it, where its calls are hidden.

use std::fs;

use rustc_hash::FxHashMap;
use whyslow_events::{Event, Frame, SymbolKey};

use crate::proc::Proc;

/// Such a number stands for each function. No kernel has code there.
const FIRST: u64 = 0xffff_8000_0000_0000;
/// Names are shorter than this.
const LONGEST: usize = 128;

/// `None` when it sleeps in none, or we may not know.
pub(crate) fn channel(proc: &Proc, pid: u32, tid: u32) -> Option<String> {
    let text = fs::read_to_string(proc.path(pid, &format!("task/{tid}/wchan"))).ok()?;
    let plausible = !text.is_empty() && text != "0" && text.len() < LONGEST;
    plausible.then_some(text)
}

/// Numbers for the functions that were met.
#[derive(Debug, Default)]
pub(crate) struct Channels(FxHashMap<String, u64>);

impl Channels {
    /// The address that stands for a function, and its name where that is new.
    pub(crate) fn address(&mut self, function: String) -> (u64, Option<Event>) {
        let next = FIRST + self.0.len() as u64;
        let address = *self.0.entry(function.clone()).or_insert(next);
        let name = || {
            let key = SymbolKey { space: None, address };
            let frame = Frame { function, module: "[kernel]".to_owned(), ..Frame::default() };
            Event::Symbols(vec![(key, vec![frame])])
        };
        (address, (address == next).then(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_read_and_named_once() {
        let root = tempfile::tempdir().unwrap();
        let proc = Proc::at(root.path());
        let task = root.path().join("7/task/8");
        fs::create_dir_all(&task).unwrap();
        assert_eq!(channel(&proc, 7, 8), None);
        for (text, expected) in [("0", None), ("", None), ("pipe_read", Some("pipe_read"))] {
            fs::write(task.join("wchan"), text).unwrap();
            assert_eq!(channel(&proc, 7, 8).as_deref(), expected);
        }
        let mut channels = Channels::default();
        let (address, name) = channels.address("pipe_read".to_owned());
        assert!(matches!(name, Some(Event::Symbols(names)) if names[0].0.address == address));
        assert_eq!(channels.address("pipe_read".to_owned()), (address, None));
        assert_ne!(channels.address("do_wait".to_owned()).0, address);
    }
}
