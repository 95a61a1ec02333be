//! Whole call chains against gdb: programs without frame pointers, stopped
//! where they wait.

mod check;
mod gdb;
mod golang;
mod native;
mod speed;
mod steps;
