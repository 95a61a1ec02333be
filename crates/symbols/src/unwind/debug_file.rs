//! The `.debug_frame` that was cut off a file and put into another.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::read::ReadCache;

use crate::unwind::image::{Image, Links};
use crate::unwind::table::Section;

/// Where distributions put them.
const ROOT: &str = "/usr/lib/debug";

/// What the debug file of `binary` has, if there is one and it has it.
pub(crate) fn debug_frame(binary: &Path, links: &Links) -> Option<Section> {
    candidates(binary, links).iter().find_map(|path| {
        if !fs::metadata(path).is_ok_and(|found| found.is_file()) {
            return None;
        }
        let image = Image::parse(&ReadCache::new(File::open(path).ok()?))?;
        let belongs = if links.build_id.is_empty() {
            checksum(path).is_some_and(|sum| links.debug_link.as_ref().is_some_and(|l| l.1 == sum))
        } else {
            links.build_id == image.links.build_id
        };
        let debug_frame = image.table.into_debug_frame();
        (belongs && !debug_frame.bytes.is_empty()).then_some(debug_frame)
    })
}

fn candidates(binary: &Path, links: &Links) -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let mut candidates = Vec::new();
    if let Some((first, rest)) = links.build_id.split_first() {
        let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        candidates.push(root.join(format!(".build-id/{first:02x}/{rest}.debug")));
    }
    if let Some((name, _)) = &links.debug_link
        && let Some(name) = Path::new(OsStr::from_bytes(name)).file_name()
        && let Some(folder) = binary.parent()
    {
        candidates.push(folder.join(name));
        candidates.push(folder.join(".debug").join(name));
        candidates.push(root.join(folder.strip_prefix("/").unwrap_or(folder)).join(name));
    }
    candidates
}

fn checksum(path: &Path) -> Option<u32> {
    let mut sum = flate2::CrcReader::new(File::open(path).ok()?);
    std::io::copy(&mut sum, &mut std::io::sink()).ok()?;
    Some(sum.crc().sum())
}
