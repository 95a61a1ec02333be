//! Where the kernel keeps what our program reads, by its own description of its types
//! (`/sys/kernel/btf/vmlinux`, Documentation/bpf/btf.rst).

/// What the program needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Types {
    /// Number of the type of the tracepoint.
    pub(super) switch: u32,
    /// Offsets in `struct task_struct`.
    pub(super) pid: i16,
    pub(super) flags: i16,
    pub(super) exit_state: i16,
    /// Of the time in run queues so far, ns.
    pub(super) run_delay: i16,
    /// Of the time on CPUs so far, ns.
    pub(super) ran: i16,
}

/// Kinds of types (linux/btf.h).
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const ENUM64: u32 = 19;
}

/// Length of what every type begins with: name, kind, size.
const HEAD: usize = 12;
/// Length of a member: name, type, offset in bits.
const MEMBER: usize = 12;

/// Looks for them; `None` where one is missing or this is no such description.
pub(crate) fn kernel_types(bytes: &[u8]) -> Option<Types> {
    const MAGIC: [u8; 2] = 0xeb9fu16.to_ne_bytes();
    if !bytes.starts_with(&MAGIC) {
        return None;
    }
    let header = word(bytes, 4)? as usize;
    let part = |at: usize| {
        let (offset, length) = (word(bytes, at)? as usize, word(bytes, at + 4)? as usize);
        bytes.get(header.checked_add(offset)?..)?.get(..length)
    };
    let (mut rest, names) = (part(8)?, part(16)?);
    let (mut switch, mut task, mut delays, mut entity) = (None, None, None, None);
    let mut number = 0;
    while let Some((head, tail)) = rest.split_at_checked(HEAD) {
        number += 1;
        let (name, info) = (word(head, 0)?, word(head, 4)?);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let (more, tail) = tail.split_at_checked(length_of(kind, count))?;
        let is = |wanted: &[u8]| is_named(names, name, wanted);
        match kind {
            kind::TYPEDEF if is(b"btf_trace_sched_switch") => switch = Some(number),
            kind::STRUCT if is(b"task_struct") => task = Some(more),
            kind::STRUCT if is(b"sched_info") => delays = Some(more),
            kind::STRUCT if is(b"sched_entity") => entity = Some(more),
            _ => {}
        }
        rest = tail;
    }
    let offset = |name: &[u8]| member(task?, names, name);
    let within = |name: &[u8], part: Option<&[u8]>, member_of: &[u8]| {
        offset(name)?.checked_add(member(part?, names, member_of)?)
    };
    Some(Types {
        switch: switch?,
        pid: offset(b"pid")?,
        flags: offset(b"flags")?,
        exit_state: offset(b"exit_state")?,
        run_delay: within(b"sched_info", delays, b"run_delay")?,
        ran: within(b"se", entity, b"sum_exec_runtime")?,
    })
}

/// How many bytes of a type follow its head.
fn length_of(kind: u32, count: usize) -> usize {
    match kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION => MEMBER * count,
        kind::ENUM | kind::FUNC_PROTO => 8 * count,
        kind::DATASEC | kind::ENUM64 => 12 * count,
        _ => 0,
    }
}

/// The offset in bytes of a member that is no bit field.
fn member(members: &[u8], names: &[u8], wanted: &[u8]) -> Option<i16> {
    let found = members
        .chunks_exact(MEMBER)
        .find(|member| word(member, 0).is_some_and(|name| is_named(names, name, wanted)))?;
    // Of a structure with bit fields the highest byte is a width, which is 0 of others.
    i16::try_from(word(found, 8)? / 8).ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// Whether this name, and its zero byte, is at an offset.
fn is_named(names: &[u8], at: u32, wanted: &[u8]) -> bool {
    let name = names.get(at as usize..).and_then(|names| names.strip_prefix(wanted));
    name.is_some_and(|rest| rest.first() == Some(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[u8] = b"\0btf_trace_sched_switch\0\
        task_struct\0pid\0flags\0exit_state\0sched_info\0run_delay\0\
        se\0sched_entity\0sum_exec_runtime\0";

    fn name(of: &str) -> u32 {
        let at = NAMES
            .windows(of.len() + 1)
            .position(|name| name.strip_suffix(b"\0") == Some(of.as_bytes()));
        u32::try_from(at.unwrap()).unwrap()
    }

    fn head(of: &str, kind: u32, count: u32) -> Vec<u32> {
        vec![name(of), kind << 24 | count, 0]
    }

    /// The tracepoint is type 2.
    fn description() -> Vec<u8> {
        let members = ["flags", "pid", "exit_state", "sched_info", "se"];
        let members = members.into_iter().zip([44, 1264, 1160, 1100, 192]);
        let members = members.flat_map(|(member, at)| [name(member), 1, at * 8]);
        let delay = [name("run_delay"), 1, 8 * 8];
        let ran = [name("sum_exec_runtime"), 1, 8 * 56];
        let types: Vec<u32> = [
            [head("", kind::ENUM, 2), vec![1, 2, 3, 4]].concat(),
            head("btf_trace_sched_switch", kind::TYPEDEF, 0),
            head("task_struct", kind::STRUCT, 5).into_iter().chain(members).collect(),
            head("sched_info", kind::STRUCT, 1).into_iter().chain(delay).collect(),
            head("sched_entity", kind::STRUCT, 1).into_iter().chain(ran).collect(),
        ]
        .concat();
        let length = 4 * u32::try_from(types.len()).unwrap();
        let header = [u32::from_ne_bytes([MAGIC[0], MAGIC[1], 1, 0]), 24, 0, length, length];
        let length = u32::try_from(NAMES.len()).unwrap();
        let words = header.into_iter().chain([length]).chain(types);
        words.flat_map(u32::to_ne_bytes).chain(NAMES.iter().copied()).collect()
    }

    const MAGIC: [u8; 2] = 0xeb9fu16.to_ne_bytes();

    #[test]
    fn what_the_program_needs_is_found() {
        let (pid, flags, exit_state) = (1264, 44, 1160);
        let expected = Types { switch: 2, pid, flags, exit_state, run_delay: 1108, ran: 248 };
        assert_eq!(kernel_types(&description()), Some(expected));
    }

    #[test]
    fn what_is_cut_short_or_lacks_a_name_is_no_description() {
        let whole = description();
        assert!((0..whole.len() - 1).all(|length| kernel_types(&whole[..length]).is_none()));
        let at = whole.windows(4).position(|bytes| bytes == b"pid\0").unwrap();
        let mut renamed = whole;
        renamed[at] = b'q';
        assert_eq!(kernel_types(&renamed), None);
    }
}
