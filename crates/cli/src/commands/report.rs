//! `whyslow report`: plays a recording through the same way as `record`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::Context;
use whyslow_analysis::analyze;
use whyslow_events::recording::Reader;

use crate::args::ReportArgs;
use crate::exit::Ending;
use crate::output::{OutputPlan, deliver};
use crate::symbols::Symbolized;

/// Reads the recording and prints what `record` printed.
///
/// # Errors
/// When the file is no recording this build reads, or an output fails. A
/// recording that breaks off is no error: what can be read is reported.
pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<Ending> {
    let plan = OutputPlan::for_report(&args.output)?;
    let (name, input) = open(&args.recording)?;
    let reader = Reader::new(input).with_context(|| format!("cannot read {name}"))?;
    let mut source = Symbolized::new(reader);
    let analysis = analyze(&mut source);
    deliver(&analysis, whyslow_events::EventSource::header(&source), &plan)?;
    Ok(Ending::SUCCESS)
}

fn open(path: &Path) -> anyhow::Result<(String, Box<dyn Read>)> {
    if path == Path::new("-") {
        return Ok(("standard input".into(), Box::new(BufReader::new(io::stdin()))));
    }
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    Ok((name, Box::new(BufReader::new(file))))
}
