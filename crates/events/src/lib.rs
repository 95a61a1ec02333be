//! The vocabulary every other part speaks: identifiers, what a capture engine
//! reports ([`Event`]), what a thread waits in ([`Site`]), what the engine
//! could see ([`Capabilities`]), and the recording that keeps all of it.
//!
//! Nothing here opens a file, asks a clock, starts a thread or prints.

#![forbid(unsafe_code)]

mod capabilities;
mod event;
mod gil;
mod header;
mod ids;
mod kernel;
mod object;
mod polled;
pub mod recording;
mod script;
mod site;
mod source;
mod thinned;
mod unwind;

pub use capabilities::{Capabilities, Fallback};
pub use event::{Entrance, Event, Frame, Off, Seen, SymbolKey, Timed, Wakener};
pub use gil::{GilHolder, GilPart, GilPlace};
pub use header::{EngineName, ExitStatus, Header, Mode, SystemFacts, Target};
pub use ids::{CodeId, Cpu, CpuSet, GilId, Ns, Pid, SiteId, SpaceId, StackId, Tid};
pub use kernel::KernelFunctions;
pub use object::{Object, TcpRole};
pub use polled::Polled;
pub use script::{
    LoopTurn, ReadScripts, ScriptCall, ScriptFrame, ScriptRead, ScriptReads, TargetProcess,
};
pub use site::{Entry, Site};
pub use source::{EventSource, InMemory, SourceError};
pub use thinned::Thinned;
pub use unwind::{StackEnd, StackMemory, Unwind, Unwound, UserRegisters};
