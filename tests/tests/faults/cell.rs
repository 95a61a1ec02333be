//! One cell of the matrix: a worker that knows what it has to compute, recorded
//! by one engine, launched or found.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    case::{Case, NOBODY, is_root, refuses_perf},
    process::{Finished, Process, signal_to, until},
    report::sound,
};

/// What is in the folder of each cell.
const PROGRAMS: [&str; 3] = ["other", "whyslow", "worker"];
/// What the worker writes there.
const WRITTEN: [&str; 4] = ["again", "done", "pid", "result"];
/// What the worker ends with.
pub(crate) const ENDS: i32 = 7;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Launch,
    Attach,
}

/// What the host allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tier {
    Privileged,
    Ordinary,
    Procfs,
}

pub(crate) struct Cell {
    pub(crate) case: Case,
    pub(crate) mode: Mode,
    pub(crate) tier: Tier,
    _programs: Arc<TempDir>,
}

/// A recorder, its target, and how to find it.
pub(crate) struct Running {
    pub(crate) recorder: Process,
    /// Of a target that was not launched.
    pub(crate) target: Option<Process>,
    pub(crate) pid: String,
}

impl Cell {
    /// A folder of the user's with all he needs; `None`, and the skip is said,
    /// where this cannot be tried.
    pub(crate) fn new(mode: Mode, tier: Tier) -> Option<Cell> {
        if let Some(reason) = unfit(tier) {
            let thread = std::thread::current();
            println!("SKIP {}: {reason}", thread.name().unwrap_or("test"));
            return None;
        }
        let case = Case::new();
        let programs = programs();
        for name in PROGRAMS {
            fs::hard_link(programs.path().join(name), case.path(name)).unwrap();
        }
        let cell = Cell { case, mode, tier, _programs: programs };
        if cell.is_dropped() {
            chown(cell.case.path("."), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Some(cell)
    }

    /// Whether root plays an ordinary user.
    fn is_dropped(&self) -> bool {
        self.tier == Tier::Ordinary && is_root()
    }

    /// A command of the user's in the folder.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.case.path(".")).stdin(Stdio::null());
        if self.is_dropped() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Whose it is.
    pub(crate) fn user(&self) -> u32 {
        if self.is_dropped() { NOBODY } else { geteuid().as_raw() }
    }

    /// Words that record with the engine of the tier.
    pub(crate) fn record(&self, options: &[&str]) -> Vec<String> {
        let engine = if self.tier == Tier::Procfs { "procfs" } else { "perf" };
        let words = ["record", "--engine", engine].into_iter().chain(options.iter().copied());
        words.map(str::to_owned).collect()
    }

    /// Starts the worker as `work` says and its recorder, and waits until the
    /// worker is at work.
    pub(crate) fn start(&self, work: [&str; 2], options: &[&str]) -> Running {
        self.start_by(work, options, |command| command)
    }

    /// The same, with another command in the place of the recorder's.
    pub(crate) fn start_by(
        &self,
        work: [&str; 2],
        options: &[&str],
        prepare: impl FnOnce(Command) -> Command,
    ) -> Running {
        let target = (self.mode == Mode::Attach).then(|| self.work(work));
        let mut command = self.command(self.case.path("whyslow"));
        command.args(self.record(options));
        match &target {
            Some(target) => command.args(["-p", &target.pid()]),
            None => command.args(["--", "./worker", "."]).args(work),
        };
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let recorder = Process::start_as_is(prepare(command));
        Running { recorder, target, pid: self.pid() }
    }

    /// Starts the worker alone.
    pub(crate) fn work(&self, work: [&str; 2]) -> Process {
        let mut command = self.command("./worker");
        command.arg(".").args(work);
        let worker = Process::start(command);
        self.pid();
        worker
    }

    /// The worker's PID, once it is at work.
    fn pid(&self) -> String {
        self.line("pid")
    }

    /// What the worker wrote into a file.
    pub(crate) fn line(&self, name: &str) -> String {
        let path = self.case.path(name);
        until(name, || Some(fs::read_to_string(&path).ok()?.trim().to_owned()))
    }

    /// Waits until the recording holds something of the worker.
    pub(crate) fn until_recorded(&self, running: &mut Running) {
        let header = self.case.until_recorded(&mut running.recorder, "r.whyslow", 0);
        self.case.until_recorded(&mut running.recorder, "r.whyslow", header);
    }

    /// Fails unless the worker runs on as if nothing had happened.
    pub(crate) fn untouched(&self, pid: &str) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        assert_eq!(field("TracerPid:"), "0");
        assert!(["R", "S", "D"].contains(&&field("State:")[..1]), "{status}");
        let events = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let events = events.filter_map(|fd| fs::read_link(fd.path()).ok());
        assert!(!events.into_iter().any(|file| file.ends_with("anon_inode:[perf_event]")));
    }

    /// Waits until a process is in a state.
    pub(crate) fn until_state(&self, pid: &str, state: char) {
        let stat = format!("/proc/{pid}/stat");
        let state = format!(") {state} ");
        until("a state", || fs::read_to_string(&stat).ok().filter(|stat| stat.contains(&state)));
    }

    /// Ends the worker, and fails unless it computed what it had to.
    pub(crate) fn ends_right(&self, pid: &str) {
        signal_to(pid, Signal::SIGUSR1);
        let result = self.line("result");
        let (word, count) = result.split_once(' ').unwrap();
        assert_eq!(word, "right", "{result}");
        assert!(count.parse::<u64>().unwrap() > 0, "{result}");
    }

    /// Files besides those that were there before and those of the worker.
    pub(crate) fn outputs(&self) -> Vec<String> {
        let ours = |name: &String| PROGRAMS.iter().chain(&WRITTEN).any(|ours| ours == name);
        self.case.files().into_iter().filter(|name| !ours(name)).collect()
    }

    /// What `whyslow report` says of the recording.
    pub(crate) fn reported(&self) -> Value {
        let finished = self.case.run(&["report", "r.whyslow", "--json"]).ended_with(0);
        sound(serde_json::from_slice(&finished.stdout).unwrap())
    }

    /// The report that was written.
    pub(crate) fn report(&self) -> Value {
        sound(self.case.json("r.json"))
    }
}

impl Running {
    /// Waits until the recorder has caught the signals that would end it: the
    /// recording is set up.
    pub(crate) fn until_set_up(&mut self) {
        let status = format!("/proc/{}/status", self.recorder.pid());
        until("the recorder to catch signals", || {
            self.recorder.expect_running();
            let text = fs::read_to_string(&status).ok()?;
            let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
            (caught & 1 << (Signal::SIGHUP as u32 - 1) != 0).then_some(())
        });
    }

