//! Go: unwind information in a compressed `.debug_frame`, and stacks of its own.

use std::fs;
use std::process::Command;

use super::check::check_program;

/// A goroutine that is locked to its thread and waits in a system call.
const SOURCE: &str = r#"
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

//go:noinline
func deeper(n int, room [10]int) int {
	if n > 0 {
		return deeper(n-1, room) + room[n]
	}
	fmt.Println("ready")
	os.Stdout.Sync()
	var bytes [1]byte
	syscall.Read(0, bytes[:])
	return int(bytes[0])
}

func main() {
	done := make(chan int)
	go func() {
		runtime.LockOSThread()
		done <- deeper(5, [10]int{1})
	}()
	os.Exit(<-done)
}
"#;

#[test]
fn unwind_go() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("program.go");
    fs::write(&source, SOURCE).unwrap();
    let path = directory.path().join("program");
    let mut go = Command::new("go");
    go.env("GOCACHE", directory.path()).env("GOFLAGS", "-mod=mod").env("CGO_ENABLED", "0");
    match go.arg("build").arg("-o").arg(&path).arg(&source).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => {
            println!("skipped: no go: {error}");
            return;
        }
    }
    check_program(&path, &["main.deeper", "main.main.func1"]);
}
