//! Ring records: one of each type, laid out as the kernel does.

const SAMPLE: u32 = 9;
/// From lost (2) to mapping (10), the types of side records.
const SIDE_RECORDS: std::ops::RangeInclusive<u32> = 2..=10;
/// Where the raw data of `sched_switch` has its PIDs, and more than it is long.
const RAW_BYTES: usize = 64;
/// What our program writes of a switch.
const TOLD_BYTES: usize = 68;

/// One record of each type.
pub(crate) fn records() -> Vec<Vec<u8>> {
    let side = SIDE_RECORDS.filter(|kind| *kind != SAMPLE);
    side.map(|kind| record(kind, &[side_fields(), sample_id()].concat()))
        .chain(
            [chain(), [chain(), user_stack()].concat()]
                .map(|fields| record(SAMPLE, &[leading_fields(), fields].concat())),
        )
        .chain([record(SAMPLE, &[words(&[1_000, 1]), raw_and_registers()].concat())])
        .chain([record(SAMPLE, &[words(&[1_000, 1]), raw(TOLD_BYTES)].concat())])
        .collect()
}

/// Type, no flags, size; then the body.
fn record(kind: u32, body: &[u8]) -> Vec<u8> {
    const HEADER: usize = 8;
    let size = u16::try_from(HEADER + body.len()).expect("seeds are short");
    [&kind.to_ne_bytes()[..], &[0; 2], &size.to_ne_bytes(), body].concat()
}

/// PID, TID, time, id, CPU.
fn leading_fields() -> Vec<u8> {
    [&sample_id()[..16], &words(&[1, 0])].concat()
}

/// PID, TID, time, id, CPU at the end of a side record.
fn sample_id() -> Vec<u8> {
    [&[7, 0, 0, 0, 7, 0, 0, 0][..], &words(&[1_000, 1, 0])].concat()
}

/// Enough for the fields of any side record, with a name at the end.
fn side_fields() -> Vec<u8> {
    [&words(&[7, 7, 1 << 12, 0, 0, 0, 0, 0]), &b"/usr/bin/program\0\0\0\0\0\0\0\0"[..]].concat()
}

/// A call chain: its length, then kernel and user half behind their marks.
fn chain() -> Vec<u8> {
    const KERNEL: u64 = 128u64.wrapping_neg();
    const USER: u64 = 512u64.wrapping_neg();
    words(&[5, KERNEL, 0xffff_ffff_8100_0000, USER, 0x40_0010, 0x40_0020])
}

/// Raw data behind its length.
fn raw(length: usize) -> Vec<u8> {
    let prefix = u32::try_from(length).expect("seeds are short");
    [&prefix.to_ne_bytes()[..], &vec![0x33; length]].concat()
}

/// Raw data behind its length, then the user registers behind their ABI.
fn raw_and_registers() -> Vec<u8> {
    const ABI_64: u64 = 2;
    const REGISTERS: usize = 24;
    let length = u32::try_from(RAW_BYTES + 4).expect("seeds are short");
    let raw = [0; RAW_BYTES + 4];
    [&length.to_ne_bytes()[..], &raw, &words(&[ABI_64]), &words(&[1; REGISTERS])].concat()
}

/// Registers behind their ABI, room for a copy of the stack, how much was filled.
fn user_stack() -> Vec<u8> {
    const ABI_64: u64 = 2;
    const REGISTERS: usize = 17;
    words(&[&[ABI_64], &[1; REGISTERS][..], &[32, 1, 2, 3, 4, 24]].concat())
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
