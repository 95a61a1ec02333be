//! What goes wrong, in each way of recording and with each engine: the target goes
//! on and ends right, nothing that was recorded is lost, and the exit code says
//! what happened. Each cell of the matrix is a test.

pub(crate) mod cell;
mod cpus;
mod ends;
mod outputs;
mod strain;
mod targets;

/// One test for each engine and each of these ways of recording.
macro_rules! matrix {
    ($modes:tt $($fault:ident)+) => {$(
        mod $fault {
            $crate::faults::modes!($fault $modes);
        }
    )+};
}

macro_rules! modes {
    ($fault:ident [$($name:ident $mode:ident),+]) => {$(
        mod $name {
            $crate::faults::cells!(super::super::$fault, $mode);
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

use {cells, matrix, modes};
