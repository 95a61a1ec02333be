//! Names of kernel addresses, from `/proc/kallsyms` alone: looking for the
//! kernel's debug information costs more than the lines in it are worth here.

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
    if wanted.is_empty() {
        return Vec::new();
    }
    let executing: Vec<u64> = wanted.iter().map(Wanted::executing).collect();
    let symbolizer = blazesym::symbolize::Symbolizer::new();
    let found = symbolizer.symbolize(&kallsyms(), Input::AbsAddr(&executing)).unwrap_or_default();
    let mut found = found.iter();
    wanted.iter().map(|wanted| (wanted.key.clone(), vec![frame(wanted, found.next())])).collect()
}

fn kallsyms() -> Source<'static> {
    Source::Kernel(Kernel { vmlinux: MaybeDefault::None, debug_syms: false, ..Kernel::default() })
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
