//! A recording that is read where none of the files are that it tells of.

use std::{fs, path::Path, process::Command};

use super::{folded, program::Language};
use crate::case::{Case, needs_root};

/// Copies `binary` and what it is linked with to where they are, but in `root`.
fn install(binary: &Path, root: &Path) {
    let libraries = Command::new("ldd").arg(binary).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
    for path in paths.chain([binary]) {
        let copy = root.join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(path, copy).unwrap();
    }
}

#[test]
fn its_stacks_have_the_names_they_had() {
    needs_root!();
    let case = Case::new();
    let Some(()) = Language::Cpp.compile(&case, false) else { return };
    let record = ["record", "-q", "-o", "r.folded", "-o", "root/r.whyslow", "--", "./calls", "5"];
    fs::create_dir(case.path("root")).unwrap();
    case.run(&record).ended_with(0);
    let named = folded::read(&case, "r.folded");
    let known = named.iter().any(|stack| stack.goes_through(&["run", "run", "nap"]));
    assert!(known, "{named:#?}");
    let whyslow = case.whyslow(&[]);
    let binary = fs::canonicalize(whyslow.get_program()).unwrap();
    install(&binary, &case.path("root"));
    let mut elsewhere = Command::new("chroot");
    elsewhere.arg(case.path("root")).arg(&binary).args(["report", "-q", "r.whyslow"]);
    let report = elsewhere.args(["-o", "r.folded"]).output().unwrap();
    assert!(report.status.success(), "{report:?}");
    assert!(case.read("root/r.folded") == case.read("r.folded"));
}
