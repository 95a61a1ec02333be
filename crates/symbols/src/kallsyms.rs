//! The kernel's table of its own functions and those of its modules, as
//! `/proc/kallsyms` prints it: `ADDRESS KIND NAME`, and for a module a tab and
//! its name in brackets.

use std::io::BufRead;
use std::ops::Range;

use whyslow_events::KernelFunctions;

/// Symbols kept: ten times those of a kernel with many modules.
const LIMIT: usize = 4 << 20;

/// No function is longer: what lies further behind the last symbol of a
/// region is none of its.
const LONGEST: u64 = 1 << 20;

/// Where the kernel's own code begins and ends. It stays while the kernel runs; that of
/// modules and of programs in it comes and goes.
const BEGIN: &str = "_stext";
const END: &str = "_etext";

/// A function of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    /// In brackets, as the kernel prints it.
    pub(crate) module: Option<&'a str>,
}

/// All functions, by address.
#[derive(Debug, Default)]
pub(crate) struct Kallsyms {
    /// Address, and where in `text` the name and the module are.
    functions: Vec<(u64, u32, u32)>,
    text: String,
    /// Where the kernel's own are.
    own: Range<u64>,
}

impl Kallsyms {
    /// Up to the first error. Symbols whose address is hidden are left out.
    pub(crate) fn read(mut lines: impl BufRead) -> Kallsyms {
        let mut all = Kallsyms::default();
        let mut line = String::new();
        while all.functions.len() < LIMIT {
            line.clear();
            if !lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                break;
            }
            if let Some((address, name)) = parse(&line) {
                match name {
                    BEGIN => all.own.start = address,
                    END => all.own.end = address,
                    _ => {}
                }
                let start = all.text.len();
                all.text.push_str(name);
                let place = u32::try_from(start).ok().zip(u32::try_from(all.text.len()).ok());
                let Some((start, end)) = place else { break };
                all.functions.push((address, start, end));
            }
        }
        // Of several names for one address the kernel prefers the first.
        all.functions.sort_by_key(|(address, ..)| *address);
        all.functions.dedup_by_key(|(address, ..)| *address);
        all
    }

    /// Whether `address` is in the kernel's own code.
    pub(crate) fn holds(&self, address: u64) -> bool {
        self.own.contains(&address)
    }

    /// The function at `address`.
    pub(crate) fn find(&self, address: u64) -> Option<Function<'_>> {
        let behind = self.functions.partition_point(|(start, ..)| *start <= address);
        let (start, from, to) = *self.functions.get(behind.checked_sub(1)?)?;
        (address - start < LONGEST).then(|| self.function(from, to))?
    }

    fn function(&self, from: u32, to: u32) -> Option<Function<'_>> {
        let text = self.text.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)?;
        Some(match text.split_once('\t') {
            Some((name, module)) => Function { name, module: Some(module) },
            None => Function { name: text, module: None },
        })
    }
}

impl KernelFunctions for Kallsyms {
    fn all(&self, each: &mut dyn FnMut(u64, &str)) {
        for (address, from, to) in &self.functions {
            if let Some(Function { name, .. }) = self.function(*from, *to) {
                each(*address, name);
            }
        }
    }
}

/// Address, and name with module.
fn parse(line: &str) -> Option<(u64, &str)> {
    let (address, rest) = line.split_once(' ')?;
    let (kind, name) = rest.split_once(' ')?;
    let address = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0)?;
    matches!(kind, "t" | "T" | "w" | "W").then_some((address, name.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"ffffffff81000000 T _text\nffffffff81000000 T alias\n\
        ffffffff81000100 D data\nffffffff81000200 t inner\n\
        ffffffffc0001000 t nft_do_chain\t[nf_tables]\nffffffffc0000000 t first\t[ext4]\n\
        0000000000000000 T hidden\nnonsense\n T x\nffffffff81000300 T last";
    const OWN: &[u8] = b"ffffffff81000000 T _stext\nffffffff81000200 T _etext\n";

    fn at(address: u64) -> Option<(String, Option<String>)> {
        let all = Kallsyms::read(TEXT);
        all.find(address).map(|it| (it.name.to_owned(), it.module.map(str::to_owned)))
    }

    #[test]
    fn a_function_reaches_to_the_next_one_and_knows_its_module() {
        let function = |name: &str| Some((name.to_owned(), None));
        assert_eq!(at(0xffff_ffff_8100_0000), function("_text"));
        assert_eq!(at(0xffff_ffff_8100_01ff), function("_text"), "data is no function");
        assert_eq!(at(0xffff_ffff_8100_0200), function("inner"));
        assert_eq!(at(0xffff_ffff_8100_0300), function("last"));
        let nf_tables = Some("[nf_tables]".to_owned());
        assert_eq!(at(0xffff_ffff_c000_1004), Some(("nft_do_chain".to_owned(), nf_tables)));
        assert_eq!(at(0xffff_ffff_c000_0fff).unwrap().1.as_deref(), Some("[ext4]"));
    }

    #[test]
    fn the_kernel_s_own_code_is_told_from_that_of_modules() {
        let own = Kallsyms::read(OWN);
        let holds = |address| own.holds(address);
        assert!(holds(0xffff_ffff_8100_0000) && holds(0xffff_ffff_8100_01ff));
        assert!(!holds(0xffff_ffff_8100_0200) && !holds(0xffff_ffff_c000_1004));
        assert!(!Kallsyms::read(TEXT).holds(0xffff_ffff_8100_0000), "not told where it begins");
    }

    #[test]
    fn all_functions_come_in_order_without_their_modules() {
        let (mut names, mut last) = (vec![], 0);
        Kallsyms::read(TEXT).all(&mut |address, name| {
            assert!(address > last);
            last = address;
            names.push(name.to_owned());
        });
        assert_eq!(names, ["_text", "inner", "last", "first", "nft_do_chain"]);
    }

    #[test]
    fn what_is_far_from_all_functions_is_none_of_them() {
        for address in [0, 1, 0xffff_ffff_80ff_ffff, 0xffff_ffff_8110_0300, u64::MAX] {
            assert_eq!(at(address), None, "{address:#x}");
        }
    }
}
