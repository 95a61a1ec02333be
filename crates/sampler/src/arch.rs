//! Everything that is true of x86-64 only: registers, the system call
//! convention, and how a call's number is read from the code before it. On another
//! architecture nothing of that is believed, and what is left says so.

use std::str::FromStr;

use syscalls::Sysno;
use whyslow_events::{Fallback, UserRegisters};

/// Whether this machine is one whose registers and stacks we know.
pub(crate) const IS_KNOWN: bool = cfg!(target_arch = "x86_64");

/// What to do on another.
pub(crate) const REMEDY: &str = "whyslow was tested on x86-64 alone: record there";

/// How much of a stack is copied when so much is asked for. Where we cannot
/// unwind it, the kernel follows frame pointers.
pub(crate) fn stack_bytes(wanted: u32) -> u32 {
    if IS_KNOWN { wanted } else { 0 }
}

/// What is done without where so much of each stack is asked for.
pub(crate) fn fallback(wanted: u32) -> Option<Fallback> {
    (stack_bytes(wanted) < wanted).then(|| Fallback {
        wanted: "stacks by unwind information, and those of interpreted programs".to_owned(),
        got: "what frame pointers give; nothing of it was ever tested here".to_owned(),
        errno: std::env::consts::ARCH.to_owned(),
        remedy: REMEDY.to_owned(),
    })
}

/// The user registers recorded at a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// RAX: −ENOSYS while in a system call.
    result: u64,
    /// RDI, RSI, RDX: the first three arguments.
    pub arguments: [u64; 3],
    /// RIP: after the `syscall` instruction.
    pub pc: u64,
    /// RSP.
    pub sp: u64,
    /// RBP.
    pub bp: u64,
}

/// Numbers of `enum perf_event_x86_regs` (asm/perf_regs.h).
const AX: u32 = 0;
const DX: u32 = 3;
const SI: u32 = 4;
const DI: u32 = 5;
const BP: u32 = 6;
const SP: u32 = 7;
const IP: u32 = 8;
const R8: u32 = 16;
const R15: u32 = 23;

/// No such call (asm-generic/errno.h): the result of one until there is one.
const ENOSYS: i32 = 38;

impl Registers {
    /// How many there are in a record.
    pub const COUNT: usize = 7;
    /// The mask to ask for them.
    pub const MASK: u64 = 1 << AX | 1 << DX | 1 << SI | 1 << DI | 1 << BP | 1 << SP | 1 << IP;

    /// Where they stand, in the same order, in what the kernel keeps of user code that
    /// entered it (`struct pt_regs`, asm/ptrace.h), and where the code segment does.
    pub(crate) const IN_FRAME: [i16; Self::COUNT] = [80, 96, 104, 112, 32, 152, 128];
    pub(crate) const SEGMENT_IN_FRAME: i16 = 136;

    /// From the ring, where they stand in the order of their numbers.
    #[must_use]
    pub fn from_ring([ax, dx, si, di, bp, sp, ip]: [u64; Self::COUNT]) -> Self {
        Registers { result: ax, arguments: [di, si, dx], pc: ip, sp, bp }
    }

    /// Whether a code segment is that of 64-bit user code (`__USER_CS`, asm/segment.h; in a
    /// guest of Xen, with higher bits). A 32-bit program has its arguments elsewhere.
    pub(crate) fn are_wide(segment: u16) -> bool {
        segment & 0xff == 0x33
    }

    /// What unwinding can start from.
    #[must_use]
    pub fn user(&self) -> UserRegisters {
        let mut user = UserRegisters::new(self.pc, self.sp);
        user.set(UserRegisters::BP, self.bp);
        user
    }

    /// Whether the thread came into the kernel by a system call: the entry
    /// code stores −ENOSYS as the result until there is one.
    #[must_use]
    pub fn in_syscall(&self) -> bool {
        self.result == i64::from(-ENOSYS).cast_unsigned()
    }
}

/// What the kernel keeps of user code that entered it, as [`Registers::IN_FRAME`]: of a
/// system call.
pub(crate) struct CallInFrame;

