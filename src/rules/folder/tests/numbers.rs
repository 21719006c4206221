//! Claimed numbers by themselves.

use std::f64::consts::LN_2;

use super::Submission;

fn json(fields: &str) -> Submission {
    Submission::of(&[("submission.json", &format!("{{\n{fields}\n}}"))])
}

#[test]
fn possible_and_suspicious_scores() {
    let impossible =
        |bpb: &str| vec![format!("fail: {bpb} bits per byte"), format!("submission.json:2: val_bpb: {bpb} (0 to 15)")];
    for (bpb, plausible, suspicious) in [
        ("-0.5", false, false),
        ("0.0", false, false),
        ("0.0001", true, true),
        ("0.9499", true, true),
        ("0.95", true, false),
        ("15.0", true, false),
        ("15.01", false, false),
    ] {
        let folder = json(&format!("\"val_bpb\": {bpb}"));
        let expected = if plausible { vec!["pass".to_string()] } else { impossible(bpb) };
        assert_eq!(folder.says("val_bpb_implausible"), expected, "{bpb}");
        let expected = if suspicious {
            vec![format!("review: {bpb} is below 0.95"), format!("submission.json:2: val_bpb: {bpb}")]
        } else {
            vec!["pass".to_string()]
        };
        assert_eq!(folder.says("val_bpb_suspiciously_low"), expected, "{bpb}");
    }
    for rule in ["val_bpb_implausible", "val_bpb_suspiciously_low", "folder_name_bpb_differs"] {
        assert_eq!(json("\"name\": 1").says(rule), ["unknown: no bits per byte are claimed"]);
    }
}

