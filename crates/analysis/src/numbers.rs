//! Numbers for values, so that equal ones are told by comparing numbers.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// The different values, in the order in which they came first.
#[derive(Debug)]
pub(crate) struct Numbers<T> {
    known: FxHashMap<T, u32>,
    all: Vec<T>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Numbers { known: FxHashMap::default(), all: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbers<T> {
    /// The number of `value`.
    pub(crate) fn of(&mut self, value: T) -> u32 {
        if let Some(number) = self.known.get(&value) {
            return *number;
        }
        // A recording cannot hold four thousand million different values.
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(value.clone());
        self.known.insert(value, number);
        number
    }

    /// What has this number.
    pub(crate) fn get(&self, number: u32) -> &T {
        &self.all[number as usize]
    }

    /// The values; that of a number is at its place.
    pub(crate) fn into_all(self) -> Vec<T> {
        self.all
    }
}
