//! The kernel's tally of switches, kept while none is told: for each thread and what it went
//! off for, how often, and for how long. It costs the target a fraction of a record, and us
//! nothing as long as it goes on.

use nix::errno::Errno;

use super::code::{NEXT, state_and_frame};
use super::machine::{
    A, B, C, D, DOUBLE, END, F as CONTEXT, G as THREAD, H as ENTRY, HALF, I as NOW, RESULT, WORD,
    add, add_register, call, copy, either, end, first_of, load, set, skip_unless, store, subtract,
    table_at, unless_zero,
};
use super::types::Types;
use crate::arch::{CallInFrame, Registers};
use crate::perf::record::told::state_of;
use crate::perf::tally::{AtEnd, Stay, Tally, Why};
use crate::perf::waits::Call;
use crate::sys::{Cell, Table};

/// Threads that are tallied at most, and what they go off for.
const THREADS: u32 = 8_192;
const SITES: u32 = 32_768;

/// Numbers of the kernel's functions (`enum bpf_func_id`, linux/bpf.h).
const LOOK_UP: i32 = 1;
const UPDATE: i32 = 2;
const TIME: i32 = 5;

/// What a thread goes off for: the thread with its state and code segment, the call's number,
/// where it came from, its first argument.
type Site = [u64; 4];
/// How often, for how long, and how long of that in the run queue, ns; two more arguments, and
/// the stack pointer, as the first time.
type Sum = [u64; 6];
/// Of a thread: when it left its CPU, for how long it had none until it came back, its time in
/// run queues before that, ns; for what; two more arguments, and the stack pointer; when it
/// came back, and for how long it has had a CPU until it left, ns.
type Left = [u64; 12];

/// Offsets in `Left`.
const AT: i16 = 0;
const OFF: i16 = 8;
const DELAY: i16 = 16;
const SITE: i16 = 24;
const STATE: i16 = SITE + 4;
const NUMBER: i16 = 32;
/// Of a call, in the order of `CallInFrame::PARTS`: the first three are of the site.
const PARTS: [i16; 6] = [NUMBER, 40, 48, 56, 64, 72];
const BACK: i16 = 80;
const RAN: i16 = 88;

/// In the place of the state of a thread that has not left its CPU in the pause.
const BEFORE: u16 = 0xffff;
/// The number where a thread is in no call.
const NO_CALL: i32 = -1;

/// What the program keeps.
#[derive(Debug)]
pub(super) struct Tables {
    /// Whether it does.
    on: Cell<1>,
    threads: Table<1, { size_of::<Left>() / 8 }>,
    sites: Table<{ size_of::<Site>() / 8 }, { size_of::<Sum>() / 8 }>,
}

impl Tables {
    pub(super) fn new() -> nix::Result<Tables> {
        Ok(Tables { on: Cell::new()?, threads: Table::new(THREADS)?, sites: Table::new(SITES)? })
    }

    /// Tallies the switches of these threads from `now` on.
    ///
    /// # Errors
    /// `E2BIG` for more threads than there is room for.
    pub(super) fn begin(&self, now: u64, tids: impl Iterator<Item = u32>) -> nix::Result<()> {
        let entry = |tid: u32| {
            let how = u64::from(BEFORE) << 32 | u64::from(tid);
            let left: Left = [now, 0, 0, how, 0, 0, 0, 0, 0, 0, now, 0];
            ([tid.into()], left)
        };
        let entries: Vec<_> = tids.map(entry).collect();
        if entries.len() > THREADS as usize {
            return Err(Errno::E2BIG);
        }
        self.threads.enter(&entries)?;
        self.on.set(&[1])
    }

    /// What was tallied by `now`, while it goes on.
    ///
    /// # Errors
    /// `E2BIG` where not all had room.
    pub(super) fn read(&self, now: u64) -> nix::Result<Tally> {
        Ok(summed(now, all(self.sites.read()?)?, self.threads.read()?))
    }

    /// Tallies them no more; what was tallied by `now`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn end(&self, now: u64) -> nix::Result<Tally> {
        self.on.set(&[0])?;
        let (sites, threads) = (self.sites.take()?, self.threads.take()?);
        Ok(summed(now, all(sites)?, threads))
    }
}

/// What is in a table that was full may not be all.
fn all<T>(entries: Vec<T>) -> nix::Result<Vec<T>> {
    if entries.len() < SITES as usize { Ok(entries) } else { Err(Errno::E2BIG) }
}

