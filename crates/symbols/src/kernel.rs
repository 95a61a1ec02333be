//! Names of kernel addresses, from `/proc/kallsyms` alone: looking for the
//! kernel's debug information costs more than the lines in it are worth here.

use std::cell::OnceCell;
use std::fs::File;
use std::io::BufReader;
use std::rc::Rc;

use whyslow_events::{Frame, KernelFunctions, SymbolKey};

use crate::addresses::Wanted;
use crate::kallsyms::{Function, Kallsyms};

const MODULE: &str = "[kernel]";

/// The upper half of the address space is the kernel's on every 64-bit
/// architecture Linux runs on.
const KERNEL_HALF: u64 = 1 << 63;

/// The functions of the kernel. They are read when they are first asked for, which takes
/// some 50 ms, and shared by all copies of this.
#[derive(Clone, Debug, Default)]
pub struct Kernel(Rc<OnceCell<Kallsyms>>);

impl Kernel {
    /// Names `wanted`, all kernel addresses, in their order. Modules may have come since
    /// the functions were read: for an address in none of the kernel's own they are read anew.
    pub(crate) fn name(&self, wanted: &[Wanted]) -> Vec<(SymbolKey, Vec<Frame>)> {
        let own = |known: &&Kallsyms| wanted.iter().all(|wanted| known.holds(wanted.executing()));
        match self.0.get().filter(own) {
            Some(known) => name_from(known, wanted),
            None if wanted.is_empty() => vec![],
            None => name_from(&read(), wanted),
        }
    }
}

impl KernelFunctions for Kernel {
    fn all(&self, each: &mut dyn FnMut(u64, &str)) {
        self.0.get_or_init(read).all(each);
    }
}

/// None where they cannot be read.
fn read() -> Kallsyms {
    File::open("/proc/kallsyms")
        .map(|file| Kallsyms::read(BufReader::new(file)))
        .unwrap_or_default()
}

fn name_from(kallsyms: &Kallsyms, wanted: &[Wanted]) -> Vec<(SymbolKey, Vec<Frame>)> {
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
        let named = name_from(&Kallsyms::read(kallsyms.as_bytes()), &wanted);
        named.into_iter().map(|(_, frames)| frames[0].function.clone()).collect()
    }

    #[test]
    fn per_cpu_symbols_do_not_name_low_addresses() {
        let kallsyms = "0000000000001000 T cpu_data\nffffffff81000000 T _text\n";
        let names = named(kallsyms, &[0x1004, 0xffff_ffff_8100_0004]);
        assert_eq!(names, ["[kernel]+0x1004", "_text"]);
    }

    #[test]
    fn what_was_read_names_the_kernel_s_own_code_alone() {
        let table = "ffffffff81000000 T _stext\nffffffff81000100 T nothing_else_is_named_so\n\
            ffffffff81000200 T _etext\n";
        let kernel = Kernel::default();
        kernel.0.set(Kallsyms::read(table.as_bytes())).unwrap();
        let name = |address| {
            let wanted = Wanted { key: SymbolKey { space: None, address }, is_return: false };
            kernel.name(&[wanted])[0].1[0].function.clone()
        };
        assert_eq!(name(0xffff_ffff_8100_0104), "nothing_else_is_named_so");
        assert_ne!(name(0xffff_ffff_8100_0204), "_etext");
    }

    #[test]
    fn hidden_symbols_are_a_miss() {
        let kallsyms = "0000000000000000 T _text\n0000000000000000 T schedule\n";
        assert_eq!(named(kallsyms, &[0xffff_ffff_8100_0004]), ["[kernel]+0xffffffff81000004"]);
        assert_eq!(named("", &[0xffff_ffff_8100_0004]), ["[kernel]+0xffffffff81000004"]);
    }
}
