//! `verify MANIFEST`: sizes, digests, claims.

use std::path::Path;

use crate::support::golf;

/// What PR #286 claims, from its submission.json and its log.
const PR_286: &str = r#"schema: golf-harness/manifest/v1
name: pr-286
claim:
  title: 10L Int5-MLP + SmearGate + BigramHash + Late QAT
  source: openai/parameter-golf#286
  track: 10min_16mb
  metrics: {val_loss: "1.96338430", val_bpb: "1.16282670", val_tokens: "62021845", total_bytes: "15481841",
            model_bytes: "15425120", code_bytes: "56721", parameters: "24730705", train_seconds: "601.991",
            eval_seconds: "170.665"}
  seeds: [1337]
  hardware: {devices: 8, kind: H100 SXM}
"#;

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Runs `verify` in `folder`; exit code and stdout followed by stderr.
fn verify(folder: &Path, args: &[&str]) -> (i32, String) {
    let output = golf("verify").current_dir(folder).args(args).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

#[test]
fn pr_286_fits_with_518_159_bytes_to_spare_and_is_one_of_three_seeds() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "pr-286.yaml", PR_286);
    let (code, text) = verify(folder.path(), &["pr-286.yaml", "-v"]);
    assert_eq!(code, 0, "{text}");
    for words in
        ["518,159 bytes to spare", "601.991 s against a cap of 600 s, 1.991 s over", "1 of 3 seeds: 1337", "24,730,705"]
    {
        assert!(text.contains(words), "`{words}` is missing from\n{text}");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_claim_that_implies_another_text_fails() {
    let folder = tempfile::tempdir().unwrap();
    // #1184's kind of mistake: 4 % more bytes than the text has.
    write(folder.path(), "m.yaml", PR_286.replace("1.16282670", "1.11700000"));
    let (code, text) = verify(folder.path(), &["m.yaml"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("claimed_bytes_implied_wrong"), "{text}");
}

#[test]
fn one_byte_over_the_decimal_cap_fails_and_the_cap_itself_passes() {
    for (model, expected) in [(15_943_279, 0), (15_943_280, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let total = model + 56_721;
        let text = PR_286.replace("15425120", &model.to_string()).replace("15481841", &total.to_string());
        write(folder.path(), "m.yaml", text);
        let (code, text) = verify(folder.path(), &["m.yaml"]);
        assert_eq!(code, expected, "{total}: {text}");
    }
}

/// A manifest naming one code file, with its true size and digest.
fn with_code(folder: &Path, code: &str) -> String {
    let digest = golf_harness::digest::ContentDigest::of(code.as_bytes());
    write(folder, "train_gpt.py", code);
    format!(
        "schema: golf-harness/manifest/v1\nname: small\ncode:\n- {{path: train_gpt.py, bytes: {}, sha256: {}}}\n",
        code.len(),
        digest.sha256
    )
}

#[test]
fn an_edited_file_a_missing_file_and_an_extra_file_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = with_code(folder.path(), "print('hello')\n");
    write(folder.path(), "m.yaml", &manifest);
    assert_eq!(verify(folder.path(), &["m.yaml"]).0, 0);

    write(folder.path(), "helper.py", "x = 1\n");
    let (code, text) = verify(folder.path(), &["m.yaml"]);
    assert!(code == 0 && text.contains("file_unaccounted") && text.contains("helper.py"), "{text}");
    assert_eq!(verify(folder.path(), &["m.yaml", "--fail-on", "warning"]).0, 1);

    write(folder.path(), "train_gpt.py", "print('hellO')\n");
    let (code, text) = verify(folder.path(), &["m.yaml"]);
    assert!(code == 1 && text.contains("digest_mismatch") && !text.contains("size_mismatch"), "{text}");

    write(folder.path(), "train_gpt.py", "print('hello, world')\n");
    let (code, text) = verify(folder.path(), &["m.yaml"]);
    assert!(code == 1 && text.contains("size_mismatch"), "{text}");

    std::fs::remove_file(folder.path().join("train_gpt.py")).unwrap();
    let (code, text) = verify(folder.path(), &["m.yaml"]);
    assert!(code == 1 && text.contains("file_missing"), "{text}");
}

#[test]
fn code_may_be_elsewhere_only_where_nothing_is_handed_in() {
    let folder = tempfile::tempdir().unwrap();
    let told =
        format!("{PR_286}code:\n- {{path: pr/train_gpt.py, bytes: 56721, url: 'https://example.com/train_gpt.py'}}\n");
    let told = told.replace("bytes: 56721,", &format!("bytes: 56721, sha256: {},", "0".repeat(64)));
    write(folder.path(), "told.yaml", &told);
    write(folder.path(), "other.yaml", PR_286);
    let (code, text) = verify(folder.path(), &["told.yaml"]);
    assert!(code == 0 && text.contains("get it from https://example.com/train_gpt.py"), "{text}");
    assert!(text.contains("level 1 of 5: documented") && !text.contains("file_unaccounted"), "{text}");

    // Without a place to get it from, with a name that runs and submissions have, beside a submission.json, with the
    // results of a run: what is missing is a failure.
    let fails = |name: &str, text: &str| {
        write(folder.path(), name, text);
        let (code, text) = verify(folder.path(), &[name]);
        assert!(code == 1 && text.contains("file_missing") && !text.contains("code_elsewhere"), "{name}: {text}");
    };
    fails("bare.yaml", &told.replace(", url: 'https://example.com/train_gpt.py'", ""));
    fails("manifest.yaml", &told);
    let score = "{val_loss: 1.0, val_bpb: 1.0, tokens: 1, bytes: 1, windows: 1, engine: cpu}";
    fails("run.yaml", &format!("{told}results: {{scores: {{packed/sliding: {score}}}}}\n"));
    write(folder.path(), "submission.json", "{}");
    fails("told.yaml", &told);
    std::fs::remove_file(folder.path().join("submission.json")).unwrap();

    // Once it is there, it is held to what is stated.
    std::fs::create_dir(folder.path().join("pr")).unwrap();
    write(folder.path(), "pr/train_gpt.py", "#".repeat(56_721));
    let (code, text) = verify(folder.path(), &["told.yaml"]);
    assert!(code == 1 && text.contains("digest_mismatch"), "{text}");
}

#[test]
fn a_recipe_that_this_program_runs_counts_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = "schema: golf-harness/manifest/v1\nname: small\n";
    write(folder.path(), "m.yaml", recipe);
    assert!(verify(folder.path(), &["m.yaml"]).1.contains("manifest_without_code"));

    write(folder.path(), "m.yaml", format!("{recipe}program: {{ name: golf-harness }}\n"));
    let (code, text) = verify(folder.path(), &["m.yaml", "-v"]);
    assert!(code == 0 && text.contains("the code is golf-harness"), "{text}");
    assert!(text.contains("0 warnings"), "{text}");

    // Whatever another build states of itself counts, as a claim.
    let other = "program: { name: golf-harness, source: { version: 9.9.9, digest: 00ff, bytes: 15999999 } }\n";
    let claimed = "claim: { metrics: { model_bytes: 2 } }\n";
    write(folder.path(), "m.yaml", format!("{recipe}{other}{claimed}"));
    let (code, text) = verify(folder.path(), &["m.yaml"]);
    assert!(code == 1 && text.contains("code 15,999,999 + model 2 = 16,000,001 bytes (as claimed)"), "{text}");

    write(folder.path(), "m.yaml", format!("{recipe}program: {{ name: train_gpt.py }}\n"));
    assert_eq!(verify(folder.path(), &["m.yaml"]).0, 2);
}

#[test]
fn a_path_out_of_the_folder_is_refused_unopened() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = with_code(folder.path(), "x = 1\n").replace("path: train_gpt.py", "path: ../train_gpt.py");
    write(folder.path(), "m.yaml", manifest);
    let (code, text) = verify(folder.path(), &["m.yaml"]);
    assert!(code == 1 && text.contains("path_outside_folder"), "{text}");
}

#[test]
fn what_is_no_manifest_ends_with_2_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "typo.yaml", PR_286.replace("metrics:", "metrix:"));
    write(folder.path(), "empty.yaml", "");
    let (code, text) = verify(folder.path(), &["typo.yaml"]);
    assert!(code == 2 && text.contains("did you mean `metrics`?"), "{text}");
    assert_eq!(verify(folder.path(), &["empty.yaml"]).0, 2);
    assert_eq!(verify(folder.path(), &["nowhere.yaml"]).0, 2);
    assert_eq!(verify(folder.path(), &[]).0, 2);
}