fn summed(now: u64, sites: Vec<(Site, Sum)>, threads: Vec<([u64; 1], Left)>) -> Tally {
    let mut tally = Tally::default();
    for (site, [times, off_ns, queued_ns, more @ ..]) in sites {
        let (tid, why) = why(site, more);
        tally.stays.push(Stay { tid, why, times, off_ns, queued_ns: queued_ns.min(off_ns) });
    }
    for ([tid], left) in threads {
        let [at, off_ns, _, how, number, pc, first, second, third, sp, back, ran] = left;
        let (_, why) = why([how, number, pc, first], [second, third, sp]);
        let tid = tid as u32;
        let since = |time: u64| now.saturating_sub(time);
        if off_ns > 0 {
            // Not summed up yet.
            tally.stays.push(Stay { tid, why, times: 1, off_ns, queued_ns: 0 });
            tally.ran.push((tid, ran + since(back)));
            tally.ends.push((tid, AtEnd::Runs));
        } else if why != Why::Before {
            tally.ran.push((tid, ran));
            tally.ends.push((tid, AtEnd::Off { why, off_ns: since(at) }));
        }
    }
    tally
}

/// The thread, and why it is off.
fn why([how, number, pc, first]: Site, [second, third, sp]: [u64; 3]) -> (u32, Why) {
    let (tid, state, segment) = (how as u32, (how >> 32) as u16, (how >> 48) as u16);
    if state == BEFORE {
        return (tid, Why::Before);
    }
    let call = match u32::try_from(number) {
        Ok(number) if Registers::are_wide(segment) => Call::Number(number),
        Ok(_) => Call::Unknown,
        Err(_) => Call::Fault,
    };
    let arguments = [first, second, third];
    (tid, Why::Left { state: state_of(state), call, pc, sp, arguments })
}

/// Tallies the switch, and ends the program, where that is to be done now. Else the program
/// goes on behind this.
pub(super) fn or_else(types: &Types, tables: &Tables) -> Vec<u64> {
    let on = first_of(A, tables.on.descriptor());
    let tallied = [
        &[call(TIME), copy(NOW, RESULT)],
        &leaving(types, tables)[..],
        &arriving(types, tables),
        &end(),
    ]
    .concat();
    [&on[..], &[load(DOUBLE, A, A, 0)], &unless_zero(A, &tallied)].concat()
}

/// What is done of the entry of the thread whose number is in `A`, if it has one.
fn with_entry(tables: &Tables, then: &[u64]) -> Vec<u64> {
    const KEY: i16 = -8;
    let [low, high] = table_at(A, tables.threads.descriptor());
    let look_up =
        [store(DOUBLE, END, KEY, A), low, high, copy(B, END), add(B, KEY.into()), call(LOOK_UP)];
    [&look_up[..], &unless_zero(RESULT, then)].concat()
}

/// `THREAD` leaves: what it went off for the last time is summed up now, when the kernel has
/// counted the run queue of its return, too.
fn leaving(types: &Types, tables: &Tables) -> Vec<u64> {
    let mut then = vec![copy(ENTRY, RESULT), load(DOUBLE, A, ENTRY, OFF)];
    then.extend(unless_zero(A, &sum_up(types, tables)));
    then.extend([
        load(DOUBLE, A, ENTRY, BACK),
        copy(B, NOW),
        subtract(B, A),
        load(DOUBLE, A, ENTRY, RAN),
        add_register(A, B),
        store(DOUBLE, ENTRY, RAN, A),
        store(DOUBLE, ENTRY, AT, NOW),
        set(A, 0),
        store(DOUBLE, ENTRY, OFF, A),
        load(WORD, A, THREAD, types.pid),
        store(WORD, ENTRY, SITE, A),
        // Where it is in no call, any place in the code is as good.
        set(A, NO_CALL),
        store(DOUBLE, ENTRY, NUMBER, A),
        set(A, 0),
    ]);
    then.extend(PARTS[1..].iter().map(|at| store(DOUBLE, ENTRY, *at, A)));
    then.extend(state_and_frame(types, ENTRY, STATE));
    let told: Vec<u64> = CallInFrame::PARTS
        .into_iter()
        .zip(PARTS)
        .flat_map(|(from, to)| [load(DOUBLE, A, RESULT, from), store(DOUBLE, ENTRY, to, A)])
        .collect();
    let in_call = [
        &[
            load(DOUBLE, A, RESULT, CallInFrame::RESULT),
            skip_unless(A, CallInFrame::NO_RESULT, told.len()),
        ],
        &told[..],
    ]
    .concat();
    then.push(load(HALF, A, ENTRY, STATE));
    then.extend(unless_zero(A, &in_call));
    [&[load(WORD, A, THREAD, types.pid)], &with_entry(tables, &then)[..]].concat()
}

