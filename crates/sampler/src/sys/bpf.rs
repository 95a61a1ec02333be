//! Programs that the kernel runs at its tracepoints, tables of events into which they
//! write, and tables that they keep: `bpf(2)`. All end with the descriptors that stand for
//! them.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long};
use nix::errno::Errno;

/// Commands (`enum bpf_cmd`, linux/bpf.h).
const MAP_CREATE: c_int = 0;
const MAP_UPDATE_ELEM: c_int = 2;
const PROG_LOAD: c_int = 5;
const RAW_TRACEPOINT_OPEN: c_int = 17;
const MAP_LOOKUP_BATCH: c_int = 24;
const MAP_LOOKUP_AND_DELETE_BATCH: c_int = 25;
const MAP_UPDATE_BATCH: c_int = 26;

/// Kinds of tables (`enum bpf_map_type`, linux/bpf.h).
const HASH: u32 = 1;
const ARRAY: u32 = 2;
const PERF_EVENT_ARRAY: u32 = 4;
/// `BPF_PROG_TYPE_TRACING`, and `BPF_TRACE_RAW_TP`.
const TRACING: u32 = 26;
const RAW_TRACEPOINT: u32 = 23;

/// What the kernel wants to know before it lends its functions to a program.
const LICENCE: &CStr = c"Dual MIT/GPL";

/// Of `union bpf_attr`, as all of these, what each command reads.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
struct MapUpdate {
    map_fd: u64,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct MapBatch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

#[repr(C)]
struct RawTracepoint {
    name: u64,
    prog_fd: u64,
}

/// A table with room for one event of each CPU up to number `cpus` - 1.
///
/// # Errors
/// `EPERM` when we may not.
pub(crate) fn event_table(cpus: u32) -> nix::Result<OwnedFd> {
    create(MapCreate { map_type: PERF_EVENT_ARRAY, key_size: 4, value_size: 4, max_entries: cpus })
}

/// So many numbers that a program reads.
#[derive(Debug)]
pub(crate) struct Cell<const COUNT: usize>(OwnedFd);

/// A table that a program reads and writes, whose keys and values are so many numbers.
#[derive(Debug)]
pub(crate) struct Table<const KEY: usize, const VALUE: usize>(OwnedFd);

fn create(attributes: MapCreate) -> nix::Result<OwnedFd> {
    // SAFETY: these attributes point nowhere.
    owned(unsafe { bpf(MAP_CREATE, &attributes) })
}

impl<const COUNT: usize> Cell<COUNT> {
    /// A cell of 0.
    ///
    /// # Errors
    /// As [`event_table`].
    pub(crate) fn new() -> nix::Result<Self> {
        let value_size = u32::try_from(8 * COUNT).unwrap_or(u32::MAX);
        create(MapCreate { map_type: ARRAY, key_size: 4, value_size, max_entries: 1 }).map(Cell)
    }

    /// Puts numbers into it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn set(&self, numbers: &[u64; COUNT]) -> nix::Result<()> {
        let first: u32 = 0;
        update(self.0.as_fd(), &first, numbers)
    }

    pub(crate) fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl<const KEY: usize, const VALUE: usize> Table<KEY, VALUE> {
    /// A table of so many entries at most.
    ///
    /// # Errors
    /// As [`event_table`], and when there is no memory.
    pub(crate) fn new(entries: u32) -> nix::Result<Self> {
        let [key_size, value_size] =
            [KEY, VALUE].map(|count| u32::try_from(8 * count).unwrap_or(u32::MAX));
        create(MapCreate { map_type: HASH, key_size, value_size, max_entries: entries }).map(Table)
    }

    pub(crate) fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Enters all of these.
    ///
    /// # Errors
    /// `E2BIG` where there is no room for all.
    pub(crate) fn enter(&self, entries: &[([u64; KEY], [u64; VALUE])]) -> nix::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let (keys, values): (Vec<_>, Vec<_>) = entries.iter().copied().unzip();
        let mut attributes = MapBatch {
            keys: keys.as_ptr().expose_provenance() as u64,
            values: values.as_ptr().expose_provenance() as u64,
            count: u32::try_from(entries.len()).map_err(|_| Errno::E2BIG)?,
            map_fd: self.0.as_raw_fd().cast_unsigned(),
            ..MapBatch::default()
        };
        // SAFETY: there are so many keys and values of the table's sizes, and they outlive
        // the call.
        Errno::result(unsafe { bpf_mut(MAP_UPDATE_BATCH, &mut attributes) }).map(drop)
    }

