//! Tracepoints, and what to do when they cannot be read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::host::{Readings, Roots};
use super::{MOUNT_REMEDY, USER_NAMESPACE_REMEDY, grant, program};
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
            let readings = Readings::of(&Roots::default());
            match readings.initial_user_namespace {
                true => format!(
                    "grant the capabilities: {}; or run as root",
                    grant(&readings, &program())
                ),
                false => USER_NAMESPACE_REMEDY.to_owned(),
            }
        }
        _ => MOUNT_REMEDY.to_owned(),
    };
    Err(Error::Tracepoint { path, errno, remedy })
}

fn mount_tracefs() -> bool {
    mount(Some("nodev"), TRACEFS[0], Some("tracefs"), MsFlags::empty(), None::<&str>).is_ok()
}