#[test]
fn bits_per_byte_under_the_name_of_the_loss() {
    let rule = "bpb_stored_in_val_loss";
    let expected = |loss: &str| {
        [
            format!("warning: val_loss is {loss}, a value of bits per byte, and there is no val_bpb"),
            format!("submission.json:2: val_loss: {loss}"),
        ]
    };
    for loss in ["0.9", "1.116", "1.4499"] {
        assert_eq!(json(&format!("\"val_loss\": {loss}")).says(rule), expected(loss));
    }
    for loss in ["0.8999", "1.45"] {
        assert_eq!(json(&format!("\"val_loss\": {loss}")).says(rule), ["pass"], "{loss}");
    }
    assert_eq!(json("\"val_loss\": 1.116, \"val_bpb\": 1.1").says(rule), ["pass"]);
    assert_eq!(json("\"val_bpb\": 1.1").says(rule), ["not applicable"]);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn loss_and_score_alike() {
    let rule = "val_loss_equals_val_bpb";
    assert_eq!(
        json("\"val_loss\": 1.2, \"val_bpb\": 1.2").says(rule),
        ["warning: both are 1.2", "submission.json:2: val_loss 1.2, val_bpb 1.2"]
    );
    assert_eq!(
        json("\"val_loss_nats\": 1.2, \"val_bpb\": 1.2").says(rule),
        ["warning: both are 1.2", "submission.json:1: val_loss 1.2, val_bpb 1.2"]
    );
    assert_eq!(json("\"val_loss\": 1.2, \"val_bpb\": 1.3").says(rule), ["pass"]);
    assert_eq!(json("\"val_loss\": 0.0, \"val_bpb\": 0.0").says(rule), ["pass"]);
    assert_eq!(json("\"val_loss\": 1.2").says(rule), ["not applicable"]);
}

/// Loss and score that make this many bytes a token, with ten decimals; as text, because JSON drops zeros at the end.
fn of_ratio(ratio: f64) -> String {
    format!("\"val_loss\": \"{:.10}\", \"val_bpb\": \"1.0000000000\"", ratio * LN_2)
}

#[test]
fn loss_over_score_is_bytes_per_token() {
    let rule = "val_loss_val_bpb_inconsistent";
    let sp1024 = |fields: &str| json(&format!("{fields}, \"tokenizer\": \"sp1024\"")).says(rule);
    // One percent is allowed, either way. Whether it is that tokenizer's ratio by right only a log could tell.
    let fits = ["unknown: no log tells the bytes per token; the claim fits a known tokenizer"];
    for factor in [1.0, 0.9901, 1.0099] {
        assert_eq!(sp1024(&of_ratio(2.436 * factor)), fits, "{factor}");
    }
    assert!(sp1024(&of_ratio(2.436 * 1.0101))[0].starts_with("fail: "));
    assert!(sp1024(&of_ratio(2.436 * 0.9899))[0].starts_with("fail: "));
    // The example of the rule: 1.9379 / (ln 2 x 0.9393) = 2.9765.
    assert_eq!(
        sp1024("\"val_loss\": 1.9379, \"val_bpb\": 0.9393"),
        [
            "fail: loss and bits per byte give 2.9765 bytes per token, 2.4359 expected",
            "submission.json:2: val_loss 1.9379, val_bpb 0.9393 (2.4359 bytes per token)"
        ]
    );
    for known in [3.3197, 3.7266, 3.1574] {
        let said = sp1024(&of_ratio(known));
        assert_eq!(said, ["unknown: no log tells the bytes per token; the claim fits a known tokenizer"], "{known}");
    }
    for results in [
        "\"val_loss\": 0.0, \"val_bpb\": 1.0",
        "\"val_loss\": 2.0, \"val_bpb\": 0.0",
        "\"val_loss\": 2, \"val_bpb\": 2",
    ] {
        assert_eq!(sp1024(results), ["unknown: val_loss and val_bpb are not both results"], "{results}");
    }
    assert_eq!(sp1024("\"val_loss\": 2.0"), ["unknown: val_loss and val_bpb are not both claimed"]);
    assert_eq!(
        json(&of_ratio(2.436)).says(rule),
        ["unknown: neither the logs nor a known tokenizer tell the bytes per token"]
    );
}

#[test]
fn what_a_log_tells_of_bytes_per_token_goes_first() {
    let rule = "val_loss_val_bpb_inconsistent";
    // The log has 3 bytes a token: 3 ln 2 = 2.0794415417.
    let log = "final_int6 val_loss:2.0794415417 val_bpb:1.0000000000\n";
    let folder = |ratio: f64, extra: &str| Submission::logged(&format!("{{{}{extra}}}", of_ratio(ratio)), &[log]);
    assert_eq!(folder(3.0, "").says(rule), ["pass: 3.0000 bytes per token"]);
    assert!(!folder(3.0 * 1.0099, "").violates(rule) && !folder(3.0 * 0.9901, "").violates(rule));
    assert!(folder(3.0 * 1.0101, "").violates(rule) && folder(3.0 * 0.9899, "").violates(rule));
    assert_eq!(
        folder(3.3197, "").says(rule)[0],
        "fail: loss and bits per byte give 3.3197 bytes per token, 3.0000 expected"
    );
    // Right for the tokenizer that is named, whatever the log says.
    assert_eq!(folder(2.436, ", \"tokenizer\": \"sp1024\"").says(rule), ["pass: 2.4360 bytes per token"]);
    assert!(folder(2.5, ", \"tokenizer\": \"sp1024\"").violates(rule));
}

/// Half a unit in the last place of either number widens the one percent. The log has 3 bytes a token.
#[test]
fn rounding_of_loss_and_score_is_allowed_for() {
    let log = "final_int6 val_loss:2.0794415417 val_bpb:1.0000000000\n";
    let violates = |loss: &str, bpb: &str| {
        let json = format!("{{\"val_loss\": \"{loss}\", \"val_bpb\": \"{bpb}\"}}");
        Submission::logged(&json, &[log]).violates("val_loss_val_bpb_inconsistent")
    };
    // 2.1 / (0.99 ln 2) is 2.01 % off; half a unit of 2.1 is 2.38 %.
    assert!(!violates("2.1", "0.9900000000") && violates("2.1000000000", "0.9900000000"));
    // 2.08 / (0.99 ln 2) is 1.04 % off; half a unit of 0.99 is 0.505 %.
    assert!(!violates("2.0800000000", "0.99") && violates("2.0800000000", "0.9900000000"));
    // Half a unit of 2.00 is 0.25 %: 6.072 ln 2 over 2 is 1.2 % off, 6.084 ln 2 over 2 is 1.4 % off.
    assert!(!violates("4.2087896804", "2.00") && violates("4.2171074465", "2.00"));
    // Together 3.89 %: 2.1 / (0.98 ln 2) is 3.05 % off, 2.1 / (0.97 ln 2) is 4.11 % off.
    assert!(!violates("2.1", "0.98") && violates("2.1", "0.97"));
}

#[test]
fn a_total_in_megabytes_is_no_number_of_bytes() {
    let rule = "bytes_total_not_in_bytes";
    for total in ["15.4", "9999", "0.1"] {
        let expected =
            [format!("warning: bytes_total is {total}"), format!("submission.json:2: bytes_total: {total} (bytes)")];
        assert_eq!(json(&format!("\"bytes_total\": {total}")).says(rule), expected);
    }
    for total in ["0", "-15.4", "10000"] {
        assert_eq!(json(&format!("\"bytes_total\": {total}")).says(rule), ["pass"], "{total}");
    }
    assert_eq!(json("\"name\": 1").says(rule), ["unknown: no total is claimed"]);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn total_is_code_plus_model() {
    let rule = "bytes_sum_inconsistent";
    let sum = |total: i64, code: i64, models: &str| {
        json(&format!("\"bytes_total\": {total},\n\"bytes_code\": {code},\n{models}")).says(rule)
    };
    // The example: 19,450,409 - 47,686 - 19,374,552 = 28,171.
    assert_eq!(
        sum(19_450_409, 47_686, "\"bytes_model\": 19374552"),
        [
            "fail: 19450409 - 47686 - 19374552 = 28,171",
            "submission.json:2: bytes_total: 19450409",
            "submission.json:3: bytes_code: 47686",
            "submission.json:4: bytes_model: 19374552"
        ]
    );
    // A kibibyte either way is packing.
    assert_eq!(sum(1_101_024, 100_000, "\"bytes_model\": 1000000"), ["pass"]);
    assert_eq!(sum(1_098_976, 100_000, "\"bytes_model\": 1000000"), ["pass"]);
    assert_eq!(sum(1_101_025, 100_000, "\"bytes_model\": 1000000")[0], "fail: 1101025 - 100000 - 1000000 = 1,025");
    assert_eq!(sum(1_098_975, 100_000, "\"bytes_model\": 1000000")[0], "fail: 1098975 - 100000 - 1000000 = -1,025");
    // Any of several models may be the right one, and a model may hold the code already.
    assert_eq!(sum(1_100_000, 100_000, "\"bytes_model\": 5, \"bytes_model_int6\": 1000000"), ["pass"]);
    assert_eq!(sum(1_100_000, 100_000, "\"bytes_model\": 5, \"bytes_model_int6\": 1100000"), ["pass"]);
    let missing = ["unknown: total, model and code are not all claimed"];
    assert_eq!(sum(1_100_000, 0, "\"bytes_model\": 1000000"), missing);
    assert_eq!(sum(0, 100_000, "\"bytes_model\": 1000000"), missing);
    assert_eq!(sum(1_100_000, 100_000, "\"bytes_model\": 0"), missing);
    assert_eq!(sum(1_100_000, 100_000, "\"other\": 0"), missing);
    assert_eq!(json("\"bytes_total\": 1, \"bytes_model\": 1").says(rule), missing);
    assert_eq!(json("\"bytes_code\": 1, \"bytes_model\": 1").says(rule), missing);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}

#[test]
fn the_folders_name_carries_the_score() {
    let says = |name: &str, bpb: &str| {
        let text = format!("{{\"val_bpb\": {bpb}}}");
        Submission::at(&format!("records/track_10min_16mb/{name}"), &[("submission.json", &text)])
            .says("folder_name_bpb_differs")
    };
    assert_eq!(
        says("2026-03-28_Muon_1.1179", "0.1179"),
        ["note: the folder is called 1.1179, 0.1179 is claimed", "submission.json:1: val_bpb: 0.1179 (1.1179)"]
    );
    // One unit in the name's last place is rounding.
    for (name, bpb, fits) in [
        ("a_1.1179", "1.1179", true),
        ("a_1.1179", "1.1180", true),
        ("a_1.1179", "1.1178", true),
        ("a_1.1179", "1.11801", false),
        ("a_1.1179", "1.11779", false),
        ("a_1.117", "1.118", true),
        ("a_1.117", "1.1181", false),
        ("a_0.11790000", "0.11790001", true),
        ("a_0.11790000", "0.11790003", false),
    ] {
        assert_eq!(says(name, bpb) == ["pass"], fits, "{name} {bpb}");
    }
    // The last score of several; no version, no date, no two decimals, no nine.
    assert_eq!(says("from_1.2000_to_1.1179", "1.1179"), ["pass"]);
    for name in ["2026-03-28_v2.1179", "a_1.11", "a_1.117900000", "plain", "1.2.3"] {
        assert_eq!(says(name, "1.5"), ["not applicable"], "{name}");
    }
}

#[test]
fn the_claimed_loss_stands_in_a_log() {
    let rule = "claimed_val_loss_differs_from_log";
    let log = "step:1 val_loss:3.5000 val_bpb:2.0\nfinal val_loss:1.9500 val_bpb:1.15\n";
    let other = "x\nfinal val_loss:1.9600 val_bpb:1.16\n";
    let says =
        |loss: &str, logs: &[&str]| Submission::logged(&format!("{{\n\"val_loss\": \"{loss}\"}}"), logs).says(rule);
    for loss in ["1.9500", "3.5", "1.95009", "1.94991", "1.9501", "1.9"] {
        assert_eq!(says(loss, &[log]), ["pass"], "{loss}");
    }
    for loss in ["1.95011", "1.94989", "1.7"] {
        let expected = [format!("note: {loss} is no loss of any log"), format!("submission.json:2: val_loss: {loss}")];
        assert_eq!(says(loss, &[log]), expected);
    }
    // The mean of what the runs end with, (1.95 + 1.96) / 2; or bits per byte under the wrong name.
    assert_eq!(says("1.95500", &[log, other]), ["pass"]);
    assert_eq!(says("1.15000", &[log]), ["pass"]);
    let several = |seeds: &str| {
        Submission::logged(&format!("{{\"val_loss\": 1.7, \"seed_results\": {seeds}}}"), &[log]).says(rule)
    };
    assert_eq!(several("{\"1\": \"1.1\", \"2\": \"1.2\"}"), ["pass"]);
    assert_eq!(several("{\"1\": \"1.1\"}").len(), 2);
    for nothing in ["0.0", "-1.0", "x"] {
        assert_eq!(says(nothing, &[log]), ["unknown: no val_loss is claimed"], "{nothing}");
    }
    assert_eq!(says("1.95", &["final val_bpb:1.1\n"]), ["unknown: no log gives a loss"]);
}
