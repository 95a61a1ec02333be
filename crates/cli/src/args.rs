//! The command line: one definition from which parsing, help and completions come.

mod format;
mod order;
mod quantity;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use whyslow_analysis::{Detail, View};
use whyslow_sampler::Engine;

pub(crate) use format::{Format, OutputFile};
use order::OrderArgs;
use quantity::{parse_duration, parse_percent, parse_positive_duration, parse_stack_size};

const EXAMPLES: &str = "\
Examples:
  whyslow record -- python3 app.py       run a program and say what it waits for
  whyslow record -p 4242 -d 10s          watch a running program for ten seconds
  whyslow record -o slow.svg -- make     choose the file; the extension decides the format
  whyslow report whyslow-make-77-….whyslow    the same report again, on any machine";

/// What is a slow program actually waiting for?
#[derive(Debug, Parser)]
#[command(
    name = "whyslow",
    version,
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Profile a program: prints the verdict, writes a flamegraph and a recording
    Record(RecordArgs),
    /// Print the report of a recording again
    Report(ReportArgs),
    /// Say what this machine allows, what is missing, and what to do; ends with 1 when
    /// something is missing
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the JSON Schema of the report
    #[command(name = "__schema", hide = true)]
    Schema,
}

/// Arguments of `whyslow record`.
#[derive(Debug, Args)]
#[command(override_usage = "whyslow record [OPTIONS] -p PID[,PID]\n       \
                            whyslow record [OPTIONS] -- COMMAND [ARGS]...")]
pub(crate) struct RecordArgs {
    /// Attach to these processes, with their threads and descendants
    #[arg(
        short,
        long,
        value_name = "PID[,PID]",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)),
        required_unless_present = "command",
        conflicts_with = "command"
    )]
    pub pid: Vec<u32>,

    /// Stop after this time, such as 10s, 500ms or 2m; a plain number is seconds
    #[arg(short, long, value_name = "TIME", value_parser = parse_positive_duration)]
    pub duration: Option<Duration>,

    /// On-CPU samples per second
    #[arg(
        short = 'F',
        long = "freq",
        visible_short_alias = 'r',
        visible_alias = "rate",
        value_name = "HZ",
        default_value_t = 299,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub frequency: u32,

    /// User stack copied with a sample, such as 16K, up to 60K; deeper ones are
    /// read on from outside, and where many are, up to four times as much is
    /// copied. 0 follows frame pointers instead
    #[arg(long, value_name = "SIZE", default_value = "16K", value_parser = parse_stack_size)]
    pub stack_size: u32,

    /// Let the program run this long before recording it
    #[arg(short = 'D', long, value_name = "TIME", value_parser = parse_duration)]
    pub delay: Option<Duration>,

    /// What recording may cost, such as 2% of one CPU: stacks, samples and looks are
    /// thinned for it, and where that is not enough, switches are recorded for a part of
    /// the time
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub max_overhead: Option<u32>,

    /// Leave child processes out
    #[arg(long)]
    pub no_inherit: bool,

    /// How to capture
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    pub engine: EngineChoice,

    /// Stop each running Python thread for the microseconds in which its calls are
    /// read, one at a time; otherwise none is ever stopped
    #[arg(long)]
    pub precise: bool,

    /// Keep passwords and tokens in the command line that reports show
    #[arg(long)]
    pub show_secrets: bool,

    #[command(flatten)]
    pub output: OutputArgs,

    /// The program to run, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

/// Arguments of `whyslow report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The recording; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub recording: PathBuf,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `whyslow doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// What to print and write, the same for every command that ends in a report.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write a file; repeatable. The extension decides: .svg .json .folded .whyslow
    #[arg(
        short,
        long,
        value_name = "FILE",
        value_parser = PathBufValueParser::new().try_map(OutputFile::new)
    )]
    pub output: Vec<OutputFile>,

    /// Replace output files that exist
    #[arg(long)]
    pub force: bool,

    /// Print the report as JSON on standard output
    #[arg(long)]
    pub json: bool,

    /// What the flamegraph and folded stacks show
    #[arg(long, value_enum, default_value_t = ViewChoice::Wall)]
    pub view: ViewChoice,

    /// Show an interpreter's own functions beside the calls of its program, in every
    /// output
    #[arg(long)]
    pub native: bool,

    #[command(flatten)]
    pub order: OrderArgs,

    /// When to use colour; NO_COLOR and CLICOLOR are respected
    #[arg(long, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,

    /// Print no report, progress or file names
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print every row, each thread, and what the engine had to do without
    #[arg(short, long)]
    pub verbose: bool,
}

