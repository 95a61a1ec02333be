//! What stands before the first event of a recording, whatever engine records.

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use whyslow_events::{Capabilities, EngineName, Header, Mode, Ns, SystemFacts, Target};

use super::{Options, now};
use crate::facts::Host;
use crate::{Error, boot_id};

/// What is known before the window begins; nothing of what the engine can see.
pub(crate) fn header(
    engine: EngineName,
    facts: SystemFacts,
    options: &Options,
    launched: bool,
) -> Header {
    let host = Host::this();
    Header {
        tool_version: options.tool_version.clone(),
        host: host.name,
        kernel: host.kernel,
        boot_id: boot_id(),
        arch: host.arch,
        facts,
        engine,
        capabilities: Capabilities::default(),
        fallbacks: vec![],
        frequency: options.frequency,
        target: Target {
            mode: if launched { Mode::Launch } else { Mode::Attach },
            pids: vec![],
            command: options.command.clone(),
            name: String::new(),
        },
        start: Ns(0),
        start_unix_ns: 0,
    }
}

/// The window begins now; when that is.
///
/// # Errors
/// When a clock cannot be read.
pub(crate) fn begin_window(header: &mut Header) -> Result<u64, Error> {
    let start = now()?;
    let unix = clock_gettime(ClockId::CLOCK_REALTIME)
        .map_err(|errno| Error::System { action: "read the clock", errno })?;
    header.start = Ns(start);
    header.start_unix_ns = unix.num_nanoseconds();
    Ok(start)
}
