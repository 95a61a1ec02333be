//! The files that stacks went through: each read once, when first needed, and
//! dropped when there are too many.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use object::read::ReadCache;

use crate::debug_files::DebugFiles;
use crate::files::{FileId, Files};
use crate::mappings::{Backing, Mapping};
use crate::proc_maps;
use crate::space::Space;
use crate::unwind::image::Image;

/// Bytes of unwind information that are kept. A browser has a tenth.
const MEMORY: usize = 256 << 20;

/// Files that are kept.
const FILES: usize = 1 << 14;

/// A file that was read. No number is given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ModuleId(pub(crate) u32);

/// One state of one file. A file system soon gives the number of a file that
/// was removed to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Vdso,
    File { device: u64, inode: u64, size: u64, changed: (i64, i64) },
}

/// Every file asked for.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    files: Files,
    debug_files: DebugFiles,
    ids: HashMap<Identity, Option<ModuleId>>,
    images: Vec<Image>,
    /// Number of the first image; those before it were dropped.
    first: u32,
    memory: usize,
    /// The file whose code was read last.
    code: Option<(FileId, File)>,
}

impl Modules {
    /// None yet; files are looked for and held open with `files`.
    pub(crate) fn new(files: Files) -> Self {
        Modules { files, ..Modules::default() }
    }

    /// Numbers below this mean nothing any more.
    pub(crate) fn first(&self) -> ModuleId {
        ModuleId(self.first)
    }

    /// The module mapped there; `None` when it is none that we can unwind.
    pub(crate) fn locate(&mut self, space: &Space, mapping: &Mapping) -> Option<ModuleId> {
        match mapping.backing() {
            Backing::Memory => None,
            Backing::Vdso => self.module(Identity::Vdso, || Image::parse(&*our_vdso(mapping)?)),
            Backing::File => {
                let file = self.files.locate(space, mapping)?;
                let path = self.files.path(file)?;
                let identity = identity(&path)?;
                if let Some(known) = self.ids.get(&identity) {
                    return *known;
                }
                let place = self.files.place(space, mapping);
                let debug = self.debug_files.find(&self.files, file, &place);
                let debug = debug.and_then(|debug| self.files.path(debug));
                // Finding another file may have closed this one.
                let path = self.files.path(file)?;
                self.module(identity, || read(&path, debug.as_deref()))
            }
        }
    }

    /// Fills `bytes` with what the file has for `address`.
    pub(crate) fn read_code(
        &mut self,
        space: &Space,
        mapping: &Mapping,
        address: u64,
        bytes: &mut [u8],
    ) -> Option<()> {
        let id = self.files.locate(space, mapping)?;
        if self.code.as_ref().is_none_or(|(of, _)| *of != id) {
            self.code = Some((id, File::open(self.files.path(id)?).ok()?));
        }
        let (_, file) = self.code.as_ref()?;
        file.read_exact_at(bytes, mapping.offset_of(address)).ok()
    }

    /// What was read of a module, unless it was dropped.
    pub(crate) fn image(&self, module: ModuleId) -> Option<&Image> {
        let place = module.0.checked_sub(self.first)?;
        self.images.get(usize::try_from(place).ok()?)
    }

    fn module(
        &mut self,
        identity: Identity,
        read: impl FnOnce() -> Option<Image>,
    ) -> Option<ModuleId> {
        if let Some(known) = self.ids.get(&identity) {
            return *known;
        }
        if self.memory > MEMORY || self.ids.len() >= FILES {
            self.drop_all();
        }
        let module = read().map(|image| {
            self.memory += image.table.size();
            self.images.push(image);
            ModuleId(self.end() - 1)
        });
        self.ids.insert(identity, module);
        module
    }

    /// Begins anew: what is still needed is read again.
    fn drop_all(&mut self) {
        let (first, files) = (self.end(), self.files.clone());
        *self = Modules { first, files, ..Modules::default() };
    }

    fn end(&self) -> u32 {
        self.first + u32::try_from(self.images.len()).expect("fewer than FILES")
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let found = fs::metadata(path).ok()?;
    Some(Identity::File {
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// The image in a file, with the `.debug_frame` that was moved to its debug file.
fn read(path: &Path, debug: Option<&Path>) -> Option<Image> {
    let mut image = parse(path)?;
    if let Some(moved) = debug.and_then(parse) {
        image.table.add(moved.table.into_debug_frame());
    }
    Some(image)
}

/// The image in a file.
pub(crate) fn parse(path: &Path) -> Option<Image> {
    Image::parse(&ReadCache::new(File::open(path).ok()?))
}

/// The bytes of our own vDSO, if `theirs` is as long: the kernel maps the same
/// image into every process of an architecture.
fn our_vdso(theirs: &Mapping) -> Option<Vec<u8>> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let (start, end) = proc_maps::range_of(&maps, "[vdso]")?;
    let length = end.checked_sub(start)?;
    if length != theirs.end - theirs.start {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut bytes, start).ok()?;
    Some(bytes)
}
