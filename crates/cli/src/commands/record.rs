//! `whyslow record`: captures into a recording, then reports from that
//! recording, as `whyslow report` would.

mod interrupts;
mod scripts;
mod sink;

use std::fs::File;
use std::io::{BufReader, Seek};

use anyhow::Context;
use whyslow_analysis::analyze_in;
use whyslow_events::EventSource;
use whyslow_events::recording::Reader;
use whyslow_sampler::{Ended, Options, Readers, Recorder, Stop, What, system_facts};
use whyslow_symbols::Symbolizer;

use crate::ahead::Ahead;
use crate::args::RecordArgs;
use crate::debuginfod;
use crate::exit::Ending;
use crate::files::{self, Draft};
use crate::output::{OutputPlan, deliver};
use crate::progress::Progress;
use crate::redact::redact;
use crate::symbols::Symbolized;
use interrupts::Interrupts;
use scripts::Scripts;
use sink::Sink;

/// Profiles a program and prints what it waits for.
///
/// # Errors
/// When the target cannot be recorded, or an output fails.
pub fn run(args: &RecordArgs) -> anyhow::Result<Ending> {
    let mut plan = OutputPlan::for_record(&args.output)?;
    let what = match args.command.is_empty() {
        true => What::Attach(args.pid.clone()),
        false => What::Launch(args.command.clone()),
    };
    let launched = matches!(what, What::Launch(_));
    let options = options(args, &what);
    let symbolizer = Symbolizer::new(system_facts()).with_servers(debuginfod::from_environment());
    let readers = || Readers {
        unwinder: Box::new(symbolizer.unwinder()),
        scripts: Box::new(Scripts::new(symbolizer.interpreters())),
        kernel: Box::new(symbolizer.kernel()),
    };
    // Before anything of the program begins: that there is room, and leave.
    let draft = plan.draft_recording()?;
    let mut recorder = Recorder::new(args.engine.into(), what, options, &readers)?;
    // After the command's process is made, which must not inherit what we
    // handle, and before the command starts, to which Ctrl-C belongs from then on.
    let stop = Stop::default();
    let interrupts = Interrupts::handle(&stop, launched).context("cannot handle signals")?;
    recorder.begin(&stop)?;
    plan.name_files(recorder.header());
    let (sink, file) = match start_recording(&recorder, symbolizer, draft, &plan) {
        Ok(started) => started,
        Err(error) => {
            recorder.abandon(&stop);
            return Err(error);
        }
    };
    let captured = capture(recorder, &stop, sink, args.output.quiet);
    let delivered = report(file, captured.is_ok(), args, &plan);
    // Of two failures the first is the cause.
    let ended = captured?;
    delivered?;
    Ok(match ended.exit {
        Some(status) => Ending::of_program(status),
        None => interrupts.ending(),
    })
}

fn options(args: &RecordArgs, what: &What) -> Options {
    let command = match what {
        What::Launch(argv) => argv.iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        What::Attach(pids) => {
            pids.first().map(|pid| whyslow_sampler::command_line(*pid)).unwrap_or_default()
        }
    };
    Options {
        frequency: args.frequency,
        stack_bytes: args.stack_size,
        inherit: !args.no_inherit,
        duration: args.duration,
        delay: args.delay.unwrap_or_default(),
        precise: args.precise,
        max_overhead: args.max_overhead,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        command: if args.show_secrets { command } else { redact(&command) },
    }
}

/// Begins the recording the user gets, or one that nobody sees; the file, too,
/// to read it again.
fn start_recording(
    recorder: &Recorder,
    symbolizer: Symbolizer,
    draft: Draft,
    plan: &OutputPlan,
) -> anyhow::Result<(Sink, File)> {
    let file = draft.file().try_clone().context("cannot write the recording")?;
    let sink =
        Sink::new(file, recorder.header(), symbolizer).context("cannot write the recording")?;
    // It has its header by now: whoever sees the file can read it.
    let file = match plan.recording() {
        Some(path) => files::publish_recording(draft, path, plan.existing())?,
        None => draft.file().try_clone().context("cannot read the recording again")?,
    };
    Ok((sink, file))
}

/// Records to the end. What was written until something failed is in the file.
fn capture(recorder: Recorder, stop: &Stop, mut sink: Sink, quiet: bool) -> anyhow::Result<Ended> {
    let progress = Progress::start(quiet);
    let ended = recorder.run(stop, &mut |event| sink.push(event), &mut |now| {
        progress.tick(now.elapsed, now.events, now.threads);
    });
    progress.finish();
    // Names are worth having even when the kernel failed us; when the disk did,
    // this fails, too, and says nothing new.
    let finished = sink.finish().context("cannot write the recording");
    let ended = ended?;
    finished?;
    Ok(ended)
}

/// Prints and writes what the recording says.
fn report(mut file: File, whole: bool, args: &RecordArgs, plan: &OutputPlan) -> anyhow::Result<()> {
    file.rewind().context("cannot read the recording again")?;
    let reader =
        Reader::repeatable(BufReader::new(file)).context("cannot read the recording again")?;
    let reader = Ahead::new(reader);
    let mut source: Box<dyn EventSource> = match whole {
        true => Box::new(reader),
        false => Box::new(Symbolized::new(reader)),
    };
    let analysis = analyze_in(&mut *source, args.output.detail());
    deliver(&analysis, source.header(), plan)
}
