//! Real submissions: `GOLF_CORPUS_DIR` holds `pr-N/FOLDER`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use golf_harness::rules::BROKEN_CHECK;
use serde_json::Value;

use crate::support::golf;

mod needs_data {
    use super::*;

    fn corpus() -> PathBuf {
        std::env::var_os("GOLF_CORPUS_DIR").expect("GOLF_CORPUS_DIR is not set").into()
    }

    /// Pull request 286 of the challenge: what is wrong with it, and nothing else.
    #[test]
    #[ignore = "needs GOLF_CORPUS_DIR"]
    fn pr_286_gets_exactly_its_findings() {
        let corpus = corpus();
        let parent = corpus.join("pr-286");
        let folder = std::fs::read_dir(&parent).unwrap().next().unwrap().unwrap().path();
        let scratch = tempfile::tempdir().unwrap();
        let board = scratch.path().join("board.yaml");
        std::fs::write(
            &board,
            "schema: golf-harness/board/v1\ntrack: 10min_16mb\nas_of: '2026-03-20'\nrecords:\n  - {pr: 191, title: MLP x3, \
             date: '2026-03-20', val_bpb: 1.1598, source: best of three seeds}\n",
        )
        .unwrap();
        let output =
            golf("verify").args(["--format", "jsonl", "-v", "--against"]).arg(&board).arg(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        let mut found = BTreeMap::new();
        let mut budget = String::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let finding: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| finding[key].as_str().unwrap_or_default().to_string();
            match text("severity").as_str() {
                "pass" if text("rule") == "over_budget" => budget = text("message"),
                "pass" | "unknown" => {}
                _ => drop(found.insert(text("rule"), (text("severity"), text("message")))),
            }
        }
        assert_eq!(budget, "logged total 15,481,841 bytes, 518,159 bytes to spare");
        let expected = [
            ("claimed_bpb_not_in_readme", "note", "1.1628267"),
            ("fewer_than_3_seed_logs", "warning", "1 of 3 seeds logged: 1337"),
            ("not_a_record", "fail", "0.00303 worse than 1.15980"),
            ("readme_calls_numbers_placeholders", "warning", "a log holds final numbers"),
            (
                "readme_variables_reach_only_installer",
                "warning",
                "RUN_ID, DATA_PATH, TOKENIZER_PATH, VOCAB_SIZE, SEED reach only `pip`",
            ),
            ("single_seed", "warning", "one seed: 1337"),
            ("train_over_600s", "warning", "trained 601.991 s"),
        ];
        let rules: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(rules, expected.map(|(rule, _, _)| rule));
        for (rule, severity, words) in expected {
            let (found_severity, message) = &found[rule];
            assert!(found_severity == severity && message.contains(words), "{rule}: {found_severity}: {message}");
        }
    }

    /// Every folder of the corpus in one run: nothing breaks, and two runs say the same.
    #[test]
    #[ignore = "needs GOLF_CORPUS_DIR"]
    fn the_whole_corpus_is_checked_alike_twice() {
        let corpus = corpus();
        let run = || golf("verify").args(["--format", "jsonl", "-v"]).arg(&corpus).output().unwrap();
        let (first, second) = (run(), run());
        assert_eq!(first.status.code(), Some(1), "{}", String::from_utf8_lossy(&first.stderr));
        assert!(first.stdout == second.stdout, "two runs differ");
        let findings: Vec<Value> =
            first.stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert!(findings.len() > 1000, "{} findings", findings.len());
        for finding in findings {
            let message = finding["message"].as_str().unwrap();
            assert!(finding["broken"] != true && !message.contains(BROKEN_CHECK), "{finding}");
        }
    }
}
