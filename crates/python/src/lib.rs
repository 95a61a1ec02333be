//! Reads the Python stacks of a CPython process from outside, without stopping
//! it: 3.8 to 3.15, on 64-bit little-endian machines.
//!
//! The caller gives the target's [`Memory`], the address of its `_PyRuntime`
//! and its [`Version`]; a [`Reader`] lists the interpreters and threads, says who
//! holds the GIL and reads stacks. Nothing here opens a file or asks the system
//! anything.
//!
//! What memory says is never trusted: lists are followed to a bounded length,
//! strings read to a bounded length, and what makes no sense is a value with its
//! reason.
#![forbid(unsafe_code)]

mod chain;
mod code;
#[cfg(test)]
mod fake;
mod image;
mod layout;
mod lines;
mod memory;
mod plan;
mod pthread;
mod reader;
mod tasks;
mod text;
mod threads;
mod trouble;
mod turn;
mod version;

pub use code::Code;
pub use image::Image;
pub use memory::Memory;
pub use pthread::kernel_ids;
pub use reader::{Counters, Frame, Motion, Read, Reader, Rejection, Stack};
pub use tasks::Tasks;
pub use threads::{Gil, Interpreter, Thread};
pub use trouble::Trouble;
pub use turn::Turn;
pub use version::{Unsupported, Version};
