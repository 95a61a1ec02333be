//! Where nobody tells who wakes: whether threads take turns at a futex. Somebody always has
//! a lock: of those who want it, all but one wait, and hardly ever all.

/// For how long it had users of whom any waited, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// However many users: alone, one takes no turns.
    any: u64,
    /// Of at least two users.
    of_several: u64,
    all_but_one: u64,
    all: u64,
    /// The time of all of them in which they did not wait.
    free: u64,
}

/// So many more (or fewer) wait for it, and use it at all, from then on. A thread is a user
/// from its first wait until it ends: then others have the lock all to themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    pub(crate) time: u64,
    pub(crate) waiting: i32,
    pub(crate) users: i32,
}

impl Turns {
    pub(crate) fn count(&mut self, mut changes: Vec<Change>) {
        changes.sort_unstable();
        let (mut waiting, mut users, mut since) = (0, 0, 0);
        for change in changes {
            let ns = change.time - since;
            if waiting > 0 {
                self.any += ns;
                if users > 1 {
                    self.of_several += ns;
                    self.all_but_one += if waiting == users - 1 { ns } else { 0 };
                    self.all += if waiting == users { ns } else { 0 };
                    self.free += ns * u64::try_from(users - waiting).unwrap_or(0);
                }
            }
            waiting += change.waiting;
            users += change.users;
            since = change.time;
        }
    }

    /// `None` where nobody was seen to wait. One who never had to wait for the lock is no
    /// user: while it has it all others wait. Who has been given the lock may seem to do
    /// something beside the one before, until it has a CPU: of a pool of which one and a half
    /// have work on average nobody has for a fifth of the time, if work comes at random.
    pub(crate) fn are_taken(self) -> Option<bool> {
        let one = self.all_but_one * 2 > self.of_several && self.all * 5 < self.of_several * 2;
        let hardly_two = self.free * 2 < self.of_several * 3 && self.all * 5 < self.of_several;
        (self.any > 0).then_some(one || hardly_two)
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Turns};

    /// A row for each user: `#` has no need of it, `q` waits, `.` is not there.
    fn turns(rows: &[&str]) -> Option<bool> {
        let mut changes = Vec::new();
        for row in rows {
            let (mut waited, mut lived) = (false, false);
            for (time, now) in (0..).zip(row.chars().chain(['.'])) {
                let waits = now == 'q';
                let lives = waits || lived && now != '.';
                changes.push(Change {
                    time,
                    waiting: i32::from(waits) - i32::from(waited),
                    users: i32::from(lives) - i32::from(lived),
                });
                (waited, lived) = (waits, lives);
            }
        }
        let mut turns = Turns::default();
        turns.count(changes);
        turns.are_taken()
    }

    #[test]
    fn all_but_one_wait_for_a_lock() {
        assert_eq!(turns(&["#q#q#q", "q#q#q#"]), Some(true));
        assert_eq!(turns(&["#qqq#qqq", "q#qqq#qq", "qq#qqq#q", "qqq#qqq#"]), Some(true));
        assert_eq!(turns(&["######"]), None);
    }

    #[test]
    fn the_next_one_may_seem_to_have_it_before_the_last_gives_it_up() {
        let rows = [
            "qq##qqqqqq##qqqq####",
            "qqqq##qqqq####qqqqqq",
            "qqqqqq##qqqq####qq##",
            "qqqqqqqq##qqqq####qq",
        ];
        assert_eq!(turns(&rows), Some(true));
        let at_random = rows.map(|row| row.replace("qq##", "qqqqq##"));
        assert_eq!(turns(&at_random.each_ref().map(String::as_str)), Some(false));
    }

    #[test]
    fn those_who_have_ended_are_not_waited_for() {
        assert_eq!(turns(&["##......", "qq##....", "qqqq##..", "qqqqqq##"]), Some(true));
        // The first never waited.
        assert_eq!(turns(&["qq##....", "qqqq##..", "qqqqqq##"]), Some(true));
    }

    #[test]
    fn a_pool_waits_as_one() {
        assert_eq!(turns(&["qqqq#qqqq#", "qqqq#qqqq#", "qqqq#qqqq#"]), Some(false));
        // Alone, or now and then one of them.
        assert_eq!(turns(&["qqqq#qqqq#"]), Some(false));
        assert_eq!(turns(&["qqqq#qqqqqqqqq", "qqqqqqqqq#qqqq"]), Some(false));
        // Two of four have work.
        assert_eq!(turns(&["qq##qq##", "qq##qq##", "##qq##qq", "##qq##qq"]), Some(false));
    }
}
