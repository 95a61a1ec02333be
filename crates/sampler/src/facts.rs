//! Facts of this host.

use nix::unistd::{SysconfVar, sysconf};
use whyslow_events::SystemFacts;

/// Page size, clock ticks and CPU count of this host.
#[must_use]
pub fn system_facts() -> SystemFacts {
    let ask = |var| sysconf(var).ok().flatten().and_then(|n| u64::try_from(n).ok());
    SystemFacts {
        page_size: procfs::page_size(),
        clock_ticks: procfs::ticks_per_second(),
        cpus: ask(SysconfVar::_NPROCESSORS_ONLN).and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
    }
}

/// The kernel's random name of the present boot; empty where there is none.
#[must_use]
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

/// What this host calls itself.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Host name.
    pub(crate) name: String,
    /// The kernel's release, such as `6.18.4`.
    pub(crate) kernel: String,
    /// The machine's architecture, such as `x86_64`.
    pub(crate) arch: String,
}

impl Host {
    /// This host.
    pub(crate) fn this() -> Host {
        match nix::sys::utsname::uname() {
            Ok(names) => Host {
                name: names.nodename().to_string_lossy().into_owned(),
                kernel: names.release().to_string_lossy().into_owned(),
                arch: names.machine().to_string_lossy().into_owned(),
            },
            Err(_) => Host {
                name: String::new(),
                kernel: String::new(),
                arch: std::env::consts::ARCH.to_owned(),
            },
        }
    }
}