impl CallInFrame {
    const NUMBER: i16 = 120;
    /// What it has as long as there is no result, and where: see [`Registers::in_syscall`].
    pub(crate) const NO_RESULT: i32 = -ENOSYS;
    pub(crate) const RESULT: i16 = Registers::IN_FRAME[0];
    /// Its number, where it returns to, its first three arguments, and the stack pointer.
    pub(crate) const PARTS: [i16; 6] = {
        let [_, dx, si, di, _, sp, ip] = Registers::IN_FRAME;
        [Self::NUMBER, ip, di, si, dx, sp]
    };
}

/// All general registers of a 64-bit program, as unwinding wants them.
pub(crate) struct GeneralRegisters;

impl GeneralRegisters {
    /// How many there are in a record.
    pub(crate) const COUNT: usize = 17;
    /// The mask to ask for them: AX to IP, and R8 to R15.
    pub(crate) const MASK: u64 = ((1 << (IP + 1)) - 1) | ((1 << (R15 + 1)) - (1 << R8));

    /// From the ring, where they stand in the order of their numbers.
    pub(crate) fn from_ring(values: [u64; Self::COUNT]) -> UserRegisters {
        /// DWARF numbers of AX, BX, CX, DX, SI, DI, BP (System V ABI, figure 3.36).
        const DWARF: [usize; 7] = [0, 3, 2, 1, 4, 5, 6];
        let [low @ .., sp, ip, _, _, _, _, _, _, _, _] = values;
        let mut user = UserRegisters::new(ip, sp);
        DWARF.iter().zip(low).for_each(|(number, value)| user.set(*number, value));
        values[9..].iter().enumerate().for_each(|(index, value)| user.set(8 + index, *value));
        user
    }
}

/// Bytes of code before the return address from which
/// [`syscall_before`] may tell the number.
pub(crate) const CODE_BEFORE: usize = 7;

/// The number of the system call made by the instructions `code`, which end
/// where the call returns to: `mov $nr, %eax; syscall` or `xor %eax, %eax;
/// syscall`, as C libraries have them. `None` for anything else.
pub(crate) fn syscall_before(code: [u8; CODE_BEFORE]) -> Option<u32> {
    match code {
        [0xb8, a, b, c, d, 0x0f, 0x05] => Some(u32::from_le_bytes([a, b, c, d])),
        [.., 0x31, 0xc0, 0x0f, 0x05] => Some(0),
        _ => None,
    }
}

/// The name of a system call, without prefix.
pub(crate) fn syscall_name(number: u32) -> Option<&'static str> {
    Sysno::new(number as usize).map(|call| call.name())
}

/// The number of the system call that a kernel function carries out, by the
/// function's name; `None` when the name does not tell.
pub(crate) fn syscall_of_function(function: &str) -> Option<u32> {
    const PREFIXES: [&str; 5] = ["__x64_sys_", "__se_sys_", "__do_sys_", "ksys_", "__sys_"];
    let name = PREFIXES.iter().find_map(|prefix| function.strip_prefix(prefix));
    let call = match name.unwrap_or(function) {
        "newstat" => "stat",
        "newfstat" => "fstat",
        "newlstat" => "lstat",
        "newuname" => "uname",
        "sendfile64" => "sendfile",
        call if name.is_some() => call,
        // Called in the tail of the entry function, which then has no frame.
        "kernel_wait4" => "wait4",
        "do_epoll_wait" => "epoll_wait",
        "do_sys_poll" => "poll",
        "do_futex" => "futex",
        "core_sys_select" => "select",
        "common_nsleep" => "clock_nanosleep",
        "do_sys_openat2" => "openat",
        "do_fsync" => "fsync",
        _ => return None,
    };
    Sysno::from_str(call).ok().map(|call| call.id().cast_unsigned())
}

/// What the arguments of a call say of what it waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Nothing.
    None,
    /// The first argument is a file descriptor.
    Fd,
    /// The first argument is an epoll descriptor.
    Epoll,
    /// `struct pollfd *`, count.
    Poll,
    /// Count, then three `fd_set *`, of which we know two.
    Select,
    /// Address, operation, expected value.
    Futex,
    /// A message queue.
    Queue,
    /// The first argument is the number of a set of semaphores.
    Semaphores,
    /// The first argument is an `io_uring` descriptor.
    IoUring,
}

