//! `whyslow report`: plays a recording through the same way as `record`.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use anyhow::Context;
use whyslow_analysis::{Analysis, Detail, analyze_in};
use whyslow_events::recording::{ReadError, Reader};
use whyslow_events::{EventSource, Header};

use crate::ahead::Ahead;
use crate::args::ReportArgs;
use crate::exit::Ending;
use crate::files::Draft;
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
    let (header, analysis) =
        replay(input, args.output.detail()).with_context(|| format!("cannot read {name}"))?;
    deliver(&analysis, &header, &plan)?;
    Ok(Ending::SUCCESS)
}

fn replay(
    input: impl Read + Seek + Send + 'static,
    detail: Detail,
) -> Result<(Header, Analysis), ReadError> {
    let mut source = Symbolized::new(Ahead::new(Reader::repeatable(input)?));
    let analysis = analyze_in(&mut source, detail);
    Ok((source.header().clone(), analysis))
}

fn open(path: &Path) -> anyhow::Result<(String, BufReader<File>)> {
    let (name, file) = if path == Path::new("-") {
        let name = "standard input".to_owned();
        let file = kept(io::stdin().lock()).with_context(|| format!("cannot read {name}"))?;
        (name, file)
    } else {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        // Of a pipe nothing can be read twice.
        let pipe = !file.metadata().is_ok_and(|of| of.is_file());
        let kept = |file| kept(file).with_context(|| format!("cannot read {name}"));
        let file = if pipe { kept(file)? } else { file };
        (name, file)
    };
    Ok((name, BufReader::new(file)))
}

/// What is read, in a file that nobody sees: a long recording is read twice.
fn kept(mut input: impl Read) -> io::Result<File> {
    let mut file = Draft::nowhere()?.file().try_clone()?;
    io::copy(&mut input, &mut file)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use clap::Parser;
    use whyslow_analysis::View;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::render::text::{self, Layout};
    use crate::render::{Origin, folded};
    use crate::testing::{assert_golden, recording, written};

    #[test]
    fn a_recording_gives_the_report_and_the_stacks_agreed() {
        let (header, analysis) = replay(Cursor::new(recording()), Detail::default()).unwrap();
        let origin = Origin { host: "h".into(), ..Origin::from(&header) };
        let layout = Layout { width: 80, verbose: false, functions: None };
        let screen = written(|out| text::report(&analysis.report, &origin, layout, out));
        assert_golden("nap.80.txt", &anstream::adapter::strip_bytes(&screen).into_vec());
        let stacks = analysis.stacks.folded(View::Wall);
        assert_golden("nap.folded", &written(|out| folded::stacks(&stacks, out)));
    }

    #[test]
    fn every_cut_gives_an_error_or_a_damaged_report() {
        let whole = recording();
        for length in 0..whole.len() {
            if let Ok((_, analysis)) =
                replay(Cursor::new(whole[..length].to_vec()), Detail::default())
            {
                assert!(analysis.report.quality.damage.is_some(), "cut at {length}");
            }
        }
        assert!(
            replay(Cursor::new(whole), Detail::default())
                .unwrap()
                .1
                .report
                .quality
                .damage
                .is_none()
        );
    }

    #[test]
    fn files_are_written_beside_each_other_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("in.whyslow"), recording()).unwrap();
        let report = |args: &[&str]| {
            let input = path("in.whyslow");
            let all = ["whyslow", "report", "-q", &input].into_iter().chain(args.iter().copied());
            let Command::Report(args) = Cli::try_parse_from(all).unwrap().command else {
                panic!("not the report command")
            };
            run(&args)
        };
        let (svg, json) = (path("a.svg"), path("a.json"));
        assert_eq!(report(&["-o", &svg, "-o", &json]).unwrap(), Ending::SUCCESS);
        let value: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        assert_eq!(value["schema"], "whyslow.report/1");
        assert!(std::fs::read_to_string(&svg).unwrap().contains("</svg>"));
        assert!(report(&["-o", &svg]).is_err());
        assert!(report(&["-o", &svg, "--force"]).is_ok());
        let new = path("b.json");
        assert!(report(&["-o", &new, "-o", &new]).is_err());
        assert!(report(&["-o", &path("b.whyslow")]).is_err());
    }
}
