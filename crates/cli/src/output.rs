//! Where a finished run goes: the report on a stream, and files. `record` and
//! `report` both end here, which is why they print the same bytes.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anstream::AutoStream;
use anyhow::{Context, bail};
use clap::ColorChoice;
use terminal_size::{Width, terminal_size_of};
use whyslow_analysis::{Analysis, View};
use whyslow_events::Header;

use crate::args::{Format, OutputArgs, OutputFile};
use crate::files::{self, Draft, Existing};
use crate::render::text::Layout;
use crate::render::{Origin, folded, json, svg, text};

/// Columns where the stream is no terminal.
const DEFAULT_WIDTH: usize = 80;

/// The stream the report for people goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error: standard output belongs to the program that is profiled.
    Stderr,
}

/// What to print and write, checked before anything is recorded.
#[derive(Debug)]
pub(crate) struct OutputPlan {
    files: Vec<OutputFile>,
    existing: Existing,
    /// Stream of the report for people, where it is wanted.
    text: Option<Stream>,
    /// Stream of the names of the files.
    names: Option<Stream>,
    json: bool,
    view: View,
    color: ColorChoice,
    verbose: bool,
    /// Rows of the function table for people, where it is wanted.
    functions: Option<usize>,
}

impl OutputPlan {
    /// The plan of `whyslow record`.
    ///
    /// # Errors
    /// When a file could not be written in the end.
    pub(crate) fn for_record(args: &OutputArgs) -> anyhow::Result<Self> {
        let plan = Self::new(args, Some(Stream::Stderr), Stream::Stderr)?;
        if plan.files.iter().filter(|file| file.format == Format::Recording).count() > 1 {
            bail!("a run has one recording: name one .whyslow file");
        }
        Ok(plan)
    }

    /// The plan of `whyslow report`.
    ///
    /// # Errors
    /// When a file could not be written in the end.
    pub(crate) fn for_report(args: &OutputArgs) -> anyhow::Result<Self> {
        let plan = match args.json {
            true => Self::new(args, None, Stream::Stderr),
            false => Self::new(args, Some(Stream::Stdout), Stream::Stdout),
        }?;
        if plan.recording().is_some() {
            bail!("report does not write recordings: copy the file instead");
        }
        Ok(plan)
    }

    fn new(args: &OutputArgs, text: Option<Stream>, names: Stream) -> anyhow::Result<Self> {
        let existing = if args.force { Existing::Replace } else { Existing::Keep };
        for (index, file) in args.output.iter().enumerate() {
            files::check(&file.path, existing)?;
            if args.output[..index].iter().any(|earlier| same(&earlier.path, &file.path)) {
                bail!("{} is named twice", file.path.display());
            }
        }
        Ok(OutputPlan {
            files: args.output.clone(),
            existing,
            text: text.filter(|_| !args.quiet),
            names: (!args.quiet).then_some(names),
            json: args.json,
            view: args.view.into(),
            color: args.color,
            verbose: args.verbose,
            functions: args.order.shown(args.verbose),
        })
    }

    /// Chooses a flamegraph and a recording where the user named no file.
    pub(crate) fn name_files(&mut self, header: &Header) {
        if !self.files.is_empty() {
            return;
        }
        let formats = [Format::Svg, Format::Recording];
        let pid = header.target.pids.first().map_or(0, |pid| pid.0);
        let extensions = formats.map(Format::extension);
        let (folder, name) = (Path::new(""), &header.target.name);
        let stem = files::free_stem(folder, name, pid, header.start_unix_ns, &extensions);
        self.files = formats
            .into_iter()
            .map(|format| {
                let path = PathBuf::from(format!("{}.{}", stem.display(), format.extension()));
                OutputFile { path, format }
            })
            .collect();
    }

