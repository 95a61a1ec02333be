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

use crate::args::RecordArgs;
use crate::debuginfod;
use crate::exit::Ending;
use crate::files;
use crate::output::{OutputPlan, deliver};
use crate::progress::Progress;
use crate::redact::redact;
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
    };
    let mut recorder = Recorder::new(args.engine.into(), what, options, &readers)?;
    // After the command's process is made, which must not inherit what we
    // handle, and before the command starts, to which Ctrl-C belongs from then on.
    let stop = Stop::default();
    let interrupts = Interrupts::handle(&stop, launched).context("cannot handle signals")?;
    recorder.begin()?;
    plan.name_files(recorder.header());
    let file = recording_file(&plan)?;
    let (mut file, ended) = capture(recorder, symbolizer, &stop, file, args.output.quiet)?;
    file.rewind().context("cannot read the recording again")?;
    let mut source =
        Reader::new(BufReader::new(file)).context("cannot read the recording again")?;
    let analysis = analyze_in(&mut source, args.output.detail());
    deliver(&analysis, source.header(), &plan)?;
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
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        command: if args.show_secrets { command } else { redact(&command) },
    }
}

/// The recording the user gets, or one that nobody sees.
fn recording_file(plan: &OutputPlan) -> anyhow::Result<File> {
    match plan.recording() {
        Some(path) => files::create_recording(path, plan.existing()),
        None => tempfile::tempfile().context("cannot create a temporary file for the recording"),
    }
}

fn capture(
    recorder: Recorder,
    symbolizer: Symbolizer,
    stop: &Stop,
    file: File,
    quiet: bool,
) -> anyhow::Result<(File, Ended)> {
    let progress = Progress::start(quiet);
    let mut sink =
        Sink::new(file, recorder.header(), symbolizer).context("cannot write the recording")?;
    let ended = recorder.run(stop, &mut |event| sink.push(event), &mut |now| {
        progress.tick(now.elapsed, now.events, now.threads);
    })?;
    progress.finish();
    let file = sink.finish().context("cannot write the recording")?;
    Ok((file, ended))
}
