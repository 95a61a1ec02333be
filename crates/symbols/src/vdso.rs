//! Names inside the vDSO. The kernel maps the same image into every process
//! of an architecture, so ours stands for the target's.

use std::fs;

use blazesym::Pid;
use blazesym::symbolize::source::{Process, Source};

use crate::mappings::Mapping;
use crate::proc_maps;

/// Our own vDSO.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vdso {
    start: u64,
    length: u64,
}

impl Vdso {
    pub(crate) fn of_this_process() -> Option<Vdso> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let (start, end) = proc_maps::range_of(&maps, "[vdso]")?;
        Some(Vdso { start, length: end.checked_sub(start)? })
    }

    /// The address in our vDSO that shows what `address` shows in `theirs`.
    /// `None` when theirs is another image: the one for 32-bit programs.
    pub(crate) fn translate(&self, theirs: &Mapping, address: u64) -> Option<u64> {
        let same_width = (theirs.start > u64::from(u32::MAX)) == (self.start > u64::from(u32::MAX));
        let same_length = theirs.end - theirs.start == self.length;
        (same_width && same_length).then(|| self.start + (address - theirs.start))
    }

    /// Where to look translated addresses up.
    pub(crate) fn source() -> Source<'static> {
        let mut process = Process::new(Pid::Slf);
        process.perf_map = false;
        process.debug_syms = false;
        process.map_files = false;
        Source::Process(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_image_of_the_same_kind_is_translated() {
        let ours = Vdso { start: 0x7fff_0000_0000, length: 0x2000 };
        let theirs = |start, length| Mapping {
            start,
            end: start + length,
            file_offset: 0,
            path: "[vdso]".into(),
            build_id: [].into(),
        };
        let high = 0x7ffe_1234_5000;
        assert_eq!(ours.translate(&theirs(high, 0x2000), high + 0x9), Some(0x7fff_0000_0009));
        assert_eq!(ours.translate(&theirs(high, 0x1000), high + 0x9), None);
        assert_eq!(ours.translate(&theirs(0xf7fc_0000, 0x2000), 0xf7fc_0009), None);
    }
}
