//! Whole call chains against gdb: programs without frame pointers, stopped
//! where they wait.

mod gdb;
mod native;
