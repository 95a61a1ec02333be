//! What the host allows: tracepoints, and the remedy for each refusal.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::Error;
use crate::error::errno_of;

/// Where tracefs is found, in the order tried.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The number of the tracepoint `system:name`. Mounts tracefs when it is
/// nowhere to be found and we may.
///
/// # Errors
/// When tracefs cannot be read, with the remedy.
pub(crate) fn tracepoint_id(system: &str, name: &str) -> Result<u64, Error> {
    let relative = Path::new("events").join(system).join(name).join("id");
    let read = || {
        let mut last = None;
        for root in TRACEFS {
            let path = Path::new(root).join(&relative);
            match fs::read_to_string(&path) {
                Ok(text) => return Ok(text),
                // The first refusal that is not "not there" is the one to tell.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    last.get_or_insert((path, error));
                }
                Err(error) => last = Some((path, error)),
            }
        }
        Err(last.expect("TRACEFS is not empty"))
    };
    let text = match read() {
        Err((_, error)) if error.kind() == io::ErrorKind::NotFound && mount_tracefs() => read(),
        other => other,
    };
    let (path, errno) = match text {
        Ok(text) => match text.trim().parse() {
            Ok(id) => return Ok(id),
            Err(_) => (PathBuf::from(TRACEFS[0]).join(&relative), Errno::EINVAL),
        },
        Err((path, error)) => (path, errno_of(&error)),
    };
    let remedy = match errno {
        Errno::EACCES | Errno::EPERM => {
            "run as root, or grant CAP_DAC_READ_SEARCH with CAP_PERFMON: \
             setcap cap_perfmon,cap_dac_read_search,cap_sys_ptrace,cap_syslog+ep $(which whyslow)"
        }
        _ => "mount it: mount -t tracefs nodev /sys/kernel/tracing",
    };
    Err(Error::Tracepoint { path, errno, remedy: remedy.to_owned() })
}

fn mount_tracefs() -> bool {
    mount(Some("nodev"), TRACEFS[0], Some("tracefs"), MsFlags::empty(), None::<&str>).is_ok()
}

/// What to do when a ring may not be as large as we want.
pub(crate) const RING_REMEDY: &str = "raise kernel.perf_event_mlock_kb, or grant CAP_IPC_LOCK";

/// What to do when `perf_event_open` gives `errno`.
pub(crate) fn open_event_remedy(errno: Errno) -> String {
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
    match errno {
        Errno::EACCES | Errno::EPERM => format!(
            "kernel.perf_event_paranoid is {paranoid}: run as root, or grant the capabilities: \
             setcap cap_perfmon,cap_dac_read_search,cap_sys_ptrace,cap_syslog+ep $(which whyslow); \
             in a container, its seccomp profile must allow perf_event_open"
        ),
        Errno::ENOSYS => {
            "this kernel, or the container's seccomp profile, has no perf_event_open".to_owned()
        }
        Errno::EMFILE => "raise the limit of open files: ulimit -n".to_owned(),
        Errno::ENOENT | Errno::EOPNOTSUPP => "this kernel does not support the event".to_owned(),
        Errno::EBUSY => "another program holds the event exclusively".to_owned(),
        _ => "see perf_event_open(2)".to_owned(),
    }
}