    /// Everything that is in it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn read(&self) -> nix::Result<Vec<([u64; KEY], [u64; VALUE])>> {
        self.all(MAP_LOOKUP_BATCH)
    }

    /// Takes everything out.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn take(&self) -> nix::Result<Vec<([u64; KEY], [u64; VALUE])>> {
        self.all(MAP_LOOKUP_AND_DELETE_BATCH)
    }

    fn all(&self, command: c_int) -> nix::Result<Vec<([u64; KEY], [u64; VALUE])>> {
        /// More than any row of a table has.
        const AT_ONCE: usize = 1024;
        let mut keys = vec![[0; KEY]; AT_ONCE];
        let mut values = vec![[0; VALUE]; AT_ONCE];
        // Where to go on: four bytes, as the kernel has it.
        let (mut from, mut to) = (0u32, 0u32);
        let (mut taken, mut goes_on) = (vec![], false);
        loop {
            let begin = if goes_on { (&raw mut from).expose_provenance() as u64 } else { 0 };
            let mut attributes = MapBatch {
                in_batch: begin,
                out_batch: (&raw mut to).expose_provenance() as u64,
                keys: keys.as_mut_ptr().expose_provenance() as u64,
                values: values.as_mut_ptr().expose_provenance() as u64,
                count: AT_ONCE as u32,
                map_fd: self.0.as_raw_fd().cast_unsigned(),
                ..MapBatch::default()
            };
            // SAFETY: there is room for so many keys and values of the table's sizes, and
            // for the places to go on, and it outlives the call.
            let result = Errno::result(unsafe { bpf_mut(command, &mut attributes) });
            let over = match result {
                Ok(_) => false,
                Err(Errno::ENOENT) => true,
                Err(errno) => return Err(errno),
            };
            let count = (attributes.count as usize).min(AT_ONCE);
            taken.extend(keys.iter().copied().zip(values.iter().copied()).take(count));
            if over {
                return Ok(taken);
            }
            (from, goes_on) = (to, true);
        }
    }
}

/// Has what is written on `cpu` go to `event`.
///
/// # Errors
/// When the event is none that can be written to.
pub(crate) fn enter_event(table: BorrowedFd<'_>, cpu: u32, event: &File) -> nix::Result<()> {
    update(table, &cpu, &event.as_raw_fd())
}

/// Enters one value. The table must be one whose keys and values are of this size.
fn update<K, V>(table: BorrowedFd<'_>, key: &K, value: &V) -> nix::Result<()> {
    let attributes = MapUpdate {
        map_fd: table.as_raw_fd() as u64,
        key: (&raw const *key).expose_provenance() as u64,
        value: (&raw const *value).expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: both live until the call returns, and the kernel reads as much of them as the
    // table was made for: see the callers.
    Errno::result(unsafe { bpf(MAP_UPDATE_ELEM, &attributes) }).map(drop)
}

/// Has the kernel run these instructions from now on at the tracepoint whose type is `at`,
/// as long as the result lives.
///
/// # Errors
/// `EPERM` when we may not, `EINVAL` or `EACCES` when the kernel does not take them.
pub(crate) fn run_at(at: u32, instructions: &[u64]) -> nix::Result<OwnedFd> {
    let attributes = ProgLoad {
        prog_type: TRACING,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        insns: instructions.as_ptr().expose_provenance() as u64,
        license: LICENCE.as_ptr().expose_provenance() as u64,
        expected_attach_type: RAW_TRACEPOINT,
        attach_btf_id: at,
        ..ProgLoad::default()
    };
    // SAFETY: the instructions, as many as said, and the text outlive the call, and the
    // kernel checks what it is given; there is no log.
    let program = owned(unsafe { bpf(PROG_LOAD, &attributes) })?;
    let attributes = RawTracepoint { name: 0, prog_fd: program.as_raw_fd() as u64 };
    // SAFETY: without a name these attributes point nowhere.
    owned(unsafe { bpf(RAW_TRACEPOINT_OPEN, &attributes) })
}

/// # Safety
/// What `attributes` point to must be what `command` expects.
unsafe fn bpf<T>(command: c_int, attributes: &T) -> c_long {
    // SAFETY: the size is that of the attributes; the rest is the caller's promise.
    unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) }
}

/// The same of a command that writes into its attributes.
///
/// # Safety
/// As [`bpf`].
unsafe fn bpf_mut<T>(command: c_int, attributes: &mut T) -> c_long {
    // SAFETY: as there.
    unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) }
}

/// The descriptor that a call has given.
fn owned(result: c_long) -> nix::Result<OwnedFd> {
    let fd = i32::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
