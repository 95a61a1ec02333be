//! Capture: from a target, running or to be launched, to a stream of events.
//!
//! `target` finds or starts the processes, `perf` records them through
//! `perf_event_open`, `procfs` by looks at `/proc` alone, `inspect` looks at threads while they are blocked,
//! `preflight` says what the host allows. Nothing here judges or prints.

mod arch;
mod clock;
mod error;
mod facts;
pub mod fuzzing;
mod inspect;
mod perf;
mod preflight;
mod proc;
mod procfs;
mod recorder;
mod session;
mod stir;
mod sys;
mod target;
mod uneven;

pub use error::Error;
pub use facts::{boot_id, system_facts};
pub use perf::record::parse as parse_ring_record;
pub use preflight::checks::{Check, Diagnosis, Opened, Status, Tier, diagnose};
pub use preflight::host::{Access, Readings, Roots};
pub use preflight::{Capability, examine};
pub use proc::command_line;
pub use recorder::{Engine, Recorder};
pub use session::{Ended, Options, Progress, Readers, Session, Stop};
pub use target::What;
