//! Runs whyslow on a prepared workload, by launch or attach.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use super::{
    report::Report,
    stage::Stage,
    truth::{Totals, Truth},
};

/// How long an attached whyslow looks.
const WINDOW: &str = "2s";
/// Between the start of a workload and the attach.
const SETTLE: Duration = Duration::from_millis(300);
/// After this nothing good will come.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// Runs whyslow and keeps what it writes.
pub(super) struct Recorder<'a> {
    pub(super) binary: &'a Path,
    /// The engine it is to take.
    pub(super) engine: &'a str,
    /// What it may cost.
    pub(super) limit: Option<&'a str>,
    /// Files are `<stem>.json`, `<stem>.whyslow` and `<stem>.log`.
    pub(super) stem: PathBuf,
    /// Whether the workload keeps an account.
    pub(super) shares: bool,
}

/// A report and the workload's account of the same time.
pub(super) type Recorded = (Report, Option<Totals>);

impl Recorder<'_> {
    /// whyslow starts the workload.
    pub(super) fn launch(&self, stage: &Stage) -> Result<Recorded> {
        let mut whyslow = self.whyslow()?;
        whyslow.arg("--").args(&stage.command).env("WHYSLOW_TRUTH", stage.truth.path());
        self.finish(whyslow.spawn().context("cannot start whyslow")?)?;
        let report = self.report()?;
        let code = report.target.exit.as_ref().and_then(|exit| exit.code);
        ensure!(code == Some(0), "the workload's exit code is {code:?} in the report");
        let totals = self.totals(stage, Truth::whole)?;
        Ok((report, totals))
    }

    /// whyslow finds the workload running.
    pub(super) fn attach(&self, stage: &Stage) -> Result<Recorded> {
        let running = Running::start(stage, &self.file("out"))?;
        running.settle(stage)?;
        let mut whyslow = self.whyslow()?;
        whyslow.args(["-d", WINDOW, "-p", &running.child.id().to_string()]);
        self.finish(whyslow.spawn().context("cannot start whyslow")?)?;
        drop(running);
        let report = self.report()?;
        let from = monotonic(&report.window.start)?;
        let to = from + report.window.duration_ns;
        let totals = self.totals(stage, |truth| truth.between(from, to))?;
        Ok((report, totals))
    }

    fn whyslow(&self) -> Result<Command> {
        let log = File::create(self.file("log"))?;
        let mut command = Command::new(self.binary);
        command.args(["record", "-q", "--force", "--engine", self.engine]);
        if let Some(limit) = self.limit {
            command.args(["--max-overhead", limit]);
        }
        for extension in ["json", "whyslow"] {
            let path = self.file(extension);
            let _ = fs::remove_file(&path);
            command.arg("-o").arg(path);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn finish(&self, whyslow: Child) -> Result<()> {
        let status = wait(whyslow)?;
        if !status.success() {
            let log = fs::read_to_string(self.file("log")).unwrap_or_default();
            bail!("whyslow: {status}: {}", log.trim());
        }
        Ok(())
    }

    fn report(&self) -> Result<Report> {
        Report::read(&self.file("json"))
    }

    fn totals(&self, stage: &Stage, of: impl FnOnce(&Truth) -> Totals) -> Result<Option<Totals>> {
        if !self.shares {
            return Ok(None);
        }
        Truth::read(stage.truth.path()).map(|truth| Some(of(&truth)))
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.stem.with_extension(extension)
    }
}

/// A workload that runs by itself; killed, with its children, when dropped.
struct Running {
    child: Child,
}

impl Running {
    fn start(stage: &Stage, output: &Path) -> Result<Self> {
        let output = File::create(output)?;
        let child = Command::new(&stage.command[0])
            .args(&stage.command[1..])
            .env("WHYSLOW_TRUTH", stage.truth.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {:?}", stage.command))?;
        Ok(Self { child })
    }

    /// Waits until it has begun, and a little longer.
    fn settle(&self, stage: &Stage) -> Result<()> {
        let patience = Instant::now() + PATIENCE;
        while Truth::read(stage.truth.path()).is_err() {
            ensure!(Instant::now() < patience, "the workload did not begin");
            thread::sleep(POLL);
        }
        thread::sleep(SETTLE);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn wait(mut child: Child) -> Result<ExitStatus> {
    let patience = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > patience {
            child.kill()?;
            child.wait()?;
            bail!("whyslow did not end within {} s", PATIENCE.as_secs());
        }
        thread::sleep(POLL);
    }
}

/// A wall-clock time on the monotonic clock.
fn monotonic(time: &str) -> Result<u64> {
    let time: jiff::Timestamp = time.parse().with_context(|| format!("window.start: {time}"))?;
    let now = |clock| -> Result<i128> {
        let now = clock_gettime(clock)?;
        Ok(i128::from(now.tv_sec()) * 1_000_000_000 + i128::from(now.tv_nsec()))
    };
    let offset = now(ClockId::CLOCK_REALTIME)? - now(ClockId::CLOCK_MONOTONIC)?;
    u64::try_from(time.as_nanosecond() - offset)
        .context("window.start is before the machine's start")
}
