//! What functions tell of a wait in a futex. For locks of CPython from 3.13 on
//! (`Python/parking_lot.c`) and for monitors of a JVM (`runtime/objectMonitor.cpp`) who waits
//! parks on a semaphore or a condition of its own, so that the futex does not tell for what;
//! the functions that parked do, and for a lock of a Python program's the line that asks
//! for it.

use whyslow_events::{CodeId, StackId};

use crate::library;
use crate::tables::Tables;

const SEMAPHORE: &str = "_PySemaphore_Wait";
/// Its frame is no farther from the innermost than this, ...
const DEPTH: usize = 8;
/// ... and those that tell no farther from it.
const CALLERS: usize = 5;

/// Locks of the interpreter's own: of an object, of a module that is imported, and its
/// word that all threads are to stop meanwhile.
const OWN: &[&str] = &[
    "PyMutex_Lock",
    "_PyMutex_LockSlow",
    "_PyCriticalSection_",
    "_PyCriticalSection2_",
    "_PyRWMutex_",
    "_PyOnceFlag_",
    "_PyThreadState_Attach",
    "_PyThreadState_Suspend",
];

/// A thread of a JVM parks, ...
const JVM_PARKS: &[&str] = &["os::PlatformEvent::park", "PlatformEvent::park"];
/// ... to enter a monitor.
const MONITOR: &[&str] = &[
    "ObjectMonitor::EnterI",
    "ObjectMonitor::ReenterI",
    "ObjectMonitor::enter",
    "ObjectMonitor::enter_internal",
    "ObjectMonitor::reenter_internal",
];
/// Of the C library, behind underscores: locks, and a condition variable.
const LOCKS: &[&str] = &["pthread_mutex_", "pthread_rwlock_", "lll_lock_wait"];
const CONDITION: &str = "pthread_cond_";

/// Not a lock: something that happens once, as the end of a thread.
const EVENT: &[&str] = &["PyEvent_Wait", "PyEvent_WaitTimed"];

/// What a thread parked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Parked {
    /// A lock of the interpreter's, or a monitor of a JVM.
    Own,
    /// A `threading.Lock` or what is made of it, at this line, where that is known. Its use
    /// those tell that wait there.
    At(Option<(CodeId, u32)>),
    /// A lock of the C library's, at this futex.
    Lock,
    /// Whatever a condition variable stands for: not a lock, unless who wakes tells so.
    Condition,
}

/// `None` where the functions tell nothing, or of something that is no lock.
pub(crate) fn parked(tables: &Tables, stack: StackId) -> Option<Parked> {
    let stack = tables.stacks.get(&stack)?;
    let named = |address: &u64| {
        let frames = tables.symbols(Some(stack.space), *address, stack.named_at);
        frames.iter().map(|frame| frame.function.as_str())
    };
    let functions: Vec<&str> =
        stack.user.iter().take(DEPTH + CALLERS).flat_map(named).take(DEPTH + CALLERS).collect();
    let calls = |names: &[&str], function: &&str| names.iter().any(|name| is(name, function));
    let at = |names: &[&str]| functions.iter().take(DEPTH).position(|it| calls(names, it));
    let callers = |at: usize| functions[at + 1..].iter().take(CALLERS);
    if let Some(at) = at(&[SEMAPHORE]) {
        let called_by = |names: &[&str]| callers(at).any(|caller| calls(names, caller));
        if called_by(OWN) {
            return Some(Parked::Own);
        }
        // A stripped interpreter does not name the rest.
        let asked = stack.script.first().map(|call| (call.code, call.line));
        let other = called_by(EVENT)
            || asked.is_some_and(|(code, _)| tables.is_of(code, library::CONDITION));
        return (!other).then_some(Parked::At(asked));
    }
    if let Some(at) = at(JVM_PARKS)
        && callers(at).any(|caller| calls(MONITOR, caller))
    {
        return Some(Parked::Own);
    }
    functions.iter().take(DEPTH).find_map(|function| {
        let plain = function.trim_start_matches('_');
        let lock = LOCKS.iter().any(|name| plain.starts_with(name)).then_some(Parked::Lock);
        lock.or_else(|| plain.starts_with(CONDITION).then_some(Parked::Condition))
    })
}

/// A name that ends in `_` is a prefix; compilers append `.cold` and the like, and what
/// demangles C++ the parameters.
fn is(name: &str, function: &str) -> bool {
    let plain = function.split(['.', '(']).next().unwrap_or(function);
    if name.ends_with('_') { plain.starts_with(name) } else { plain == name }
}

#[cfg(test)]
mod tests {
    use whyslow_events::{
        CodeId, Event, Frame, ScriptFrame, SiteId, SpaceId, StackEnd, StackId, SymbolKey, Tid,
    };

