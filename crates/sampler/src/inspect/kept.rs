//! The files of threads that are looked at again and again: to open one takes twice as
//! long as to read it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustc_hash::FxHashMap;

use super::call::Call;
use crate::proc::Proc;

/// Files kept open at most.
const KEPT: usize = 128;
/// Nine numbers of 64 bits at most, in hexadecimal.
const LINE: usize = 256;

/// The calls of threads, read from files that stay open.
#[derive(Debug, Default)]
pub(super) struct Kept(FxHashMap<u32, File>);

impl Kept {
    /// What a thread is doing.
    pub(super) fn call(&mut self, proc: &Proc, pid: u32, tid: u32) -> Call {
        // Who has this number now may be another than the file is of: that one is gone,
        // and reads nothing.
        if let Some(call) = self.0.get(&tid).and_then(read) {
            return call;
        }
        self.0.remove(&tid);
        let Ok(file) = File::open(proc.path(pid, &format!("task/{tid}/syscall"))) else {
            return Call::Hidden;
        };
        let call = read(&file).unwrap_or(Call::Hidden);
        if self.0.len() == KEPT {
            self.0.clear();
        }
        self.0.insert(tid, file);
        call
    }
}

/// `None` when the thread is gone.
fn read(file: &File) -> Option<Call> {
    let mut line = [0; LINE];
    let filled = file.read_at(&mut line, 0).ok()?;
    std::str::from_utf8(&line[..filled]).ok().map(Call::parse)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_stays_open_tells_what_is_so_now() {
        let root = tempfile::tempdir().unwrap();
        let proc = Proc::at(root.path());
        let folder = root.path().join("7/task/8");
        fs::create_dir_all(&folder).unwrap();
        let mut kept = Kept::default();
        assert_eq!(kept.call(&proc, 7, 8), Call::Hidden, "there is none yet");
        let number = |call: Call| call.waiting().and_then(|call| call.number);
        for expected in [230, 35] {
            let line = format!("{expected} 0x1 0x0 0x2 0x3 0x0 0x0 0x7f00 0x4000\n");
            fs::write(folder.join("syscall"), line).unwrap();
            assert_eq!(number(kept.call(&proc, 7, 8)), Some(expected));
        }
        fs::write(folder.join("syscall"), "running\n").unwrap();
        assert_eq!((kept.call(&proc, 7, 8), kept.0.len()), (Call::Running, 1));
    }

    #[test]
    fn files_kept_are_few() {
        let root = tempfile::tempdir().unwrap();
        let proc = Proc::at(root.path());
        let mut kept = Kept::default();
        for tid in 0..3 * KEPT as u32 {
            let folder = root.path().join(format!("7/task/{tid}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("syscall"), "running\n").unwrap();
            kept.call(&proc, 7, tid);
            assert!(kept.0.len() <= KEPT);
        }
    }
}
