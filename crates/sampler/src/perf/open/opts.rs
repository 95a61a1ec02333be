//! What each event is asked to record.

use perf_event_open::config::{
    CallChain, Clock, ExtraRecord, Mmap, Opts, Priv, RecordIdFormat, RegsMask, SampleFormat,
    SampleOn, Size, UseBuildId, WakeUp, WakeUpOn,
};

use crate::arch::{GeneralRegisters, Registers};
use crate::perf::record::Kind;

/// Stacks of the target's waits per second and CPU at most where no program chooses them. The
/// kernel itself raises the period to keep to it: every wait of a target with few of them has
/// its stack, and one with many gives enough to know its places. Some 12 µs each.
pub(super) const STACK_FREQUENCY: u64 = 1499;

/// What all events have in common, the leading fields of nearly every record
/// among it.
pub(in crate::perf) fn common_opts() -> Opts {
    Opts {
        timer: Some(Clock::Monotonic),
        record_id_all: true,
        record_id_format: RecordIdFormat {
            id: true,
            stream_id: false,
            cpu: true,
            task: true,
            time: true,
        },
        ..Opts::default()
    }
}

pub(in crate::perf) fn clock_opts(frequency: u32, ring_bytes: u64, stack_bytes: u32) -> Opts {
    Opts {
        // The idle task is nobody's work.
        exclude: Priv { idle: true, ..Priv::default() },
        sample_on: SampleOn::Freq(frequency.into()),
        sample_format: stack(stack_bytes),
        extra_record: ExtraRecord {
            task: true,
            comm: true,
            mmap: Mmap { code: true, data: false, ext: Some(UseBuildId(false)) },
            ..ExtraRecord::default()
        },
        wake_up: WakeUp {
            on: WakeUpOn::Bytes(u32::try_from(ring_bytes / 4).unwrap_or(u32::MAX)),
            ..WakeUp::default()
        },
        ..common_opts()
    }
}

/// The call chain, and registers and stack if any of it is wanted.
fn stack(stack_bytes: u32) -> SampleFormat {
    SampleFormat { call_chain: Some(CALL_CHAIN), ..user_stack(stack_bytes) }
}

/// Registers and stack, if any of it is wanted.
pub(in crate::perf) fn user_stack(stack_bytes: u32) -> SampleFormat {
    let wanted = stack_bytes > 0;
    SampleFormat {
        user_regs: wanted.then_some(RegsMask(GeneralRegisters::MASK)),
        user_stack: wanted.then_some(Size(stack_bytes)),
        ..SampleFormat::default()
    }
}

pub(in crate::perf) fn tracepoint_opts(kind: Kind, stack_bytes: u32) -> Opts {
    let sample_format = match kind {
        Kind::Switch => SampleFormat {
            raw: true,
            user_regs: Some(RegsMask(Registers::MASK)),
            ..SampleFormat::default()
        },
        Kind::Stack | Kind::Clock => stack(stack_bytes),
        Kind::Waking | Kind::Told => SampleFormat { raw: true, ..SampleFormat::default() },
        Kind::SideRecords => SampleFormat::default(),
    };
    let sample_on = match kind {
        Kind::Stack => SampleOn::Freq(STACK_FREQUENCY),
        _ => SampleOn::Count(1),
    };
    let mut opts = Opts { sample_on, sample_format, ..common_opts() };
    opts.record_id_format.task = kind.tells_task();
    opts.record_id_format.cpu = kind.tells_task();
    opts
}

pub(super) fn switch_opts() -> Opts {
    let extra_record = ExtraRecord { ctx_switch: true, ..ExtraRecord::default() };
    Opts { extra_record, ..common_opts() }
}

/// Kernel frames, and user frames by frame pointers; as many as the host's limit allows.
pub(in crate::perf) const CALL_CHAIN: CallChain = CallChain {
    exclude_user: false,
    exclude_kernel: false,
    defer_user: false,
    max_stack_frames: 0,
};
