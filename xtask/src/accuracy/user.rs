//! The suite as an ordinary user: this program once more, without privilege,
//! and everything that it starts.

use std::{
    env, fs,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Uid, User};

use super::Arguments;
use super::groups::Handed;
use crate::run;

/// Where programs are that everybody may use: ours may lie in a home.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Runs the suite with `binary` as the user with this name.
pub(super) fn run_as(name: &str, binary: &Path, arguments: &Arguments) -> Result<()> {
    ensure!(Uid::effective().is_root(), "only root can become {name}");
    let user = User::from_name(name)?.with_context(|| format!("there is no user {name}"))?;
    let folder = run::target_directory()?.join(format!("accuracy-{name}"));
    fs::create_dir_all(&folder)?;
    chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    let mut command = Command::new(env::current_exe()?);
    command.arg("accuracy").arg("--folder").arg(&folder);
    command.args(["--engine", &arguments.engine, "--runs", &arguments.runs.to_string()]);
    if let Some(only) = arguments.only {
        command.args(["--only", only.as_str()]);
    }
    if let Some(limit) = &arguments.max_overhead {
        command.args(["--max-overhead", limit]);
    }
    if let Some(filter) = &arguments.filter {
        command.args(["--filter", filter]);
    }
    if let Some(mode) = arguments.mode {
        command.args(["--mode", mode.as_str()]);
    }
    if let Some(json) = &arguments.json {
        command.arg("--json").arg(json);
    }
    command.env("WHYSLOW_BIN", binary).env("PATH", PATH).env("HOME", &folder);
    command.current_dir(&folder).uid(user.uid.as_raw()).gid(user.gid.as_raw());
    // Without one, what needs a control group says that it cannot be made.
    let _group = Handed::to(&user).inspect_err(|error| eprintln!("{error:#}"));
    run::check(command)
}