    use crate::script::{MS, Script};

    /// Two threads: one waits for `first`, a stack of these functions at this line, and is
    /// woken by the other, which then waits for `then`. What the waits are.
    fn waits(first: (&str, u32), then: (&str, u32)) -> String {
        let mut script = Script::new(2).thread("a", "##qqqq######").thread("b", "######qqqq##");
        for (number, (functions, line)) in (0..).zip([first, then]) {
            let (space, id, tid) = (SpaceId(1), StackId(900 + number), Tid(100 + number));
            let addresses: Vec<u64> = (0..).zip(functions.split(' ')).map(|(at, _)| at).collect();
            let user: Vec<u64> = addresses.iter().map(|at| 16 * u64::from(id.0) + at).collect();
            let frame = |name: &str| Frame {
                function: name.to_owned(),
                file: None,
                line: None,
                module: "python3.14".to_owned(),
                inlined: false,
            };
            let names = user.iter().zip(functions.split(' '));
            let names = names.map(|(&address, name)| {
                (SymbolKey { space: Some(space), address }, vec![frame(name)])
            });
            let symbols = Event::Symbols(names.collect());
            let script_frame = ScriptFrame { code: CodeId(1), line, entry: true };
            let (kernel, end) = (vec![], StackEnd::Complete);
            let stack = Event::Stack { id, space, kernel, user, end, script: vec![script_frame] };
            let look = Event::Look { tid, site: SiteId('q'.into()), stack: Some(id) };
            let looked = (2 + 4 * u64::from(number)) * MS + MS / 2;
            script = script.at(0, symbols).at(0, stack).at(looked, look);
        }
        let report = script.run().report;
        let of = |wait: &crate::report::Wait| format!("{} {}", wait.state, wait.total_ns / MS);
        let mut waits: Vec<String> = report.waits.iter().map(of).collect();
        waits.sort();
        waits.join(", ")
    }

    #[test]
    fn the_functions_that_parked_tell_for_what() {
        let asked = "_PySemaphore_Wait _PyParkingLot_Park _PyMutex_LockTimed cfunction_call";
        let object =
            "_PySemaphore_Wait _PyParkingLot_Park _PyMutex_LockTimed PyMutex_Lock list_append";
        let stopped = "_PySemaphore_Wait _PyParkingLot_Park _PyThreadState_Attach";
        let joined = "_PySemaphore_Wait _PyParkingLot_Park PyEvent_WaitTimed";
        assert_eq!(waits((asked, 7), (asked, 7)), "lock.user 8");
        // Who wakes at the one line does not wait there.
        assert_eq!(waits((asked, 7), (asked, 8)), "sync.thread 8");
        assert_eq!(waits((object, 7), (stopped, 8)), "lock.user 8");
        assert_eq!(waits((object, 7), (asked, 8)), "lock.user 4, sync.thread 4");
        // One futex for both, as this test has it, is a lock.
        assert_eq!(waits((joined, 7), (joined, 8)), "lock.user 8");
    }

    #[test]
    fn a_monitor_is_a_lock_and_what_is_awaited_in_it_is_none() {
        let park = "__futex_abstimed_wait_common ___pthread_cond_wait os::PlatformEvent::park()";
        let [enter, wait] = ["EnterI(JavaThread*)", "wait(long, bool, JavaThread*)"]
            .map(|how| format!("{park} ObjectMonitor::{}", how.replace(' ', "")));
        assert_eq!(waits((&enter, 7), (&enter, 7)), "lock.user 8");
        assert_eq!(waits((&enter, 7), (&wait, 7)), "lock.user 4, sync.thread 4");
    }

    #[test]
    fn who_takes_turns_at_a_condition_takes_no_lock() {
        let futex = "syscall std::__atomic_wait";
        let condition = "__futex_abstimed_wait_common64 ___pthread_cond_wait uv_cond_wait";
        assert_eq!(waits((futex, 7), (futex, 7)), "lock.user 8");
        assert_eq!(waits((condition, 7), (condition, 7)), "sync.thread 8");
    }

    #[test]
    fn who_waits_in_a_lock_of_the_c_library_waits_for_a_lock_whoever_wakes() {
        let readers = "__futex_abstimed_wait64 __pthread_rwlock_rdlock_full64 run";
        let condition = "__futex_abstimed_wait_common64 ___pthread_cond_wait uv_cond_wait";
        assert_eq!(waits((readers, 7), (condition, 7)), "lock.user 4, sync.thread 4");
        let again = "__lll_lock_wait __pthread_mutex_cond_lock ___pthread_cond_wait";
        assert_eq!(waits((again, 7), (condition, 7)), "lock.user 4, sync.thread 4");
    }
}
