//! A `/proc` that hides, and places that cannot be written: known before
//! anything is recorded.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use super::{ORDINARY, open_case, start, unshare};
use crate::{
    case::{Case, is_root, needs_root},
    process::{Finished, Process},
    report::{sound, time, verdict},
};

/// Becomes the ordinary user in the words that follow.
const AS_ORDINARY: &str = "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\"";

fn in_mounts(case: &Case, prepare: &str, command: &[&str]) -> Finished {
    let script = format!("{prepare} && {AS_ORDINARY}");
    start(unshare(case, &["--mount"], &[&["sh", "-c", &script], command].concat())).finish()
}

#[test]
fn hidden_processes_are_in_no_one_s_way() {
    needs_root!();
    let case = open_case();
    let hide = "mount -t proc -o hidepid=2 proc /proc";
    for engine in ["auto", "procfs"] {
        let record = ["./whyslow", "record", "-q", "--force", "--engine", engine, "-o", "r.json"];
        in_mounts(&case, hide, &[&record[..], &["--", "sleep", "0.4"]].concat()).ended_with(0);
        let report = sound(case.json("r.json"));
        assert_eq!(verdict(&report), ("io-bound", "sleep"), "{}", report["bottleneck"]);
        assert!(time(&report, "sleep") > 300_000_000, "{}", report["ledger"]["process"]);
        fs::remove_file(case.path("r.json")).unwrap();
    }
    let other = Process::shell("exec sleep 60");
    let attach = ["./whyslow", "record", "-q", "-d", "1", "-o", "r.json", "-p", &other.pid()];
    let finished = in_mounts(&case, hide, &attach).ended_with(125);
    assert!(finished.stderr.contains("EPERM"), "{}", finished.stderr);
    assert!(finished.stderr.contains("run as the user"), "{}", finished.stderr);
}

#[test]
fn on_a_read_only_root_reports_go_where_there_is_room() {
    needs_root!();
    let case = open_case();
    let binary = case.path("whyslow");
    let run = |arguments: &[&str], folder: &str| {
        // The folder of the test is on it, too, or is /tmp itself.
        let script = format!(
            "mount -t tmpfs none /mnt && cp \"$0\" /mnt/whyslow && mkdir -m 777 /mnt/out \
             && mount -o remount,ro,bind / && (mount -o remount,ro,bind /tmp 2>/dev/null || :) \
             && cd {folder} && exec setpriv --reuid {ORDINARY} --regid {ORDINARY} \
             --clear-groups /mnt/whyslow \"$@\""
        );
        let words = [&["sh", "-c", &script, binary.to_str().unwrap()], arguments].concat();
        start(unshare(&case, &["--mount"], &words)).finish()
    };
    let refused = run(&["record", "-q", "--", "echo", "ran"], "/").ended_with(125);
    assert!(refused.stderr.contains("cannot write in the folder"), "{}", refused.stderr);
    assert!(refused.stderr.contains("-o"), "{}", refused.stderr);
    assert_eq!(refused.stdout(), "", "it ran all the same");
    // Nothing but standard output is to be had.
    let report = run(&["record", "-q", "--json", "--", "sleep", "0.3"], "/").ended_with(125);
    assert!(report.stderr.contains("cannot write in the folder"), "{}", report.stderr);
    let json = ["record", "-q", "-o", "/mnt/out/r.json", "--json", "--", "sleep", "0.3"];
    let report = run(&json, "/").ended_with(0);
    let report = sound(serde_json::from_slice(&report.stdout).unwrap());
    assert_eq!(verdict(&report), ("io-bound", "sleep"));
    run(&["record", "-q", "--", "sleep", "0.3"], "/mnt/out").ended_with(0);
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_the_command_runs() {
    needs_root!();
    assert!(is_root());
    let case = open_case();
    fs::create_dir(case.path("closed")).unwrap();
    fs::set_permissions(case.path("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", ORDINARY, "--regid", ORDINARY, "--clear-groups", "../whyslow"]);
    command.args(["record", "-q", "--", "echo", "ran"]).current_dir(case.path("closed"));
    let refused = start(command).finish().ended_with(125);
    assert!(refused.stderr.contains("cannot write in the folder"), "{}", refused.stderr);
    assert_eq!(refused.stdout(), "");
}