impl OutputArgs {
    /// How the code is to be shown.
    pub(crate) fn detail(&self) -> Detail {
        Detail { native: self.native, functions: self.order.order() }
    }
}

/// `--engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineChoice {
    /// The best this machine allows
    Auto,
    /// perf_event_open
    Perf,
    /// Looks at /proc, without perf events
    Procfs,
}

impl From<EngineChoice> for Engine {
    fn from(choice: EngineChoice) -> Engine {
        match choice {
            EngineChoice::Auto => Engine::Auto,
            EngineChoice::Perf => Engine::Perf,
            EngineChoice::Procfs => Engine::Procfs,
        }
    }
}

/// `--view`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViewChoice {
    /// Wall-clock time shared out among the threads that hold the program up
    Bottleneck,
    /// Thread time, idle left out
    Wall,
    /// On-CPU time
    Cpu,
    /// Waiting time
    #[value(name = "offcpu")]
    OffCpu,
}

impl From<ViewChoice> for View {
    fn from(choice: ViewChoice) -> View {
        match choice {
            ViewChoice::Bottleneck => View::Bottleneck,
            ViewChoice::Wall => View::Wall,
            ViewChoice::Cpu => View::Cpu,
            ViewChoice::OffCpu => View::OffCpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn record(args: &[&str]) -> Result<RecordArgs, clap::Error> {
        let all = ["whyslow", "record"].iter().chain(args);
        Cli::try_parse_from(all).map(|cli| match cli.command {
            Command::Record(record) => record,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_definition_is_consistent_and_every_flag_has_help() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            for argument in sub.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", sub.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let args = record(&["-d", "2", "--", "prog", "-d", "--json"]).unwrap();
        assert_eq!(args.command, ["prog", "-d", "--json"]);
        assert_eq!(args.duration, Some(Duration::from_secs(2)));
        assert!(!args.output.json);
    }

    #[test]
    fn pids_come_in_lists_and_exclude_a_command() {
        assert_eq!(record(&["-p", "1,22", "-p", "3"]).unwrap().pid, [1, 22, 3]);
        for wrong in [&["-p", "0"][..], &["-p", "x"], &[], &["-p", "1", "--", "true"], &["true"]] {
            assert!(record(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_rate_has_its_three_names_and_limits() {
        for name in ["-F", "--freq", "-r", "--rate"] {
            assert_eq!(record(&[name, "99", "-p", "1"]).unwrap().frequency, 99);
        }
        assert!(record(&["-F", "0", "-p", "1"]).is_err());
        assert!(record(&["-F", "10001", "-p", "1"]).is_err());
    }

    #[test]
    fn stacks_have_a_size_that_a_record_can_hold() {
        assert_eq!(record(&["-p", "1"]).unwrap().stack_size, 16 << 10);
        let size = |text| record(&["-p", "1", "--stack-size", text]).map(|args| args.stack_size);
        assert_eq!(size("0").unwrap(), 0);
        assert_eq!(size("60KiB").unwrap(), 60 << 10);
        assert_eq!(size("1001").unwrap(), 1000, "words are whole");
        for wrong in ["61K", "-1", "", "K", "9999999999999999", "1.5K"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_of_cost_is_a_part_of_one_cpu() {
        let limit =
            |text| record(&["-p", "1", "--max-overhead", text]).map(|args| args.max_overhead);
        assert_eq!(record(&["-p", "1"]).unwrap().max_overhead, None);
        assert_eq!(limit("2%").unwrap(), Some(20_000));
        assert_eq!(limit("0.5").unwrap(), Some(5_000));
        for wrong in ["0", "-1", "101", "%", "x", "nan"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_extension_is_refused_with_the_list() {
        let error = record(&["-o", "x.html", "-p", "1"]).unwrap_err().to_string();
        assert!(error.contains(".svg .json .folded .whyslow"), "{error}");
    }

    #[test]
    fn the_help_of_output_lists_every_format() {
        let help = Cli::command().find_subcommand_mut("record").unwrap().render_help().to_string();
        for format in Format::ALL {
            assert!(help.contains(&format!(".{}", format.extension())), "{format:?}");
        }
    }
}
