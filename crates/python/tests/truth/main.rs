//! The reader against real interpreters, one test each for what must be right.
//! An interpreter that is not on this machine is named in a `NOTE` line: what it
//! left of its memory is read all the same.

mod cost;
mod flip_flop;
mod interpreters;
mod kept;
mod life;
mod process;
mod py_spy;
mod shapes;
