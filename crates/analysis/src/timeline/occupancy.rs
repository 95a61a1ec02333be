//! Who runs on each CPU, and what that means for a thread that waits for one.
//! Threads with the same affinity share one running account, so that a change
//! costs the same whether one thread is waiting or a thousand.

use rustc_hash::FxHashMap;
use whyslow_events::{Cpu, CpuSet};

use super::Queue;

/// No host has more; what says otherwise is damaged.
const MOST_CPUS: u32 = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A thread of the target.
    Own,
    /// Another program.
    Foreign,
    Idle,
    NotKnown,
}

/// An affinity, as an index into [`Occupancy::masks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaskId(usize);

impl MaskId {
    /// Every CPU of the host.
    pub(super) const ALL: MaskId = MaskId(0);
}

#[derive(Debug)]
struct Mask {
    set: CpuSet,
    size: usize,
    own: usize,
    idle: usize,
    total: Queue,
    counted_to: u64,
}

impl Mask {
    fn new(set: CpuSet, at: u64) -> Self {
        let size = set.len();
        Mask { set, size, own: 0, idle: 0, total: Queue::default(), counted_to: at }
    }

    fn advance(&mut self, at: u64) {
        let span = at.saturating_sub(self.counted_to);
        self.counted_to = self.counted_to.max(at);
        if self.size > 0 && self.own == self.size {
            self.total.saturated += span;
        } else if self.idle == 0 {
            self.total.neighbours += span;
        }
    }

    fn count(&mut self, holder: Holder) -> Option<&mut usize> {
        match holder {
            Holder::Own => Some(&mut self.own),
            Holder::Idle => Some(&mut self.idle),
            Holder::Foreign | Holder::NotKnown => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Occupancy {
    holders: FxHashMap<Cpu, Holder>,
    masks: Vec<Mask>,
}

impl Occupancy {
    pub(super) fn new(cpus: u32, start: u64) -> Self {
        let all = (0..cpus.min(MOST_CPUS)).map(Cpu).collect();
        Occupancy { holders: FxHashMap::default(), masks: vec![Mask::new(all, start)] }
    }

    /// From `at` on, `holder` has `cpu`.
    pub(super) fn set(&mut self, cpu: Cpu, holder: Holder, at: u64) {
        let before = self.holders.insert(cpu, holder).unwrap_or(Holder::NotKnown);
        if before == holder {
            return;
        }
        for mask in self.masks.iter_mut().filter(|mask| mask.set.contains(cpu)) {
            mask.advance(at);
            if let Some(count) = mask.count(before) {
                *count -= 1;
            }
            if let Some(count) = mask.count(holder) {
                *count += 1;
            }
        }
    }

    /// From `at` on nobody knows which CPUs the target has.
    pub(super) fn forget_own(&mut self, at: u64) {
        let own = self.holders.iter().filter(|(_, holder)| **holder == Holder::Own);
        let own: Vec<Cpu> = own.map(|(cpu, _)| *cpu).collect();
        own.into_iter().for_each(|cpu| self.set(cpu, Holder::NotKnown, at));
    }

    /// The account for threads that may run on `set`.
    pub(super) fn mask(&mut self, set: CpuSet, at: u64) -> MaskId {
        if let Some(known) = self.masks.iter().position(|mask| mask.set == set) {
            return MaskId(known);
        }
        let mut mask = Mask::new(set, at);
        for (cpu, holder) in &self.holders {
            if mask.set.contains(*cpu)
                && let Some(count) = mask.count(*holder)
            {
                *count += 1;
            }
        }
        self.masks.push(mask);
        MaskId(self.masks.len() - 1)
    }

    /// What a thread with this affinity would have seen since the beginning.
    pub(super) fn totals(&mut self, mask: MaskId, at: u64) -> Queue {
        let mask = &mut self.masks[mask.0];
        mask.advance(at);
        mask.total
    }

    pub(super) fn cpus_of(&self, mask: MaskId) -> &CpuSet {
        &self.masks[mask.0].set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masks_account_follows_its_cpus_only() {
        let mut occupancy = Occupancy::new(2, 0);
        let first = occupancy.mask([Cpu(0)].into_iter().collect(), 0);
        occupancy.set(Cpu(0), Holder::Own, 0);
        occupancy.set(Cpu(1), Holder::Idle, 0);
        occupancy.set(Cpu(0), Holder::Foreign, 10);
        occupancy.set(Cpu(1), Holder::Own, 30);
        assert_eq!(occupancy.totals(first, 60), Queue { saturated: 10, neighbours: 50 });
        assert_eq!(occupancy.totals(MaskId::ALL, 60), Queue { saturated: 0, neighbours: 30 });
    }

    #[test]
    fn an_absurd_number_of_cpus_is_not_allocated() {
        let occupancy = Occupancy::new(u32::MAX, 0);
        assert_eq!(occupancy.cpus_of(MaskId::ALL).len(), MOST_CPUS as usize);
    }
}
