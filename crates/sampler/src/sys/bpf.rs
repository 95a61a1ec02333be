//! Programs that the kernel runs at its tracepoints, and tables of events into which
//! they write: `bpf(2)`. Both end with the descriptors that stand for them.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long};
use nix::errno::Errno;

/// Commands (`enum bpf_cmd`, linux/bpf.h).
const MAP_CREATE: c_int = 0;
const MAP_UPDATE_ELEM: c_int = 2;
const PROG_LOAD: c_int = 5;
const RAW_TRACEPOINT_OPEN: c_int = 17;

/// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`.
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
    let attributes =
        MapCreate { map_type: PERF_EVENT_ARRAY, key_size: 4, value_size: 4, max_entries: cpus };
    // SAFETY: these attributes point nowhere.
    owned(unsafe { bpf(MAP_CREATE, &attributes) })
}

/// Has what is written on `cpu` go to `event`.
///
/// # Errors
/// When the event is none that can be written to.
pub(crate) fn enter_event(table: BorrowedFd<'_>, cpu: u32, event: &File) -> nix::Result<()> {
    let file = event.as_raw_fd();
    let attributes = MapUpdate {
        map_fd: table.as_raw_fd() as u64,
        key: (&raw const cpu).expose_provenance() as u64,
        value: (&raw const file).expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: key and value point to four bytes each, which live until the call returns.
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

/// The descriptor that a call has given.
fn owned(result: c_long) -> nix::Result<OwnedFd> {
    let fd = i32::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
