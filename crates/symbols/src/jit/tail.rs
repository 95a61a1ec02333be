//! A file that another program appends to, read from where it was left.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::fcntl::OFlag;

/// Bytes read at a time. A line or record that is longer is passed over.
const PIECE: usize = 1 << 20;

/// Further bytes of a file are not read.
const LONGEST: u64 = 1 << 30;

/// A growing file, held open so that it can be read after its name is gone.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Where to look for it, and for the one that replaces it.
    path: Option<PathBuf>,
    /// Whose it may be, beside root's.
    owner: u32,
    file: Option<File>,
    offset: u64,
    /// Its end was reached once: what is new came after.
    caught_up: bool,
}

impl Tail {
    /// The file at `path`, as soon as there is one.
    pub(crate) fn at(path: PathBuf, owner: u32) -> Tail {
        let mut tail = Tail { path: Some(path), owner, file: None, offset: 0, caught_up: false };
        tail.reopen();
        tail
    }

    /// A file that is open already.
    pub(crate) fn of(file: File, owner: u32) -> Tail {
        let ours = file.metadata().is_ok_and(|found| is_readable(&found, owner));
        Tail { path: None, owner, file: ours.then_some(file), offset: 0, caught_up: false }
    }

    /// Gives `take` what is new, at most about `limit` bytes. It says how much
    /// of it was whole; the rest comes again with what follows. Whether
    /// anything was new.
    pub(crate) fn read(&mut self, limit: u64, mut take: impl FnMut(&[u8]) -> usize) -> bool {
        self.reopen();
        let Some(file) = &self.file else { return false };
        let length = file.metadata().map_or(0, |found| found.len()).min(LONGEST);
        if length < self.offset {
            self.offset = 0;
        }
        let begin = self.offset;
        let mut piece = vec![0; PIECE.min(usize::try_from(length - begin).unwrap_or(PIECE))];
        while self.offset < length && self.offset - begin < limit {
            let filled = fill(file, &mut piece, self.offset);
            let taken = match take(&piece[..filled]) {
                0 if filled == PIECE => PIECE,
                taken => taken,
            };
            if taken == 0 {
                break;
            }
            self.offset += taken as u64;
        }
        self.caught_up |= self.offset - begin < limit;
        self.offset != begin
    }

    /// Whether what the next reading finds was not there at the last.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up
    }

    /// Opens what has the name now, if it is another file than the one held.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        let readable = |found: &Metadata| is_readable(found, self.owner);
        let Ok(named) = fs::symlink_metadata(path) else { return };
        let id = |found: &Metadata| (found.dev(), found.ino());
        let held = self.file.as_ref().and_then(|file| file.metadata().ok());
        if !readable(&named) || held.is_some_and(|held| id(&held) == id(&named)) {
            return;
        }
        // By the time it is opened it may be something else.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path).ok();
        if let Some(file) = opened.filter(|it| it.metadata().is_ok_and(|found| readable(&found))) {
            self.file = Some(file);
            self.offset = 0;
        }
    }
}

/// A symbolic link, a FIFO or the file of another user is not to be trusted.
fn is_readable(found: &Metadata, owner: u32) -> bool {
    found.is_file() && (found.uid() == owner || found.uid() == 0)
}

fn fill(file: &File, piece: &mut [u8], offset: u64) -> usize {
    let mut filled = 0;
    while filled < piece.len() {
        match file.read_at(&mut piece[filled..], offset + filled as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn us() -> u32 {
        fs::metadata("/proc/self").unwrap().uid()
    }

    /// Reads whole lines.
    fn lines(tail: &mut Tail, limit: u64) -> (bool, String) {
        let mut text = Vec::new();
        let reading = tail.read(limit, |bytes| {
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            text.extend(&bytes[..whole]);
            whole
        });
        (reading, String::from_utf8(text).unwrap())
    }

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn what_is_new_is_read_once_and_what_is_cut_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("map");
        let mut tail = Tail::at(path.clone(), us());
        let all = |text: &str| (true, text.to_owned());
        let nothing = (false, String::new());
        assert_eq!(lines(&mut tail, 99), nothing);
        append(&path, "a\nb");
        assert_eq!(lines(&mut tail, 99), all("a\n"));
        assert_eq!(lines(&mut tail, 99), nothing);
        append(&path, "c\nd\n");
        assert_eq!(lines(&mut tail, 99), all("bc\nd\n"));
        fs::write(&path, "e\n").unwrap();
        assert_eq!(lines(&mut tail, 99), all("e\n"), "cut and written anew");
        fs::remove_file(&path).unwrap();
        append(&path, "f\n");
        assert_eq!(lines(&mut tail, 99), all("f\n"), "another file");
        append(&path, "g\n");
        fs::remove_file(&path).unwrap();
        assert_eq!(lines(&mut tail, 99), all("g\n"), "a file without a name");
    }

    #[test]
    fn an_endless_line_is_passed_over_and_a_limit_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("map");
        fs::write(&path, [vec![b'x'; 2 * PIECE], b"\nlast\n".to_vec()].concat()).unwrap();
        let mut tail = Tail::at(path, us());
        assert_eq!(lines(&mut tail, 1), (true, String::new()));
        assert_eq!(lines(&mut tail, u64::MAX), (true, "\nlast\n".to_owned()));
    }

    #[test]
    fn only_regular_files_of_the_owner_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "a\n").unwrap();
        symlink(at("file"), at("link")).unwrap();
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        fs::create_dir(at("folder")).unwrap();
        let read = |path: PathBuf| lines(&mut Tail::at(path, us()), 9).0;
        assert!(read(at("file")));
        for other in ["link", "fifo", "folder", "missing"] {
            assert!(!read(at(other)), "{other}");
        }
        assert!(!read("/dev/zero".into()));
        if std::os::unix::fs::chown(at("file"), Some(us() + 1), None).is_err() {
            println!("skipped: no privilege to give a file away");
            return;
        }
        assert!(!read(at("file")), "somebody else's");
        let file = File::open(at("file")).unwrap();
        assert!(!lines(&mut Tail::of(file, us()), 9).0);
    }
}
