//! Eight H100.

use super::Submission;

#[test]
fn one_run_on_eight_devices_is_enough() {
    let rule = "not_8_gpus";
    assert_eq!(Submission::logged("{}", &["x\nworld_size:1\n", "world_size:8\n"]).says(rule), ["pass"]);
    assert_eq!(
        Submission::logged("{}", &["x\nworld_size:1\n", "world_size:4\n"]).says(rule),
        ["fail: world size 1, 8 expected", "train0.log:2: world_size 1 (8)", "train1.log:1: world_size 4 (8)"]
    );
    assert_eq!(Submission::logged("{}", &["x\n"]).says(rule), ["unknown: no log gives the world size"]);
}

#[test]
fn every_device_named_is_an_h100() {
    let rule = "not_h100";
    let (h100, a100) = ("NVIDIA H100 80GB HBM3\n", "first\nNVIDIA A100 80GB PCIe\n");
    assert_eq!(Submission::logged("{}", &[h100]).says(rule), ["pass"]);
    assert_eq!(
        Submission::logged("{}", &[h100, a100]).says(rule),
        ["warning: ran on A100 80GB PCIe", "train1.log:2: A100 80GB PCIe (H100)"]
    );
    assert_eq!(Submission::logged("{}", &["x\n"]).says(rule), ["unknown: no log names the devices"]);
}

#[test]
fn hardware_in_words() {
    let rule = "not_8xh100_by_claim";
    let says = |key: &str, text: &str| Submission::logged(&format!("{{\n\"{key}\": \"{text}\"}}"), &[]).says(rule);
    for text in
        ["8xH100 SXM", "8 x h100", "8×H100", "H100x8", "8 NVIDIA H100", "H100 SXM 80GB", "2x8xH100", "8xH100 1234xy"]
    {
        assert_eq!(says("hardware", text), [format!("pass: {text}")], "{text}");
    }
    for (key, text) in [("hardware", "1xH100 SXM 80GB"), ("gpu", "8xA100"), ("gpus", "H100x80"), ("gpu", "18xH100")] {
        assert_eq!(
            says(key, text),
            [format!("warning: claimed on {text}"), format!("submission.json:2: {text} (8xH100)")],
            "{text}"
        );
    }
    assert_eq!(says("hardware", "a cluster"), ["unknown: the hardware named is no machine"]);
    assert_eq!(says("name", "8xH100"), ["unknown: submission.json names no hardware"]);
    assert_eq!(Submission::of(&[]).says(rule), ["not applicable"]);
}
