//! The tables against the headers of each interpreter, and what an interpreter
//! says of itself against its own.
