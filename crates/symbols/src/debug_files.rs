//! Where the debug information of stripped files is kept: in files of their
//! own, found by build id or by the name in the stripped file, and believed
//! only if they belong to it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;

use crate::binary::DebugLink;
use crate::debuginfod::Client;
use crate::files::{FileId, Files, Place};

/// Where distributions put them.
const FOLDER: &str = "usr/lib/debug";

/// Bytes that are read to compare a checksum.
const CHECKED: u64 = 1 << 30;

/// Finds debug files, each once.
#[derive(Debug, Default)]
pub(crate) struct DebugFiles {
    found: HashMap<FileId, Option<FileId>>,
    /// Asked for what is not here, if the user wants that.
    pub(crate) servers: Option<Client>,
}

impl DebugFiles {
    /// The debug file of `file` on this host, `None` when it has none or needs
    /// none.
    pub(crate) fn find(&mut self, files: &Files, file: FileId, place: &Place) -> Option<FileId> {
        *self.found.entry(file).or_insert_with(|| {
            let link = DebugLink::read(&files.path(file)?)?;
            let belongs = |path: &PathBuf| {
                let found = files.open(path).filter(|found| *found != file)?;
                link.belongs(files, found).then_some(found)
            };
            candidates(&link, place).iter().find_map(belongs)
        })
    }

    /// The debug file of `file` that a server has. This may take long.
    pub(crate) fn fetch(&mut self, files: &Files, file: FileId) -> Option<FileId> {
        let servers = self.servers.as_mut()?;
        let link = DebugLink::read(&files.path(file)?)?;
        let fetched = files.open(&servers.fetch(link.build_id.as_deref()?)?)?;
        link.belongs(files, fetched).then_some(fetched)
    }
}

/// Folders in which what debug files share is looked for.
pub(crate) fn folders(root: &Path) -> [PathBuf; 2] {
    [root.join(FOLDER), Path::new("/").join(FOLDER)]
}

/// Where the debug file may be, the likely places first.
fn candidates(link: &DebugLink, place: &Place) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if let Some(name) = link.build_id.as_deref().and_then(build_id_path) {
        paths.extend(folders(&place.root).map(|folder| folder.join(&name)));
        paths.dedup();
    }
    let name = link.file.as_ref().map(|(name, _)| name).filter(|name| !name.contains('/'));
    if let (Some(name), Some(folder)) = (name, place.path.parent()) {
        let folder = folder.strip_prefix("/").unwrap_or(folder);
        let beside = place.root.join(folder);
        paths.extend([beside.join(name), beside.join(".debug").join(name)]);
        paths.push(place.root.join(FOLDER).join(folder).join(name));
        // Packages from before /lib became a link to /usr/lib.
        if let Ok(short) = folder.strip_prefix("usr") {
            paths.push(place.root.join(FOLDER).join(short).join(name));
        }
    }
    paths
}

/// `.build-id/12/3456….debug`
fn build_id_path(id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = id.split_first()?;
    let rest = hex(rest);
    (!rest.is_empty()).then(|| PathBuf::from(format!(".build-id/{first:02x}/{rest}.debug")))
}

/// Two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl DebugLink {
    /// The build ids tell, and where one is missing the checksum.
    fn belongs(&self, files: &Files, debug: FileId) -> bool {
        match (&self.build_id, files.build_id(debug), &self.file) {
            (Some(ours), Some(theirs), _) => *ours == theirs,
            (_, _, Some((_, sum))) => files.path(debug).and_then(|it| checksum(&it)) == Some(*sum),
            _ => false,
        }
    }
}

fn checksum(path: &Path) -> Option<u32> {
    let mut file = File::open(path).ok()?.take(CHECKED);
    let mut hasher = Hasher::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece).ok()? {
            0 => return (file.limit() > 0).then(|| hasher.finalize()),
            count => hasher.update(&piece[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(link: &DebugLink, root: &str) -> Vec<String> {
        let place = Place { root: root.into(), path: "/usr/lib/libc.so.6".into() };
        candidates(link, &place).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_root_of_the_target_comes_before_ours_and_only_a_build_id_leads_to_ours() {
        let build_id = Some([0xab, 0xcd, 0xef].as_slice().into());
        let link = DebugLink { build_id, file: Some(("libc.debug".to_owned(), 1)) };
        let expected = [
            "/r/usr/lib/debug/.build-id/ab/cdef.debug",
            "/usr/lib/debug/.build-id/ab/cdef.debug",
            "/r/usr/lib/libc.debug",
            "/r/usr/lib/.debug/libc.debug",
            "/r/usr/lib/debug/usr/lib/libc.debug",
            "/r/usr/lib/debug/lib/libc.debug",
        ];
        assert_eq!(paths(&link, "/r"), expected);
        assert_eq!(paths(&link, "/")[0], "/usr/lib/debug/.build-id/ab/cdef.debug");
        assert_eq!(paths(&link, "/")[1], "/usr/lib/libc.debug");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_not_followed() {
        let link = |name: &str| DebugLink { build_id: None, file: Some((name.to_owned(), 1)) };
        assert_eq!(paths(&link("../../etc/shadow"), "/r"), [""; 0]);
        let short = DebugLink { build_id: Some([0xab].as_slice().into()), file: None };
        assert_eq!(paths(&short, "/r"), [""; 0]);
    }
}
