//! The one thing we read from `/proc/self/maps`: where a named region lies.

/// The address range of the first line named `name`.
pub(crate) fn range_of(maps: &str, name: &str) -> Option<(u64, u64)> {
    let line = maps.lines().find(|line| line.split_ascii_whitespace().nth(5) == Some(name))?;
    let (start, end) = line.split_ascii_whitespace().next()?.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_found_by_its_name_alone() {
        let maps = "55d0c0000000-55d0c0002000 r-xp 00000000 fe:00 12  /tmp/a [vdso] b\n\
                    7ffd11000000-7ffd11002000 r-xp 00000000 00:00 0  [vdso]\n";
        assert_eq!(range_of(maps, "[vdso]"), Some((0x7ffd_1100_0000, 0x7ffd_1100_2000)));
        assert_eq!(range_of(maps, "[heap]"), None);
        assert_eq!(range_of("zz-yy r-xp 0 0:0 0 [vdso]\n\n-\n", "[vdso]"), None);
    }
}
