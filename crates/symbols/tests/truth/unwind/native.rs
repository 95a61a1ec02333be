//! C, C++ and Rust programs that wait.

use std::fs;
use std::path::Path;
use std::process::Command;

use whyslow_events::{StackEnd, StackMemory, Unwind};

use super::check::{OPTIMIZED, check, check_program};
use super::gdb;
use crate::program::{Program, SPACE, compile};

#[test]
fn unwind_deep_recursion() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        __attribute__((noinline)) int down(int n) {
            volatile int pad[7] = {n};
            if (n == 0) { puts("ready"); fflush(stdout); return getchar(); }
            return down(n - 1) + pad[0];
        }
        int main(void) { return down(200); }
    "#;
    check("cc", SOURCE, &OPTIMIZED, &["down", "_start"]);
}

#[test]
fn unwind_frames_of_a_size_known_late() {
    const SOURCE: &str = r#"
        #include <alloca.h>
        #include <stdio.h>
        #include <string.h>
        __attribute__((noinline)) int wait(char *room) {
            puts("ready"); fflush(stdout);
            return getchar() + room[3];
        }
        __attribute__((noinline)) int grown(int n) {
            char *room = alloca(n * 100);
            memset(room, n, n * 100);
            return (n > 4 ? wait(room) : grown(n + 1)) + room[n];
        }
        int main(int argc, char **argv) { return grown(argc) + 1; }
    "#;
    check("cc", SOURCE, &OPTIMIZED, &["wait", "grown", "main"]);
}

/// The CFA of these is in memory, where the function saved it.
#[test]
fn unwind_realigned_frames() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        #include <string.h>
        typedef double wide __attribute__((vector_size(32)));
        __attribute__((noinline)) int wait(wide *room) {
            puts("ready"); fflush(stdout);
            return getchar() + (int)(*room)[1];
        }
        __attribute__((noinline)) int aligned(int a, int b, int c, int d, int e, int f, int g) {
            wide room __attribute__((aligned(64))) = {a, b, c, d};
            char more[a * 10];
            memset(more, b, a * 10);
            return wait(&room) + more[e] + f + g;
        }
        int main(int argc, char **argv) {
            wide room = {argc, 2, 3, 4};
            __asm__ volatile("" : : "r"(&room) : "memory");
            return aligned(argc, 2, 3, 4, 5, 6, 7) + (int)room[2];
        }
    "#;
    let realigned = ["-g", "-O2", "-fomit-frame-pointer", "-mavx2", "-mstackrealign"];
    check("cc", SOURCE, &realigned, &["wait", "aligned", "main"]);
}

#[test]
fn unwind_inlined_templates_and_virtual_calls() {
    const SOURCE: &str = r#"
        #include <algorithm>
        #include <cstdio>
        #include <functional>
        #include <vector>
        struct Shape { virtual int area(int) = 0; virtual ~Shape() {} };
        template <int N> struct Square : Shape {
            __attribute__((noinline)) int area(int n) override {
                std::vector<int> sides(N + n);
                int sum = 0;
                std::for_each(sides.begin(), sides.begin() + 1, [&](int side) {
                    std::puts("ready"); std::fflush(stdout);
                    sum += std::getchar() + side;
                });
                return sum;
            }
        };
        int main(int argc, char **) {
            Shape *shape = argc > 5 ? (Shape *)new Square<3> : new Square<4>;
            std::function<int(int)> call = [&](int n) { return shape->area(n) + 1; };
            return call(argc) + 1;
        }
    "#;
    check("c++", SOURCE, &OPTIMIZED, &["Square<4>::area", "main"]);
}

#[test]
fn unwind_a_catch_block() {
    const SOURCE: &str = r#"
        #include <cstdio>
        #include <stdexcept>
        #include <string>
        __attribute__((noinline)) void thrower(int n) {
            if (n == 0) throw std::runtime_error("down");
            std::string kept(n + 20, 'x');
            thrower(n - 1);
            std::puts(kept.c_str());
        }
        __attribute__((noinline)) int catcher(int n) {
            try { thrower(n); } catch (const std::exception &error) {
                std::puts("ready"); std::fflush(stdout);
                return std::getchar() + error.what()[0];
            }
            return 0;
        }
        int main(int argc, char **) { return catcher(argc + 4) + 1; }
    "#;
    check("c++", SOURCE, &OPTIMIZED, &["catcher", "main"]);
}

/// A destructor that runs while the exception is on its way.
#[test]
fn unwind_an_exception_in_flight() {
    const SOURCE: &str = r#"
        #include <cstdio>
        #include <stdexcept>
        struct Waits { ~Waits() { std::puts("ready"); std::fflush(stdout); std::getchar(); } };
        __attribute__((noinline)) void thrower(int n) {
            Waits waits;
            if (n) throw n;
        }
        __attribute__((noinline)) int catcher(int n) {
            try { thrower(n); } catch (int caught) { return caught; }
            return 0;
        }
        int main(int argc, char **) { return catcher(argc) + 1; }
    "#;
    check("c++", SOURCE, &OPTIMIZED, &["thrower", "catcher", "main"]);
}

