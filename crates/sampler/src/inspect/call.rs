//! The call a thread is in, from the text of `/proc/PID/task/TID/syscall`.

/// A thread that is blocked, as `/proc` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InCall {
    /// The number of its system call; `None` when it blocks outside one.
    pub(crate) number: Option<u32>,
    /// First three arguments.
    pub(crate) arguments: [u64; 3],
    /// The one behind them.
    pub(crate) fourth: u64,
    /// Where the call returns to.
    pub(crate) pc: u64,
    /// The stack pointer.
    pub(crate) sp: u64,
}

/// What a thread is doing, as far as it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// It runs, or wants to.
    Running,
    /// It waits, in this call or outside any.
    In(InCall),
    /// The kernel does not let us see.
    Hidden,
}

impl Call {
    /// Of the three forms the kernel writes: `running`; a negative number, stack
    /// pointer and place outside a call; number, six arguments, stack pointer and
    /// place in one.
    pub(crate) fn parse(text: &str) -> Call {
        match text.trim_ascii_end() {
            "running" => Call::Running,
            text => in_call(text).map_or(Call::Hidden, Call::In),
        }
    }

    /// The call it waits in, if it does.
    pub(crate) fn waiting(self) -> Option<InCall> {
        match self {
            Call::In(call) => Some(call),
            Call::Running | Call::Hidden => None,
        }
    }
}

/// Fields behind the number in a call.
const FIELDS: usize = 8;

fn in_call(text: &str) -> Option<InCall> {
    let mut fields = text.split_ascii_whitespace();
    let number: i64 = fields.next()?.parse().ok()?;
    let numbers: Vec<u64> = fields.take(FIELDS + 1).map(hexadecimal).collect::<Option<_>>()?;
    match (u32::try_from(number), numbers.as_slice()) {
        (Ok(number), &[a, b, c, fourth, _, _, sp, pc]) => {
            Some(InCall { number: Some(number), arguments: [a, b, c], fourth, pc, sp })
        }
        // Without a stack there is no program: a thread of the kernel's own.
        (Err(_), &[sp, pc]) if sp != 0 => {
            Some(InCall { number: None, arguments: [0; 3], fourth: 0, pc, sp })
        }
        _ => None,
    }
}

fn hexadecimal(number: &str) -> Option<u64> {
    u64::from_str_radix(number.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_waits_in_a_call_or_outside_or_is_hidden() {
        assert_eq!(Call::parse("running\n"), Call::Running);
        let call =
            InCall { number: Some(230), arguments: [1, 0, 2], fourth: 3, pc: 0x4000, sp: 0x7f00 };
        let text = "230 0x1 0x0 0x2 0x3 0x0 0x0 0x7f00 0x4000\n";
        assert_eq!(Call::parse(text), Call::In(call));
        let fault = InCall { number: None, arguments: [0; 3], fourth: 0, pc: 0x4000, sp: 0x7f00 };
        assert_eq!(Call::parse("-1 0x7f00 0x4000\n"), Call::In(fault));
        for hidden in ["", "0", "-1 0x0 0x0", "1 0x7f00 0x4000", "-1 7f00 4000", "running away"] {
            assert_eq!(Call::parse(hidden), Call::Hidden, "{hidden}");
        }
        assert_eq!(Call::parse(&format!("{text} 0x1")), Call::Hidden);
    }
}
