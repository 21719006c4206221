//! submission.json as a document.

use super::Submission;

fn json(text: &str) -> Submission {
    Submission::of(&[("submission.json", text)])
}

/// All required fields, and one more.
fn with(field: &str) -> Submission {
    json(&format!("{{\"val_bpb\": 1.1, \"name\": \"n\", \"author\": \"a\", \"github_id\": \"g\",\n{field}}}"))
}

#[test]
fn without_the_file_nothing_is_said_about_it() {
    for rule in [
        "json_unparseable",
        "json_has_bom",
        "json_has_nan",
        "json_missing_required",
        "json_missing_recommended",
        "val_bpb_not_number",
        "numeric_field_is_string",
        "json_placeholder_text",
        "date_not_iso",
    ] {
        assert_eq!(Submission::of(&[]).says(rule), ["not applicable"], "{rule}");
    }
    // What cannot be read has no fields, and that is said once.
    for rule in [
        "json_missing_required",
        "json_missing_recommended",
        "val_bpb_not_number",
        "numeric_field_is_string",
        "json_placeholder_text",
        "date_not_iso",
    ] {
        assert_eq!(json("{").says(rule), ["not applicable"], "{rule}");
    }
}

#[test]
fn what_strict_readers_refuse_is_named_with_its_line() {
    let rule = "json_unparseable";
    assert_eq!(json("{}").says(rule), ["pass"]);
    assert_eq!(
        json("{\n\"a\": 1\n\"b\": 2}").says(rule),
        ["fail: submission.json line 3: expected `,` or `}`", "submission.json:3: expected `,` or `}`"]
    );
    let marked = json("\u{feff}{}");
    assert_eq!(
        marked.says(rule),
        [
            "fail: submission.json is utf-8-bom; strict readers refuse it (read here all the same)",
            "submission.json:1: utf-8-bom (utf-8)"
        ]
    );
    assert_eq!(
        marked.says("json_has_bom"),
        ["warning: it starts with a byte-order mark", "submission.json:1: utf-8-bom (utf-8)"]
    );
    assert_eq!(json("{}").says("json_has_bom"), ["pass"]);
    assert_eq!(
        json("{\"val_loss\": NaN}").says("json_has_nan"),
        ["warning: NaN or Infinity was read as null", "submission.json"]
    );
    assert_eq!(json("{\"val_loss\": null}").says("json_has_nan"), ["pass"]);
}

#[test]
fn bytes_that_are_no_utf_8_are_no_byte_order_mark() {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::write(temporary.path().join("submission.json"), b"{\"name\": \"\xff\"}").unwrap();
    let folder = Submission { folder: crate::submission::RecordFolder::read(temporary.path()), ..json("{}") };
    assert_eq!(folder.says("json_has_bom"), ["pass"]);
    assert!(folder.violates("json_unparseable"));
}

#[test]
fn required_fields_and_recommended_ones() {
    // Fields, what of them is required and absent, what is only recommended.
    for (fields, required, recommended) in [
        ("\"val_bpb\": 1, \"name\": \"n\", \"author\": \"a\", \"github_id\": \"g\"", "", ""),
        ("\"val_bpb\": 1, \"name\": \"n\", \"author\": \"a\"", "", "github_id"),
        ("\"val_bpb\": 1, \"name\": \"n\", \"github_id\": \"g\"", "", "author"),
        ("\"val_bpb\": 1, \"name\": \"n\"", "author, github_id", ""),
        ("\"name\": \"n\", \"author\": \"a\", \"github_id\": \"g\"", "val_bpb", ""),
        ("\"val_bpb\": 1, \"author\": \"a\", \"github_id\": \"g\"", "name", ""),
        // Of another type is another rule's business; null and empty text are absent, but for val_bpb.
        ("\"val_bpb\": null, \"name\": \"n\", \"author\": \"a\", \"github_id\": \"g\"", "", ""),
        ("\"val_bpb\": \" \", \"name\": \"n\", \"author\": \"a\", \"github_id\": \"g\"", "", ""),
        ("\"val_bpb\": 1, \"name\": null, \"author\": \"a\", \"github_id\": \"g\"", "name", ""),
        ("\"val_bpb\": 1, \"name\": \" \", \"author\": \"a\", \"github_id\": \"g\"", "name", ""),
        ("\"val_bpb\": 1, \"name\": 7, \"author\": \"a\", \"github_id\": \"g\"", "", ""),
    ] {
        let folder = json(&format!("{{{fields}}}"));
        let expected = |severity: &str, absent: &str| match absent {
            "" => vec!["pass".to_string()],
            _ => vec![format!("{severity}: missing: {absent}"), format!("submission.json ({absent})")],
        };
        let severity = if required == "val_bpb" { "fail" } else { "warning" };
        assert_eq!(folder.says("json_missing_required"), expected(severity, required), "{fields}");
        assert_eq!(folder.says("json_missing_recommended"), expected("note", recommended), "{fields}");
    }
    assert_eq!(
        json("{\"mean_val_bpb\": 1.1, \"name\": \"n\", \"author\": \"a\", \"github_id\": \"g\"}")
            .says("json_missing_required"),
        ["warning: missing: val_bpb; the number stands under mean_val_bpb", "submission.json (val_bpb)"]
    );
    assert_eq!(
        json("{\"val_bpb\": 1.1}").says("json_missing_required")[0],
        "warning: missing: name, author, github_id"
    );
    let nested = json("{\"metrics\": {\"ttt_bpb\": 1.1}, \"name\": \"n\", \"author\": \"a\", \"github_id\": \"g\"}");
    let expected = "warning: missing: val_bpb; the number stands under metrics.ttt_bpb";
    assert_eq!(nested.says("json_missing_required")[0], expected);
}

