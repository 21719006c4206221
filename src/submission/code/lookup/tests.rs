use super::*;

fn lines(text: &str) -> Vec<u64> {
    let python = Python::parse(text).unwrap();
    assert!(python.syntax_errors().is_empty(), "{:?} {text}", python.syntax_errors());
    of(&python, &Settings::of(&python)).iter().map(|found| python.line(found.at)).collect()
}

#[test]
fn tables_asked_with_the_target_are_found() {
    for script in include_str!("dishonest.py").split("\n# ----\n") {
        assert!(!lines(script).is_empty(), "{script}");
    }
}

#[test]
fn embeddings_tables_of_bytes_and_sums_are_not() {
    for script in include_str!("honest.py").split("\n# ----\n") {
        assert!(lines(script).is_empty(), "{:?} {script}", lines(script));
    }
}

#[test]
fn a_setting_that_is_off_is_named() {
    let text = "USE_TABLE = int(os.environ.get('USE_TABLE', '0'))\ndef f(p, counts, y):\n    if USE_TABLE:\n        \
                p = 0.5 * p + 0.5 * counts[y]\n    return p\n";
    let python = Python::parse(text).unwrap();
    let found = of(&python, &Settings::of(&python));
    assert_eq!(found[0].switch.as_deref(), Some("USE_TABLE"));
}
