//! Names of kernel addresses, from `/proc/kallsyms` alone: looking for the
//! kernel's debug information costs more than the lines in it are worth here.

use std::fs::File;
use std::io::{BufReader, Read};

use whyslow_events::{Frame, SymbolKey};

use crate::addresses::Wanted;
use crate::kallsyms::{Function, Kallsyms};

const MODULE: &str = "[kernel]";

/// The upper half of the address space is the kernel's on every 64-bit
/// architecture Linux runs on.
const KERNEL_HALF: u64 = 1 << 63;

/// Names `wanted`, all kernel addresses, in their order.
pub(crate) fn name(wanted: &[Wanted]) -> Vec<(SymbolKey, Vec<Frame>)> {
    match File::open("/proc/kallsyms") {
        Ok(file) if !wanted.is_empty() => name_from(file, wanted),
        _ => name_from(&[][..], wanted),
    }
}

fn name_from(kallsyms: impl Read, wanted: &[Wanted]) -> Vec<(SymbolKey, Vec<Frame>)> {
    let kallsyms = Kallsyms::read(BufReader::new(kallsyms));
    let frame = |wanted: &Wanted| frame(wanted.key.address, kallsyms.find(wanted.executing()));
    wanted.iter().map(|wanted| (wanted.key.clone(), vec![frame(wanted)])).collect()
}

fn frame(address: u64, found: Option<Function<'_>>) -> Frame {
    // Per-CPU symbols have small addresses: they would lend their names to
    // user addresses.
    let found = found.filter(|_| address >= KERNEL_HALF);
    let function = found.map_or_else(|| format!("{MODULE}+{address:#x}"), |it| it.name.to_owned());
    let module = found.and_then(|it| it.module).unwrap_or(MODULE).to_owned();
    Frame { function, module, ..Frame::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kallsyms: &str, addresses: &[u64]) -> Vec<String> {
        let key = |address| SymbolKey { space: None, address };
        let wanted: Vec<Wanted> =
            addresses.iter().map(|&at| Wanted { key: key(at), is_return: false }).collect();
        let named = name_from(kallsyms.as_bytes(), &wanted);
        named.into_iter().map(|(_, frames)| frames[0].function.clone()).collect()
    }

    #[test]
    fn per_cpu_symbols_do_not_name_low_addresses() {
        let kallsyms = "0000000000001000 T cpu_data\nffffffff81000000 T _text\n";
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