fn sum_up(types: &Types, tables: &Tables) -> Vec<u64> {
    const SUM: i16 = -8 - size_of::<Sum>() as i16;
    let [low, high] = table_at(A, tables.sites.descriptor());
    let site = [copy(B, ENTRY), add(B, SITE.into())];
    let amounts = [
        load(DOUBLE, C, ENTRY, OFF),
        load(DOUBLE, D, THREAD, types.run_delay),
        load(DOUBLE, A, ENTRY, DELAY),
        subtract(D, A),
    ];
    let grow = |at: i16, by: u8| {
        [load(DOUBLE, A, RESULT, at), add_register(A, by), store(DOUBLE, RESULT, at, A)]
    };
    let again = [load(DOUBLE, A, RESULT, 0), add(A, 1), store(DOUBLE, RESULT, 0, A)];
    let again = [&again[..], &grow(8, C), &grow(16, D)].concat();
    let mut first = vec![set(A, 1)];
    first.extend([(0, A), (8, C), (16, D)].map(|(at, from)| store(DOUBLE, END, SUM + at, from)));
    for (from, at) in PARTS[3..].iter().zip([24, 32, 40]) {
        first.extend([load(DOUBLE, A, ENTRY, *from), store(DOUBLE, END, SUM + at, A)]);
    }
    first.extend([low, high]);
    first.extend(site);
    first.extend([copy(C, END), add(C, SUM.into()), set(D, 0), call(UPDATE)]);
    let look_up = [&[low, high], &site[..], &[call(LOOK_UP)], &amounts].concat();
    [&look_up[..], &either(RESULT, &again, &first)].concat()
}

/// The next thread has the CPU: how long it had none.
fn arriving(types: &Types, tables: &Tables) -> Vec<u64> {
    let next = load(DOUBLE, A, CONTEXT, NEXT);
    let then = [
        // The way back to this CPU is not counted yet.
        next,
        load(DOUBLE, B, A, types.run_delay),
        store(DOUBLE, RESULT, DELAY, B),
        load(DOUBLE, B, RESULT, AT),
        copy(A, NOW),
        subtract(A, B),
        store(DOUBLE, RESULT, OFF, A),
        store(DOUBLE, RESULT, BACK, NOW),
    ];
    [&[next, load(WORD, A, A, types.pid)], &with_entry(tables, &then)[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thread 7 waits (state 1), of 64-bit code (segment 0x33), in call 202.
    const HOW: u64 = 0x33 << 48 | 1 << 32 | 7;
    const WAITS: Why =
        Why::Left { state: 1, call: Call::Number(202), pc: 5, sp: 14, arguments: [11, 12, 13] };

    fn tally(sites: &[(Site, Sum)], left: Left) -> Tally {
        summed(1000, sites.to_vec(), vec![([7], left)])
    }

    #[test]
    fn what_was_summed_up_and_what_goes_on_are_told() {
        let sites = [([HOW, 202, 5, 11], [3, 300, 40, 12, 13, 14])];
        let stay = Stay { tid: 7, why: WAITS, times: 3, off_ns: 300, queued_ns: 40 };
        let gone = tally(&sites, [900, 0, 0, HOW, 202, 5, 11, 12, 13, 14, 800, 77]);
        let off = AtEnd::Off { why: WAITS, off_ns: 100 };
        assert_eq!(gone, Tally { stays: vec![stay], ran: vec![(7, 77)], ends: vec![(7, off)] });
        let back = tally(&sites, [900, 60, 0, HOW, 202, 5, 11, 12, 13, 14, 960, 77]);
        let last = Stay { times: 1, off_ns: 60, queued_ns: 0, ..stay };
        let (stays, ran) = (vec![stay, last], vec![(7, 77 + 40)]);
        assert_eq!(back, Tally { stays, ran, ends: vec![(7, AtEnd::Runs)] });
        assert_eq!((gone.switches(), back.switches()), (3, 4));
    }

    #[test]
    fn of_a_thread_that_has_not_left_nothing_is_told() {
        let how = u64::from(BEFORE) << 32 | 7;
        assert_eq!(tally(&[], [500, 0, 0, how, 0, 0, 0, 0, 0, 0, 500, 0]), Tally::default());
        let back = tally(&[], [500, 60, 0, how, 0, 0, 0, 0, 0, 0, 560, 0]);
        assert_eq!((back.stays[0].why, back.stays[0].off_ns), (Why::Before, 60));
    }

    #[test]
    fn a_table_that_was_full_tells_nothing() {
        assert_eq!(all(vec![(); SITES as usize]), Err(Errno::E2BIG));
        assert_eq!(all(vec![1, 2]), Ok(vec![1, 2]));
    }

    #[test]
    fn no_call_and_a_call_of_a_32_bit_program_are_told_apart() {
        let call = |how: u64, number: u64| match why([how, number, 0, 0], [0; 3]).1 {
            Why::Left { call, .. } => call,
            Why::Before => panic!("it has left"),
        };
        assert_eq!(call(HOW, u64::MAX), Call::Fault);
        assert_eq!(call(HOW & !(0xff << 48) | 0x23 << 48, 3), Call::Unknown);
    }
}
