//! Whole stacks: programs built without frame pointers that compute and wait in
//! known functions, and what gdb and perf see of them.

mod folded;
mod gdb;
mod program;
mod reach;
mod shares;
mod trampoline;