#[test]
fn unwind_a_terminate_handler() {
    const SOURCE: &str = r#"
        #include <cstdio>
        #include <cstdlib>
        #include <exception>
        __attribute__((noinline)) void thrower(int n) { if (n) throw n; }
        int main(int argc, char **) {
            std::set_terminate([] {
                std::puts("ready"); std::fflush(stdout); std::getchar(); std::_Exit(0);
            });
            thrower(argc);
            return argc;
        }
    "#;
    check("c++", SOURCE, &OPTIMIZED, &["__cxa_throw", "thrower", "main"]);
}

#[test]
fn unwind_a_signal_handler() {
    const SOURCE: &str = r#"
        #include <signal.h>
        #include <stdio.h>
        #include <unistd.h>
        static void handler(int number) {
            if (number == SIGUSR1) raise(SIGUSR2);
            else { puts("ready"); fflush(stdout); getchar(); _exit(0); }
        }
        __attribute__((noinline)) int busy(volatile int *n) {
            for (;;) if (++*n == 1000) *(volatile int *)8 = 1;
        }
        int main(void) {
            struct sigaction action = {.sa_handler = handler};
            sigaction(SIGUSR1, &action, 0);
            sigaction(SIGUSR2, &action, 0);
            sigaction(SIGSEGV, &action, 0);
            int n = 0;
            if (HOW == 0) raise(SIGUSR1);
            return busy(&n);
        }
    "#;
    // In a system call that another handler made; at an instruction that faults.
    check("cc", SOURCE, &[&OPTIMIZED[..], &["-DHOW=0"]].concat(), &["handler", "main"]);
    check("cc", SOURCE, &[&OPTIMIZED[..], &["-DHOW=1"]].concat(), &["handler", "busy", "main"]);
}

/// The stack that was interrupted is not in the copy.
#[test]
fn unwind_a_signal_handler_on_a_stack_of_its_own() {
    const SOURCE: &str = r#"
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        static void handler(int number) { puts("ready"); fflush(stdout); getchar(); _exit(0); }
        int main(void) {
            stack_t own = {.ss_sp = malloc(SIGSTKSZ), .ss_size = SIGSTKSZ};
            struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
            sigaltstack(&own, 0);
            sigaction(SIGUSR1, &action, 0);
            return raise(SIGUSR1);
        }
    "#;
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", SOURCE, &OPTIMIZED) else { return };
    let program = Program::start(&mut Command::new(path));
    let Some(threads) = gdb::threads(&program) else { return };
    let thread = &threads[0];
    let copy = StackMemory { whole: false, ..thread.memory() };
    let unwound = gdb::unwinder(&program).unwind(SPACE, &thread.registers, copy);
    assert_eq!(unwound.end, StackEnd::CopyTooShort);
    assert!(thread.chain.starts_with(&unwound.addresses), "{unwound:?} {:#?}", thread.names);
    let interrupted = unwound.addresses.len() - 1;
    assert_eq!(thread.names[interrupted - 1], "__restore_rt", "{:#?}", thread.names);
}

#[test]
fn unwind_threads() {
    const SOURCE: &str = r#"
        #include <pthread.h>
        #include <stdio.h>
        #include <unistd.h>
        static pthread_barrier_t all;
        __attribute__((noinline)) int down(int n) {
            volatile int pad[5] = {n};
            if (n) return down(n - 1) + pad[0];
            pthread_barrier_wait(&all);
            for (;;) pause();
        }
        static void *thread(void *depth) { down((int)(long)depth); return 0; }
        int main(void) {
            pthread_t id;
            pthread_barrier_init(&all, 0, 4);
            for (long depth = 0; depth < 3; depth++) pthread_create(&id, 0, thread, (void *)depth);
            pthread_barrier_wait(&all);
            usleep(100000);
            puts("ready"); fflush(stdout);
            return getchar();
        }
    "#;
    check("cc", SOURCE, &OPTIMIZED, &["thread", "start_thread", "clone3", "main"]);
}

#[test]
fn unwind_tail_calls_and_functions_that_do_not_return() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        #include <stdlib.h>
        __attribute__((noinline, noreturn)) void ends(int n) {
            puts("ready"); fflush(stdout); exit(getchar() + n);
        }
        __attribute__((noinline)) int last(int n) { volatile int pad[9] = {n}; ends(pad[0]); }
        __attribute__((noinline)) int tail(int n) { return n > 9 ? n : last(n + 1); }
        __attribute__((noinline)) int first(int n) { return tail(n) + 3; }
        int main(int argc, char **argv) { return first(argc) + 1; }
    "#;
    check("cc", SOURCE, &OPTIMIZED, &["ends", "last", "main"]);
}

#[test]
fn unwind_code_that_is_not_optimised() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        int deeper(int n) {
            if (n) return deeper(n - 1) + 1;
            puts("ready"); fflush(stdout); return getchar();
        }
        int main(void) { return deeper(3); }
    "#;
    check("cc", SOURCE, &["-g", "-O0"], &["deeper", "main"]);
}

