//! The executable memory in `/proc/PID/maps`. The paths in it are anybody's:
//! not UTF-8, or like the kernel's own names, which `procfs` does not survive.

use std::io::BufRead;

use crate::perf::Mapping;

/// The executable mappings; a line that is no mapping is left out.
pub(crate) fn executable(maps: impl BufRead) -> Vec<Mapping> {
    maps.split(b'\n').map_while(Result::ok).filter_map(|line| mapping(&line)).collect()
}

/// `start-end permissions offset device inode path`; numbers are hexadecimal.
fn mapping(line: &[u8]) -> Option<Mapping> {
    let line = String::from_utf8_lossy(line);
    let mut fields = line.splitn(6, ' ');
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = fields.next()?.split_once('-')?;
    let executable = fields.next()?.contains('x');
    let file_offset = hex(fields.next()?)?;
    let path = match fields.nth(2)?.trim_start() {
        code @ ("[vdso]" | "[vsyscall]") => code,
        "" => "//anon",
        other if other.starts_with('[') => "//anon",
        path => path,
    };
    let mapping = Mapping { start: hex(start)?, end: hex(end)?, file_offset, path: path.into() };
    executable.then_some(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(maps: &[u8]) -> Vec<String> {
        executable(maps).into_iter().map(|mapping| mapping.path).collect()
    }

    #[test]
    fn executable_memory_is_found_with_its_numbers() {
        let maps = b"\
00400000-00452000 r-xp 00001000 08:02 173521                             /usr/bin/a b (deleted)
00e03000-00e24000 rw-p 00000000 00:00 0                                  [heap]
";
        let path = "/usr/bin/a b (deleted)".to_owned();
        let (start, end) = (0x40_0000, 0x45_2000);
        let expected = Mapping { start, end, file_offset: 0x1000, path };
        assert_eq!(executable(&maps[..]), [expected]);
    }

    #[test]
    fn memory_without_a_file_is_anonymous_and_the_kernel_s_code_keeps_its_name() {
        let maps = b"1-2 r-xp 0 0:0 0 \n1-2 rwxp 0 0:0 0    [stack]\n1-2 r-xp 0 0:0 0    [vdso]\n";
        assert_eq!(paths(maps), ["//anon", "//anon", "[vdso]"]);
    }

    #[test]
    fn names_may_be_hostile_and_lines_broken() {
        let maps = b"1-2 r-xp 0 0:0 9 /SYSV1\n1-2 r-xp 0 0:0 9 /\xff\nx\n1-2 r-xp\n\n";
        assert_eq!(paths(maps), ["/SYSV1", "/\u{fffd}"]);
    }
}
