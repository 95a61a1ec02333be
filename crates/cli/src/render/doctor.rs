//! What a host allows, for people and for programs.

use std::io::{self, Write};

use serde_json::json;
use whyslow_sampler::{Check, Diagnosis, Status};

use crate::sanitize::clean;

/// The value of `schema`.
const SCHEMA: &str = "whyslow.doctor/1";
/// Columns of the names of checks.
const NAMES: usize = 15;

/// Every check on a line, what to do below it, and the outcome last.
pub(crate) fn text(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    for Check { id, status, finding, remedy } in &diagnosis.checks {
        let mark = match status {
            Status::Good => "ok",
            Status::Note => "note",
            Status::Missing => "missing",
        };
        writeln!(out, "{mark:<8}{id:<NAMES$}{}", clean(finding))?;
        if let Some(remedy) = remedy {
            writeln!(out, "{:8}{:NAMES$}→ {}", "", "", clean(remedy))?;
        }
    }
    let tier = diagnosis.tier;
    writeln!(out, "\nRecordings here use {}.", tier.as_str())?;
    if !tier.cannot_see().is_empty() {
        writeln!(out, "It cannot see:")?;
        tier.cannot_see().iter().try_for_each(|what| writeln!(out, "  {what}"))?;
    }
    Ok(())
}

/// The same as JSON.
pub(crate) fn json(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    let check = |check: &Check| {
        json!({
            "id": check.id,
            "status": match check.status {
                Status::Good => "ok",
                Status::Note => "note",
                Status::Missing => "missing",
            },
            "finding": check.finding,
            "remedy": check.remedy,
        })
    };
    let checks: Vec<serde_json::Value> = diagnosis.checks.iter().map(check).collect();
    let all = json!({
        "schema": SCHEMA,
        "tier": diagnosis.tier.as_str(),
        "cannot_see": diagnosis.tier.cannot_see(),
        "healthy": diagnosis.is_healthy(),
        "checks": checks,
    });
    serde_json::to_writer_pretty(&mut *out, &all)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use whyslow_sampler::{Access, Opened, Readings, diagnose};

    use super::*;
    use crate::testing::assert_golden;

    /// An ordinary user on a distribution that shuts perf events off.
    fn diagnosis() -> Diagnosis {
        let readings = Readings {
            kernel: "6.1.0-18-amd64".into(),
            architecture: "x86_64",
            capabilities: 0,
            no_new_privileges: false,
            filtered: false,
            initial_pid_namespace: true,
            own_proc: true,
            initial_user_namespace: true,
            paranoid: Some(4),
            mlock_kib: Some(516),
            kptr_restrict: Some(1),
            ptrace_scope: Some(1),
            open_files: Some((1024, 524_288)),
            tracefs: Access::Refused,
            schedstat: Access::Granted,
            btf: true,
            debug_files: false,
        };
        diagnose(&readings, Opened::no_perf(Errno::EACCES), "/usr/bin/whyslow", false)
    }

    #[test]
    fn a_host_that_shuts_perf_off_is_told_what_to_do() {
        let mut shown = vec![];
        text(&diagnosis(), &mut shown).unwrap();
        assert_golden("doctor.txt", &shown);
    }

    #[test]
    fn programs_read_the_same() {
        let mut shown = vec![];
        json(&diagnosis(), &mut shown).unwrap();
        assert_golden("doctor.json", &shown);
    }
}