#[test]
fn unwind_static_programs() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        __attribute__((noinline)) int wait(int n) { puts("ready"); fflush(stdout); return getchar() + n; }
        int main(int argc, char **argv) { return wait(argc) + 1; }
    "#;
    for how in ["-static", "-static-pie", "-no-pie"] {
        check("cc", SOURCE, &[&OPTIMIZED[..], &[how]].concat(), &["wait", "main"]);
    }
}

const PLAIN: &str = r#"
    #include <stdio.h>
    __attribute__((noinline)) int wait(int n) {
        volatile int pad[30] = {n};
        puts("ready"); fflush(stdout); return getchar() + pad[0];
    }
    __attribute__((noinline)) int deeper(int n) { return (n ? deeper(n - 1) : wait(n)) + 1; }
    int main(int argc, char **argv) { return deeper(argc + 2) + 1; }
"#;

#[test]
fn unwind_by_debug_frame() {
    let without = ["-g", "-O2", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables"];
    for packed in ["-gz=none", "-gz=zlib"] {
        check("cc", PLAIN, &[&without[..], &[packed]].concat(), &["wait", "deeper", "main"]);
    }
}

/// As distributions do it: the debug information is in another file.
#[test]
fn unwind_by_the_debug_frame_of_another_file() {
    for flag in ["-Wl,--build-id", "-Wl,--build-id=none"] {
        let directory = tempfile::tempdir().unwrap();
        let flags = ["-g", "-O2", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables", flag];
        let Some(path) = compile(directory.path(), "cc", PLAIN, &flags) else { return };
        fs::create_dir(directory.path().join(".debug")).unwrap();
        let debug = directory.path().join(".debug/program.debug");
        let objcopy = |arguments: &[&str], files: &[&Path]| {
            let status = Command::new("objcopy").args(arguments).args(files).status();
            assert!(status.expect("whoever has a compiler has objcopy").success());
        };
        objcopy(&["--only-keep-debug"], &[&path, &debug]);
        let link = format!("--add-gnu-debuglink={}", debug.to_str().unwrap());
        objcopy(&["--strip-debug", &link], &[&path]);
        check_program(&path, &["wait", "deeper", "main"]);
    }
}

/// As a JIT compiler's code: no unwind information, but frame pointers.
#[test]
fn unwind_by_frame_pointer() {
    let bare = ["-O1", "-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables"];
    check("cc", PLAIN, &bare, &["wait", "deeper", "main"]);
}

#[test]
fn unwind_rust() {
    const SOURCE: &str = r#"
        use std::io::Read;
        #[inline(never)]
        fn wait(depth: u32, sum: &mut dyn FnMut(u32) -> u32) -> u32 {
            if depth > 0 { return wait(depth - 1, sum) + 1; }
            println!("ready");
            let _ = std::io::stdin().read(&mut [0; 10]);
            sum(depth)
        }
        fn main() {
            let mut total = 0;
            let mut add = |n| { total += wait(n, &mut |n| n + 7); total };
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| add(5)));
            std::process::exit(result.map_or(1, |_| 0));
        }
    "#;
    let directory = tempfile::tempdir().unwrap();
    let (source, path) = (directory.path().join("program.rs"), directory.path().join("program"));
    fs::write(&source, SOURCE).unwrap();
    let made = Command::new("rustc").args(["-O", "-g", "-o"]).arg(&path).arg(&source).status();
    assert!(made.expect("whoever runs this has rustc").success());
    check_program(&path, &["program::wait", "program::main", "main"]);
}

/// Functions with frame pointers, and none that saves them on the way to sleep.
const FOUND_ASLEEP: &str = r#"
    #include <alloca.h>
    #include <pthread.h>
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    #define CALL __attribute__((noinline))
    CALL int last(int n) { char room[100]; return read(0, room, 1) + room[n]; }
    CALL int grown(int n) { char *room = alloca(n * 16); memset(room, n, n); return read(0, room, 1) + room[n]; }
    CALL int deeper(int n, int (*to)(int)) {
        char room[1000];
        memset(room, n, n);
        return (n ? deeper(n - 1, to) : to == last ? last(n) : to == grown ? grown(30) : to(n)) + room[n];
    }
    CALL int full(int n) { char room[3000]; memset(room, n, sizeof room); return room[n] + 1; }
    static void *thread(void *to) { char room[5000]; full(3); return (void *)(read(0, room, 1) + deeper(3, to)); }
    static void *other(void *to) { full(3); return (void *)(long)deeper(3, to); }
    int main(void) {
        pthread_t id;
        char room[9000];
        pthread_create(&id, 0, thread, last);
        pthread_create(&id, 0, other, last);
        pthread_create(&id, 0, other, grown);
        pthread_create(&id, 0, other, (void *)full);
        usleep(100000);
        full(6);
        puts("ready"); fflush(stdout);
        return read(0, room, 1);
    }
"#;

#[test]
fn unwind_found_asleep() {
    for how in ["-O0", "-O1", "-O2"] {
        check("cc", FOUND_ASLEEP, &["-g", how, "-fno-omit-frame-pointer", "-pthread"], &["main"]);
    }
}
