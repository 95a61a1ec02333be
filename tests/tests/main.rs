//! The integration tests: they drive the built binary from outside, as a user
//! does. The binary is `$WHYSLOW_BIN`, or else the newest one under `target`.

#![forbid(unsafe_code)]
#[test]
fn x() {}
