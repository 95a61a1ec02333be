//! What goes wrong, in each way of recording and with each engine: the target goes
//! on and ends right, nothing that was recorded is lost, and the exit code says
//! what happened. Each cell of the matrix is a test.

pub(crate) mod cell;
mod ends;
mod outputs;
mod strain;
mod targets;

/// One test for each engine, of targets that are found.
macro_rules! attached {
    ($($fault:ident)+) => {$(
        mod $fault {
            mod attach {
                $crate::faults::cells!(super::super::$fault, Attach);
            }
        }
    )+};
}

/// One test for each engine, of commands.
macro_rules! launched {
    ($($fault:ident)+) => {$(
        mod $fault {
            mod launch {
                $crate::faults::cells!(super::super::$fault, Launch);
            }
        }
    )+};
}

/// One test for each engine and way of recording.
macro_rules! everywhere {
    ($($fault:ident)+) => {$(
        mod $fault {
            mod launch {
                $crate::faults::cells!(super::super::$fault, Launch);
            }
            mod attach {
                $crate::faults::cells!(super::super::$fault, Attach);
            }
        }
    )+};
}

macro_rules! cells {
    ($fault:path, $mode:ident) => {
        use $crate::faults::cell::{Cell, Mode, Tier};

        #[test]
        fn privileged() {
            Cell::new(Mode::$mode, Tier::Privileged).iter().for_each($fault);
        }

        #[test]
        fn ordinary() {
            Cell::new(Mode::$mode, Tier::Ordinary).iter().for_each($fault);
        }

        #[test]
        fn procfs() {
            Cell::new(Mode::$mode, Tier::Procfs).iter().for_each($fault);
        }
    };
}

use {attached, cells, everywhere, launched};