/// What the call with `number` waits on.
pub(crate) fn subject_of(number: u32) -> Subject {
    use Sysno as S;
    let Some(call) = Sysno::new(number as usize) else { return Subject::None };
    match call {
        S::epoll_pwait | S::epoll_pwait2 => Subject::Epoll,
        S::ppoll => Subject::Poll,
        S::pselect6 => Subject::Select,
        S::futex => Subject::Futex,
        S::msgrcv | S::msgsnd | S::mq_timedreceive | S::mq_timedsend => Subject::Queue,
        S::semop | S::semtimedop => Subject::Semaphores,
        S::io_uring_enter => Subject::IoUring,
        S::read
        | S::write
        | S::pread64
        | S::pwrite64
        | S::readv
        | S::writev
        | S::preadv
        | S::pwritev
        | S::preadv2
        | S::pwritev2
        | S::recvfrom
        | S::recvmsg
        | S::recvmmsg
        | S::sendto
        | S::sendmsg
        | S::sendmmsg
        | S::connect
        | S::accept
        | S::accept4
        | S::fsync
        | S::fdatasync
        | S::sync_file_range
        | S::syncfs
        | S::ftruncate
        | S::fallocate
        | S::getdents64
        | S::flock
        | S::fcntl
        | S::ioctl
        | S::sendfile
        | S::copy_file_range
        | S::splice
        | S::vmsplice
        | S::tee
        | S::close
        | S::shutdown
        | S::fstat
        | S::lseek
        | S::fadvise64
        | S::readahead => Subject::Fd,
        _ => older_subject_of(call),
    }
}

/// The same for calls that younger architectures do not have.
fn older_subject_of(call: Sysno) -> Subject {
    match call {
        #[cfg(target_arch = "x86_64")]
        Sysno::epoll_wait => Subject::Epoll,
        #[cfg(target_arch = "x86_64")]
        Sysno::poll => Subject::Poll,
        #[cfg(target_arch = "x86_64")]
        Sysno::select => Subject::Select,
        #[cfg(target_arch = "x86_64")]
        Sysno::getdents => Subject::Fd,
        _ => Subject::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_code() {
        assert_eq!(syscall_before([0xb8, 0xe6, 0, 0, 0, 0x0f, 0x05]), Some(230));
        assert_eq!(syscall_before([0x90, 0x90, 0x90, 0x31, 0xc0, 0x0f, 0x05]), Some(0));
        assert_eq!(syscall_before([0x48, 0x89, 0xc8, 0x90, 0x90, 0x0f, 0x05]), None);
    }

    #[test]
    fn kernel_functions_name_their_call() {
        let name = |function| syscall_of_function(function).and_then(syscall_name);
        assert_eq!(name("__x64_sys_clock_nanosleep"), Some("clock_nanosleep"));
        assert_eq!(name("ksys_read"), Some("read"));
        assert_eq!(name("__sys_recvfrom"), Some("recvfrom"));
        assert_eq!(name("do_futex"), Some("futex"));
        assert_eq!(name("schedule"), None);
        assert_eq!(name("read"), None);
    }

    #[test]
    fn a_result_of_enosys_means_in_a_call() {
        let ring = |ax| Registers::from_ring([ax, 3, 2, 1, 6, 7, 0x1000]);
        assert!(ring(u64::MAX - 37).in_syscall());
        assert!(!ring(0).in_syscall());
        assert_eq!(ring(0).arguments, [1, 2, 3]);
        let user = ring(0).user();
        assert_eq!((user.pc, user.sp(), user.get(UserRegisters::BP)), (0x1000, 7, Some(6)));
    }

    #[test]
    fn general_registers_get_their_dwarf_numbers() {
        assert_eq!(GeneralRegisters::MASK.count_ones() as usize, GeneralRegisters::COUNT);
        // AX BX CX DX SI DI BP SP IP R8 … R15
        let user = GeneralRegisters::from_ring(std::array::from_fn(|index| index as u64));
        let known: Vec<u64> = (0..16).filter_map(|number| user.get(number)).collect();
        assert_eq!(known, [0, 3, 2, 1, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(user.pc, 8);
    }
}