    /// A file for the recording, in the folder where it is to be, or nowhere when
    /// none is wanted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn draft_recording(&self) -> anyhow::Result<Draft> {
        match (self.recording(), self.files.is_empty()) {
            // It gets a name of its own in the current folder.
            (None, true) => files::draft_recording(Some(Path::new("unnamed"))),
            (path, _) => files::draft_recording(path),
        }
    }

    /// Where the recording goes, when one is wanted.
    #[must_use]
    pub(crate) fn recording(&self) -> Option<&Path> {
        let recording = self.files.iter().find(|file| file.format == Format::Recording);
        recording.map(|file| file.path.as_path())
    }

    /// What to do with a file that is there already.
    #[must_use]
    pub(crate) fn existing(&self) -> Existing {
        self.existing
    }
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || std::path::absolute(a).ok() == std::path::absolute(b).ok()
}

/// Prints and writes `analysis` as planned. The recording, which was written
/// as it went, is only named.
///
/// # Errors
/// The first thing that failed; the rest is done all the same.
pub(crate) fn deliver(
    analysis: &Analysis,
    header: &Header,
    plan: &OutputPlan,
) -> anyhow::Result<()> {
    let origin = Origin::from(header);
    let shown = show(analysis, &origin, plan);
    let written = plan.files.iter().map(|file| write(file, analysis, &origin, plan));
    let written = written.fold(Ok(()), Result::and);
    shown.and(written)?;
    name(plan).context("cannot print the names of the files")
}

fn show(analysis: &Analysis, origin: &Origin, plan: &OutputPlan) -> anyhow::Result<()> {
    if let Some(stream) = plan.text {
        let OutputPlan { verbose, functions, .. } = *plan;
        let layout = Layout { width: width(stream), verbose, functions };
        print(stream, plan.color, |out| text::report(&analysis.report, origin, layout, out))
            .context("cannot print the report")?;
    }
    if plan.json {
        print(Stream::Stdout, ColorChoice::Never, |out| json::report(&analysis.report, out))
            .context("cannot print the report")?;
    }
    Ok(())
}

fn write(
    file: &OutputFile,
    analysis: &Analysis,
    origin: &Origin,
    plan: &OutputPlan,
) -> anyhow::Result<()> {
    let Analysis { report, stacks, .. } = analysis;
    match file.format {
        Format::Recording => Ok(()),
        Format::Json => files::write(&file.path, plan.existing, |out| json::report(report, out)),
        Format::Folded => files::write(&file.path, plan.existing, |out| {
            folded::stacks(&stacks.folded(plan.view), out)
        }),
        Format::Svg => files::write(&file.path, plan.existing, |out| {
            svg::flamegraph(&stacks.folded(plan.view), plan.view, report, origin, out)
        }),
    }
}

/// One line for each file.
fn name(plan: &OutputPlan) -> io::Result<()> {
    let Some(stream) = plan.names else { return Ok(()) };
    print(stream, plan.color, |out| {
        for OutputFile { path, format } in &plan.files {
            let what = match format {
                Format::Svg => "flamegraph",
                Format::Json => "report",
                Format::Folded => "stacks",
                Format::Recording => "recording",
            };
            writeln!(out, "{what:<10}  {}", crate::sanitize::clean(&path.to_string_lossy()))?;
        }
        Ok(())
    })
}

fn print(
    stream: Stream,
    color: ColorChoice,
    render: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    // One write for the whole, so that the program's own output cannot come between.
    let mut bytes = Vec::new();
    render(&mut bytes)?;
    let choice = match color {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    };
    let sent = match stream {
        Stream::Stdout => send(AutoStream::new(io::stdout().lock(), choice), &bytes),
        Stream::Stderr => send(AutoStream::new(io::stderr().lock(), choice), &bytes),
    };
    match sent {
        // Nobody reads on: the files are still to be written.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        sent => sent,
    }
}

fn send(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

fn width(stream: Stream) -> usize {
    let size = match stream {
        Stream::Stdout if io::stdout().is_terminal() => terminal_size_of(io::stdout()),
        Stream::Stderr if io::stderr().is_terminal() => terminal_size_of(io::stderr()),
        _ => None,
    };
    size.map_or(DEFAULT_WIDTH, |(Width(columns), _)| columns.into())
}

/// `error`, styled as in the messages about the command line.
#[must_use]
pub(crate) fn error_label() -> String {
    let style = clap::builder::Styles::styled().get_error().to_owned();
    format!("{style}error{style:#}")
}