    /// Waits for the recorder, which is to end as the mode says: with `code`, or as
    /// the worker when it was launched.
    pub(crate) fn finish(self, code: i32) -> Finished {
        let code = if self.target.is_none() { ENDS } else { code };
        self.recorder.finish().ended_with(code)
    }
}

/// Why a tier cannot be tried here.
fn unfit(tier: Tier) -> Option<String> {
    match tier {
        Tier::Privileged => (!is_root()).then(|| "not root".to_owned()),
        Tier::Ordinary => refuses_perf(),
        Tier::Procfs => None,
    }
}

/// The programs, made once: a file that is being written while another test starts
/// a process cannot be executed, so that each cell has links to these.
fn programs() -> Arc<TempDir> {
    static PROGRAMS: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = programs.upgrade() {
        return made;
    }
    let folder = TempDir::new().unwrap();
    let whyslow = Case::new().whyslow(&[]).get_program().to_owned();
    fs::copy(whyslow, folder.path().join("whyslow")).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/faults/worker.c");
    let worker = folder.path().join("worker");
    let compiled = Command::new("cc")
        .args(["-O2", "-pthread", "-o"])
        .args([&worker, &source])
        .output()
        .expect("a C compiler");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    fs::copy(&worker, folder.path().join("other")).unwrap();
    let folder = Arc::new(folder);
    *programs = Arc::downgrade(&folder);
    folder
}
