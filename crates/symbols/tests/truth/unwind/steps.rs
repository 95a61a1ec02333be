//! One program at each of its instructions: prologues and epilogues, stubs of
//! the linker that bind a function at its first call, the vDSO.

use whyslow_events::{StackEnd, StackMemory, Unwind};
use whyslow_symbols::Unwinder;

use super::check::OPTIMIZED;
use super::gdb;
use crate::program::{SPACE, compile, events_in};

const SOURCE: &str = r#"
    #include <alloca.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    static __attribute__((noinline)) double mixed(int n, char *room) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        snprintf(room, 40, "%d %ld %f", n, (long)now.tv_sec, n * 1.5);
        return atof(room) + now.tv_nsec;
    }
    static int order(const void *a, const void *b) { return *(int *)a - *(int *)b; }
    static __attribute__((noinline)) int sorted(int n) {
        int *all = alloca(n * 4 + 64);
        for (int i = 0; i < n; i++) all[i] = n * 7 % (i + 3);
        qsort(all, n, 4, order);
        return all[n / 2];
    }
    int main(int argc, char **argv) {
        char room[64];
        double value = mixed(sorted(argc + 4), room);
        return (int)value + strlen(room);
    }
"#;

#[test]
fn unwind_at_every_instruction() {
    let directory = tempfile::tempdir().unwrap();
    let flags = [&OPTIMIZED[..], &["-Wl,-z,lazy"]].concat();
    let Some(path) = compile(directory.path(), "cc", SOURCE, &flags) else { return };
    let Some((maps, steps)) = gdb::steps(&path, 2_500) else { return };
    let mut unwinder = Unwinder::default();
    events_in(&maps, 0, SPACE).iter().for_each(|event| unwinder.observe(event));
    for step in &steps {
        let copy = StackMemory { whole: false, ..step.memory() };
        let unwound = unwinder.unwind(SPACE, &step.registers, copy);
        assert_eq!(unwound.addresses, step.chain, "{:#?} {:?}", step.names, unwound.end);
        assert_eq!(unwound.end, StackEnd::Complete);
        // What is not known ends a chain early, and does not lead it astray.
        let asleep = unwinder.unwind(SPACE, &step.found_asleep(), copy);
        assert!(step.chain.starts_with(&asleep.addresses), "{asleep:?} {:#?}", step.names);
    }
    let passed = |name: &str| steps.iter().any(|step| step.names[0].contains(name));
    for name in ["main", "sorted", "order", "plt", "_dl_fixup", "clock_gettime"] {
        assert!(passed(name), "{name}");
    }
}
