//! Processes of a test: started, waited for with a deadline, ended by their PID.

use std::{
    fs,
    io::{ErrorKind, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Longer than anything here takes on a machine under load: to end a hang, not to measure.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// Waits until `done` gives something.
pub(crate) fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "still waiting for {what}");
        thread::sleep(POLL);
    }
}

/// A running process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Process {
    /// Starts `command` in a process group of its own, with its output gathered.
    pub(crate) fn start(mut command: Command) -> Process {
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_as_is(command)
    }

    /// The same, with its standard streams as they are set.
    pub(crate) fn start_as_is(mut command: Command) -> Process {
        command.process_group(0);
        let mut child = loop {
            match command.spawn() {
                // A test beside this one was forking while the program was copied here.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => thread::yield_now(),
                Err(error) => panic!("{command:?}: {error}"),
                Ok(child) => break child,
            }
        };
        let stdout: Option<ChildStdout> = child.stdout.take();
        let stderr: Option<ChildStderr> = child.stderr.take();
        Process { child, stdout: gather(stdout), stderr: gather(stderr) }
    }

    /// Starts a shell script.
    pub(crate) fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        Process::start(command)
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_to(&self.pid(), signal);
    }

    /// Sends a recorder a signal, and waits until it has heeded it: of two that are
    /// pending at once, nobody knows which comes first.
    pub(crate) fn interrupt(&self, send: impl FnOnce(&Process)) {
        let before = self.interrupts();
        send(self);
        until("the signal to be heeded", || (self.interrupts() > before).then_some(()));
    }

    /// How often a recorder's thread for signals has gone to wait for the next.
    fn interrupts(&self) -> u64 {
        // It names itself.
        let thread = until("the thread for signals", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
            tasks.filter_map(|task| Some(task.ok()?.path())).find(|task| {
                fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "interrupts\n")
            })
        });
        let status = fs::read_to_string(thread.join("status")).unwrap();
        let waits = |line: &str| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok();
        status.lines().find_map(waits).unwrap()
    }

    /// To its whole group, as a terminal does at Ctrl-C.
    pub(crate) fn signal_group(&self, signal: Signal) {
        signal_to(&format!("-{}", self.pid()), signal);
    }

    /// Fails when it has ended.
    pub(crate) fn expect_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("ended with {status}");
        }
    }

    /// Whether it has ended; its output may be open in others.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end and the end of its output.
    pub(crate) fn finish(mut self) -> Finished {
        let status = until("a process to end", || self.child.try_wait().unwrap());
        let output = |gathered: &mut JoinHandle<Vec<u8>>| {
            until("the output to end", || gathered.is_finished().then_some(()));
            std::mem::replace(gathered, thread::spawn(Vec::new)).join().unwrap()
        };
        let stdout = output(&mut self.stdout);
        let stderr = String::from_utf8_lossy(&output(&mut self.stderr)).into_owned();
        Finished { status, stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Its exit code; a signal is a failure of the test.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{self:?}"))
    }

    /// The signal that killed it.
    pub(crate) fn killed_by(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Fails with its output unless the exit code is `code`.
    pub(crate) fn ended_with(self, code: i32) -> Finished {
        assert_eq!(self.status.code(), Some(code), "{}", self.stderr);
        self
    }

    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is UTF-8")
    }
}

/// Sends a signal to a process the test started.
pub(crate) fn signal_to(pid: &str, signal: Signal) {
    let pid = pid.trim().parse().expect("a PID");
    kill(Pid::from_raw(pid), signal).unwrap();
}

fn gather(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        bytes
    })
}
