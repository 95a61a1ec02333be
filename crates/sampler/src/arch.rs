//! Everything that is true of x86-64 only: registers, the system call
//! convention, and how a call's number is read from the code before it.

use std::str::FromStr;

use syscalls::x86_64::Sysno;

/// The user registers recorded at a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// RAX: −ENOSYS while in a system call.
    result: u64,
    /// RDI, RSI, RDX: the first three arguments.
    pub arguments: [u64; 3],
    /// RIP: after the `syscall` instruction.
    pub pc: u64,
}

/// Numbers of `enum perf_event_x86_regs` (asm/perf_regs.h).
const AX: u32 = 0;
const DX: u32 = 3;
const SI: u32 = 4;
const DI: u32 = 5;
const IP: u32 = 8;

impl Registers {
    /// How many there are in a record.
    pub const COUNT: usize = 5;
    /// The mask to ask for them.
    pub const MASK: u64 = 1 << AX | 1 << DX | 1 << SI | 1 << DI | 1 << IP;

    /// From the ring, where they stand in the order of their numbers.
    #[must_use]
    pub fn from_ring([ax, dx, si, di, ip]: [u64; Self::COUNT]) -> Self {
        Registers { result: ax, arguments: [di, si, dx], pc: ip }
    }

    /// Whether the thread came into the kernel by a system call: the entry
    /// code stores −ENOSYS as the result until there is one.
    #[must_use]
    pub fn in_syscall(&self) -> bool {
        const ENOSYS: u64 = 38;
        self.result == ENOSYS.wrapping_neg()
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
    /// A message queue, semaphore or the like.
    Queue,
    /// The first argument is an `io_uring` descriptor.
    IoUring,
}

/// What the call with `number` waits on.
pub(crate) fn subject_of(number: u32) -> Subject {
    use Sysno as S;
    let Some(call) = Sysno::new(number as usize) else { return Subject::None };
    match call {
        S::epoll_wait | S::epoll_pwait | S::epoll_pwait2 => Subject::Epoll,
        S::poll | S::ppoll => Subject::Poll,
        S::select | S::pselect6 => Subject::Select,
        S::futex => Subject::Futex,
        S::msgrcv | S::msgsnd | S::semop | S::semtimedop | S::mq_timedreceive | S::mq_timedsend => {
            Subject::Queue
        }
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
        | S::getdents
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
        let ring = |ax| Registers::from_ring([ax, 3, 2, 1, 0x1000]);
        assert!(ring(u64::MAX - 37).in_syscall());
        assert!(!ring(0).in_syscall());
        assert_eq!(ring(0).arguments, [1, 2, 3]);
    }
}