#[test]
fn a_score_that_is_no_number() {
    let rule = "val_bpb_not_number";
    assert_eq!(json("{\"val_bpb\": 1.1}").says(rule), ["pass"]);
    assert_eq!(json("{}").says(rule), ["not applicable"]);
    for (value, kind) in
        [("\"TBD\"", "text"), ("null", "null"), ("[1]", "a list"), ("{}", "an object"), ("true", "true or false")]
    {
        assert_eq!(
            json(&format!("{{\n\n\"val_bpb\": {value}}}")).says(rule),
            [format!("fail: val_bpb is {kind}"), format!("submission.json:3: {value} (a number)")]
        );
    }
}

#[test]
fn numbers_written_as_text() {
    let rule = "numeric_field_is_string";
    assert_eq!(with("\"bytes_total\": 5").says(rule), ["pass"]);
    assert_eq!(
        with("\"bytes_total\": \"5\",\n\"bytes_code\": \"6\", \"bytes_model\": \"7\",\n\"val_loss\": \"x\", \"note\": \"8\"").says(rule),
        [
            "warning: 4 number(s) written as text",
            "submission.json:2: bytes_total: \"5\"",
            "submission.json:3: bytes_code: \"6\"",
            "submission.json:3: bytes_model: \"7\"",
            "submission.json:4: val_loss: \"x\""
        ]
    );
}

#[test]
fn placeholders_are_words_of_their_own() {
    let rule = "json_placeholder_text";
    for text in ["placeholder", "Pending-compute", "tbd", "TODO: fill in", "fixme", "xxx"] {
        assert_eq!(
            with(&format!("\"status\": {{\"deep\": [\"{text}\"]}}")).says(rule),
            ["warning: it holds placeholder text".to_string(), format!("submission.json:2: status: {text}")]
        );
    }
    for text in ["depending", "2026-03-XX", "method", "xxxx"] {
        assert_eq!(with(&format!("\"status\": \"{text}\"")).says(rule), ["pass"], "{text}");
    }
}

#[test]
fn dates_are_days_of_the_calendar() {
    let rule = "date_not_iso";
    for date in ["2026-04-02", "2026-04-02T10:00:00Z"] {
        assert_eq!(with(&format!("\"date\": \"{date}\"")).says(rule), ["pass"], "{date}");
    }
    for date in ["\"2026-03-XX\"", "\"2026-4-2\"", "\"\"", "20260402", "null"] {
        assert_eq!(
            with(&format!("\"date\": {date}")).says(rule),
            [format!("note: date is {date}"), format!("submission.json:2: {date} (YYYY-MM-DD)")]
        );
    }
    assert_eq!(with("\"x\": 1").says(rule), ["unknown: no date is given"]);
}

#[test]
fn fields_that_stand_twice_are_named() {
    let rule = "json_duplicate_key";
    assert_eq!(
        json("{\n\"val_bpb\": 1.1,\n\"val_bpb\": 1.0}").says(rule),
        [
            "fail: twice in one object: val_bpb (1.1 and 1.0); readers differ in which they take",
            "submission.json:2: val_bpb"
        ]
    );
    assert_eq!(
        json("{\"seeds\": [1, 2],\n\"name\": \"a\", \"name\": \"b\", \"seeds\": [1, 3]}").says(rule),
        [
            "fail: twice in one object: seeds (a list and a list); readers differ in which they take",
            "submission.json:1: seeds",
            "warning: twice in one object: name; readers differ in which they take",
            "submission.json:2: name"
        ]
    );
    // The same number twice, or numbers that claim nothing.
    assert_eq!(
        json("{\"val_bpb\": 1.10, \"val_bpb\": 1.1}").says(rule)[0],
        "warning: twice in one object: val_bpb; readers differ in which they take"
    );
    assert_eq!(
        json("{\"num_layers\": 9, \"num_layers\": 11}").says(rule)[0],
        "warning: twice in one object: num_layers; readers differ in which they take"
    );
    assert_eq!(json("{\"a\": {\"val_bpb\": 1.1}, \"val_bpb\": 1.0}").says(rule), ["pass"]);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn forms_that_were_not_filled_in_are_no_numbers_written_as_text() {
    let form = json("{\n\"bytes_total\": \"<fill after runs>\"}");
    let expected = ["warning: it holds placeholder text", "submission.json:2: bytes_total: <fill after runs>"];
    assert_eq!(form.says("json_placeholder_text"), expected);
    assert_eq!(form.says("numeric_field_is_string"), ["pass"]);
    let list = json("[{\"val_bpb\": 1.1}]").says("json_unparseable");
    assert!(list[0].contains("a list of one object: take the brackets away"), "{list:?}");
}
