//! Claims of many digits that are nearly the mean of their logs.

use super::Submission;

const RULE: &str = "claim_digits_not_from_logs";

fn says(claim: &str, values: &[&str]) -> Vec<String> {
    let run = |(seed, value): (usize, &&str)| format!("seed:{seed}\nfinal_int6_exact val_bpb:{value}\n");
    let logs: Vec<String> = values.iter().enumerate().map(run).collect();
    let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
    Submission::logged(&format!("{{\n\"val_bpb\": \"{claim}\"}}"), &logs).says(RULE)
}

#[test]
fn six_decimals_are_not_typed_by_hand() {
    let values = ["1.16320112", "1.16280344", "1.16291874"];
    // Their mean is 1.16297443.
    assert_eq!(
        says("1.16257443", &values),
        [
            "warning: 1.16257443 claimed; the mean of 3 runs is 1.16297443: the claim is 0.00040000 better",
            "submission.json:2: val_bpb: 1.16257443 (1.16297443)",
            "train0.log:2: final_int6_exact: 1.16320112",
            "train1.log:2: final_int6_exact: 1.16280344",
            "train2.log:2: final_int6_exact: 1.16291874",
        ]
    );
    assert_eq!(says("1.16337443", &values)[0][..4], *"note");
    // The mean itself, of values rounded to four and five decimals, or cut off; a run; fewer digits; too far for this rule.
    for honest in ["1.16297443", "1.162974", "1.16296667", "1.162967", "1.162970", "1.16280344", "1.1626", "1.16200000"]
    {
        assert_eq!(says(honest, &values), ["pass"], "{honest}");
    }
    let unknown = ["unknown: no carrying log ends with a value of six decimals"];
    assert_eq!(says("1.16257443", &["1.1632", "1.1628"]), unknown);
    // The last line of fewer digits is no way around.
    let twice = "seed:1\nfinal_int6 val_bpb:1.1632\nfinal_int6_exact val_bpb:1.16320112\n";
    let folder = Submission::logged("{\"val_bpb\": 1.16310112}", &[twice]);
    assert_eq!(
        folder.says(RULE)[0],
        "warning: 1.16310112 claimed; its log ends with 1.16320112: the claim is 0.00010000 better"
    );
}
