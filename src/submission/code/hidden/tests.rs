use super::*;

fn found(text: &str) -> Vec<(NoteKind, u64)> {
    let python = Python::parse(text).unwrap();
    assert!(python.syntax_errors().is_empty(), "{text}");
    of(&python, &Aliases::of(&python)).into_iter().map(|(kind, at, _)| (kind, python.line(at))).collect()
}

/// Scripts between lines of dashes.
fn each(scripts: &str, check: impl Fn(&[NoteKind]) -> bool) {
    for script in scripts.split("\n# ----\n") {
        let kinds: Vec<NoteKind> = found(script).into_iter().map(|(kind, _)| kind).collect();
        assert!(check(&kinds), "{kinds:?} in\n{script}");
    }
}

#[test]
fn code_that_the_script_does_not_show_is_found() {
    each(include_str!("dishonest.py"), |kinds| kinds.contains(&NoteKind::HiddenCode));
}

#[test]
fn other_files_that_are_executed_are_found() {
    each(include_str!("another_file.py"), |kinds| kinds == [NoteKind::RunsAnotherFile]);
}

#[test]
fn code_that_the_script_writes_out_is_no_finding() {
    each(include_str!("honest.py"), <[NoteKind]>::is_empty);
}

#[test]
fn the_line_is_that_of_the_call() {
    assert_eq!(found("import os\nbody = os.environ['B']\nexec(body)\n"), [(NoteKind::HiddenCode, 3)]);
}
