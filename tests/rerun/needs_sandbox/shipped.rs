//! The submission that this project ships, against its own claim and against boards.

#[test]
#[ignore = "needs bubblewrap and python3"]
fn the_shipped_submission_is_level_4() {
    let out = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(crate::support::program());
    command.args(["fixtures/submissions/runnable", "--seeds", "1,2,3", "-q", "--out"]).arg(out.path().join("run"));
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let (code, text, err) = crate::command::words(&output);
    assert_eq!(code, Some(0), "{text}{err}");
    assert!(text.contains("verdict     level 4: rerun") && text.matches("agrees").count() == 4, "{text}");
    let page = std::fs::read_to_string(out.path().join("run/report.html")).unwrap();
    // Training loss of three seeds run and three claimed (one validation makes no curve), and a dot for each.
    assert_eq!((page.matches("<path class=\"line").count(), page.matches(" r=\"5\"").count()), (6, 6), "{page}");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn the_shipped_submission_is_set_against_a_board() {
    let folder = tempfile::tempdir().unwrap();
    let board = folder.path().join("board.yaml");
    let rerun = |record: &str, more: &[&str]| {
        let text = format!(
            "schema: golf-harness/board/v1\ntrack: 10min_16mb\nas_of: 2026-05-01\nrecords:\n\
             - {{title: Bigrams, date: '2026-03-20', val_bpb: {record}, n: 3, sd: 0.001, source: s}}\n"
        );
        std::fs::write(&board, text).unwrap();
        let mut command = std::process::Command::new(crate::support::program());
        command
            .args(["fixtures/submissions/runnable", "--seeds", "1,2,3", "-q", "--out"])
            .arg(folder.path().join("run"));
        command.args(more).arg("--against").arg(&board).env("NO_COLOR", "1").current_dir(env!("CARGO_MANIFEST_DIR"));
        crate::command::words(&command.output().unwrap())
    };
    let new = folder.path().join("new");
    let run = |record: &str| rerun(record, &[]);
    let handed_on = |record: &str| rerun(record, &["--submission", new.to_str().unwrap()]);
    // Better by far, in another track and on other hardware: the numbers are there, the level is not.
    let (code, text, err) = run("0.6");
    assert_eq!(code, Some(0), "{text}{err}");
    assert!(text.contains("board       against Bigrams (2026-03-20): record: mean 0.55270 bpb over 3 runs"), "{text}");
    assert!(text.contains("verdict     level 4: rerun"), "{text}");
    assert!(text.contains("level 5 needs an entry in the 10-minute track"), "{text}");
    assert!(text.contains("level 5 needs runs on 8 x H100, and this machine has"), "{text}");
    let report = std::fs::read(folder.path().join("run/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((&report["standing"]["beats"], &report["standing"]["is_record"]), (&true.into(), &false.into()));
    let comment = std::fs::read_to_string(folder.path().join("run/report.md")).unwrap();
    assert!(comment.contains("**Board**: not a record. against Bigrams"), "{comment}");
    // The same in a record folder, which passes.
    let (code, text, err) = handed_on("0.6");
    assert_eq!(code, Some(0), "{text}{err}");
    let readme = std::fs::read_to_string(folder.path().join("new/README.md")).unwrap();
    for words in [
        "standard deviation 0.0012",
        "two-sided p 1.0000",
        "* Against Bigrams (2026-03-20): record: mean 0.55270 bpb over 3 runs",
        "* Welch's one-sided test, margin 0: t ",
    ] {
        assert!(readme.contains(words), "{words}: {readme}");
    }
    let (code, audit) = crate::command::verify(&folder.path().join("new"));
    assert_eq!(code, Some(0), "{audit}");
    assert!(audit.contains("0 warnings, 0 failures"), "{audit}");
    // 0.0013 better: a margin of 0.0021 is asked for.
    let (_, text, _) = run("0.554");
    assert!(
        text.contains("no record, improvement too small") && text.contains("which these runs do not show"),
        "{text}"
    );
    let (code, _, err) = run("no number");
    assert!(code == Some(2) && err.contains("board.yaml"), "{err}");
}
