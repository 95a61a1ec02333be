//! What a prescription says of the code, on recordings that are made up.

use whyslow_events::{CodeId, Event, ScriptFrame, SiteId, SpaceId, StackEnd, StackId, Tid};

use crate::script::{MS, Script};

/// What is said of a program that awaits five answers with these calls, innermost first.
fn told(calls: &[(&str, &str, u32)]) -> String {
    let answers = StackId(900);
    let mut script = Script::new(2).thread("main", &"#nnnnnnnnnnnnnnnnnnnnnnnn".repeat(5));
    for (id, (function, file, _)) in (0..).zip(calls) {
        let (function, file) = ((*function).to_owned(), (*file).to_owned());
        script = script.at(0, Event::Code { id: CodeId(id), function, file });
    }
    let calls = (0..).zip(calls);
    let calls = calls.map(|(code, (.., line))| ScriptFrame {
        code: CodeId(code),
        line: *line,
        entry: true,
    });
    let stack = Event::Stack {
        id: answers,
        space: SpaceId(1),
        kernel: vec![],
        user: vec!['n'.into()],
        end: StackEnd::Complete,
        script: calls.collect(),
    };
    script = script.at(0, stack);
    for wait in 0..5 {
        let at = (wait * 25 + 5) * MS;
        let look = Event::Look { tid: Tid(100), site: SiteId('n'.into()), stack: Some(answers) };
        script = script.at(at, look);
    }
    let prescription = script.run().report.prescription.unwrap();
    prescription.antipatterns.into_iter().map(|it| it.evidence).collect()
}

#[test]
fn a_wait_in_a_library_is_told_with_the_programs_own_line() {
    let library = ("readinto", "/usr/lib/python3.11/socket.py", 706);
    let package = ("get", "/srv/venv/lib/python3.11/site-packages/requests/api.py", 73);
    let own = [("fetch", "/srv/app.py", 7), ("<module>", "/srv/app.py", 20)];
    let waits = "5 waits of 24.0 ms one after another, ";
    let calls = [&[library, package][..], &own].concat();
    assert_eq!(told(&calls), format!("{waits}readinto (socket.py:706) for fetch (app.py:7)"));
    assert_eq!(told(&own), format!("{waits}fetch (app.py:7)"));
    assert_eq!(told(&[library, package]), format!("{waits}readinto (socket.py:706)"));
}
