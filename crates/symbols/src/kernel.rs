//! Names of kernel addresses, from `/proc/kallsyms` alone: looking for the
//! kernel's debug information costs more than the lines in it are worth here.

use std::path::PathBuf;

use blazesym::MaybeDefault;
use blazesym::symbolize::source::{Kernel, Source};
use blazesym::symbolize::{Input, Symbolized};
use whyslow_events::{Frame, SymbolKey};

use crate::addresses::Wanted;

const MODULE: &str = "[kernel]";

/// The upper half of the address space is the kernel's on every 64-bit
/// architecture Linux runs on.
const KERNEL_HALF: u64 = 1 << 63;

/// Names `wanted`, all kernel addresses, in their order.
pub(crate) fn name(wanted: &[Wanted]) -> Vec<(SymbolKey, Vec<Frame>)> {
    name_from(MaybeDefault::Default, wanted)
}

fn name_from(kallsyms: MaybeDefault<PathBuf>, wanted: &[Wanted]) -> Vec<(SymbolKey, Vec<Frame>)> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let executing: Vec<u64> = wanted.iter().map(Wanted::executing).collect();
    let vmlinux = MaybeDefault::None;
    let source = Kernel { kallsyms, vmlinux, debug_syms: false, ..Kernel::default() };
    let symbolizer = blazesym::symbolize::Symbolizer::new();
    let found = symbolizer.symbolize(&Source::Kernel(source), Input::AbsAddr(&executing));
    let found = found.unwrap_or_default();
    let mut found = found.iter();
    wanted.iter().map(|wanted| (wanted.key.clone(), vec![frame(wanted, found.next())])).collect()
}

fn frame(wanted: &Wanted, found: Option<&Symbolized<'_>>) -> Frame {
    let address = wanted.key.address;
    // Per-CPU symbols have small addresses, and a symbol of kallsyms has no
    // end: they would lend their names to any user address.
    let symbol = found.filter(|_| address >= KERNEL_HALF).and_then(|found| found.as_sym());
    let function = match symbol {
        Some(symbol) => symbol.name.to_string(),
        None => format!("{MODULE}+{address:#x}"),
    };
    Frame { function, module: MODULE.to_owned(), ..Frame::default() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn named(kallsyms: &str, addresses: &[u64]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kallsyms");
        fs::write(&path, kallsyms).unwrap();
        let key = |address| SymbolKey { space: None, address };
        let wanted: Vec<Wanted> =
            addresses.iter().map(|&at| Wanted { key: key(at), is_return: false }).collect();
        let named = name_from(MaybeDefault::Some(path), &wanted);
        named.into_iter().map(|(_, frames)| frames[0].function.clone()).collect()
    }

    #[test]
    fn per_cpu_symbols_do_not_name_low_addresses() {
        let kallsyms = "0000000000001000 A cpu_data\nffffffff81000000 T _text\n";
        let names = named(kallsyms, &[0x1004, 0xffff_ffff_8100_0004]);
        assert_eq!(names, ["[kernel]+0x1004", "_text"]);
    }

    #[test]
    fn hidden_symbols_are_a_miss() {
        let kallsyms = "0000000000000000 T _text\n0000000000000000 T schedule\n";
        assert_eq!(named(kallsyms, &[0xffff_ffff_8100_0004]), ["[kernel]+0xffffffff81000004"]);
        assert_eq!(named("", &[0xffff_ffff_8100_0004]), ["[kernel]+0xffffffff81000004"]);
    }
}
