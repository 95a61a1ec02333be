//! Whole stacks: programs built without frame pointers that compute and wait in
//! known functions, and what gdb and perf see of them.

mod bare;
mod elsewhere;
mod folded;
mod found;
mod gdb;
mod java;
mod late;
mod places;
mod preempted;
mod program;
mod reach;
mod renumbered;
mod replaced;
mod requests;
mod shares;
mod trampoline;
