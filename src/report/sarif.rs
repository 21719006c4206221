//! SARIF 2.1.0 (OASIS), which code-scanning services read.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{Audit, Evidence, Finding, Report, Reporter, RuleId, RuleLookup, Severity, Status, location};
use crate::digest::ContentDigest;
use crate::escape::sarif::{message, uri};

/// The schema named in every log.
pub const SARIF_SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// One run, all rules that spoke described, one result a finding; passes are left out.
#[derive(Clone, Copy, Debug)]
pub struct Sarif {
    /// What is known about the rules.
    pub rules: RuleLookup,
}

impl Reporter for Sarif {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        let findings = || audit.reports.iter().flat_map(|report| report.findings.iter().map(move |f| (report, f)));
        let shown = || findings().filter(|(_, finding)| finding.severity > Severity::Pass);
        let ids: BTreeMap<RuleId, usize> = {
            let ids: std::collections::BTreeSet<RuleId> = shown().map(|(_, finding)| finding.rule).collect();
            ids.into_iter().enumerate().map(|(index, id)| (id, index)).collect()
        };
        let rules: Vec<Value> = ids.keys().map(|id| self.rule(*id)).collect();
        let results: Vec<Value> = shown().map(|(report, finding)| result(report, finding, &ids)).collect();
        let complete = audit.status == Status::Complete;
        let log = json!({
            "$schema": SARIF_SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "golf-harness",
                    "semanticVersion": audit.harness,
                    "rules": rules,
                } },
                "invocations": [{ "executionSuccessful": complete }],
                "columnKind": "unicodeCodePoints",
                "properties": { "auditStatus": audit.status },
                "results": results,
            }],
        });
        serde_json::to_writer_pretty(&mut *out, &log)?;
        out.write_all(b"\n")
    }
}

impl Sarif {
    fn rule(&self, id: RuleId) -> Value {
        let Some(rule) = (self.rules)(id) else { return json!({ "id": id }) };
        json!({
            "id": id,
            "shortDescription": { "text": rule.statement },
            "fullDescription": { "text": rule.why },
            "help": { "text": format!("{}\nReference: {}\nExample: {}", rule.why, rule.reference, rule.example) },
            "defaultConfiguration": { "level": kind_and_level(rule.severity).1 },
        })
    }
}

/// SARIF keeps "what kind of statement" apart from "how bad": anything but `fail` must have level `none`.
fn kind_and_level(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Fail => ("fail", "error"),
        Severity::Warning => ("fail", "warning"),
        Severity::Review => ("review", "none"),
        Severity::Unknown => ("open", "none"),
        Severity::Note => ("informational", "none"),
        Severity::Pass => ("pass", "none"),
    }
}

fn result(report: &Report, finding: &Finding, ids: &BTreeMap<RuleId, usize>) -> Value {
    let (kind, level) = kind_and_level(finding.severity);
    let whole = Evidence::default();
    let first = finding.evidence.first();
    let mut result = Map::new();
    result.insert("ruleId".into(), json!(finding.rule));
    result.insert("ruleIndex".into(), json!(ids.get(&finding.rule)));
    result.insert("kind".into(), json!(kind));
    result.insert("level".into(), json!(level));
    result.insert("message".into(), json!({ "text": message(&location::sentence(&finding.message, first)) }));
    // About a change as a whole there is no file to point at.
    let points = |evidence: &&Evidence| !location::path(report, evidence).is_empty();
    let main = Some(first.unwrap_or(&whole)).filter(points);
    result.insert("locations".into(), main.map(|evidence| place(report, evidence)).into_iter().collect());
    let others = finding.evidence.iter().skip(1).filter(points);
    let related: Vec<Value> = others.map(|evidence| place(report, evidence)).collect();
    if !related.is_empty() {
        result.insert("relatedLocations".into(), json!(related));
    }
    if finding.status() > Status::Complete {
        result.insert("properties".into(), json!({ "auditStatus": finding.status() }));
    }
    if finding.allowed {
        let reason = "suppressed by policy or --allow";
        result.insert("suppressions".into(), json!([{ "kind": "external", "justification": reason }]));
    }
    // The same finding keeps its identity when lines above it move.
    let found = first.and_then(|evidence| evidence.found.as_deref()).unwrap_or(&finding.message);
    let path = location::path(report, first.unwrap_or(&whole));
    let identity = ContentDigest::of(format!("{}\0{path}\0{found}", finding.rule).as_bytes()).sha256.to_string();
    result.insert("partialFingerprints".into(), json!({ "ruleAndEvidence/v1": identity }));
    Value::Object(result)
}

fn place(report: &Report, evidence: &Evidence) -> Value {
    let mut physical = Map::new();
    physical.insert("artifactLocation".into(), json!({ "uri": uri(&location::path(report, evidence)) }));
    // Lines of SARIF start at 1.
    if let Some(line) = evidence.line.filter(|line| *line > 0) {
        let mut region = Map::new();
        region.insert("startLine".into(), json!(line));
        if let Some(found) = &evidence.found {
            region.insert("snippet".into(), json!({ "text": found }));
        }
        physical.insert("region".into(), Value::Object(region));
    }
    json!({ "physicalLocation": physical })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_log_follows_sarif_2_1_0() {
        let log: Value = serde_json::from_str(&sample::written(&Sarif { rules: crate::rules::info })).unwrap();
        assert_eq!((&log["version"], &log["$schema"]), (&json!("2.1.0"), &json!(SARIF_SCHEMA)));
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let results = run["results"].as_array().unwrap();
        assert!(!rules.is_empty() && !results.is_empty());
        for result in results {
            let index = result["ruleIndex"].as_u64().unwrap() as usize;
            assert_eq!(rules[index]["id"], result["ruleId"]);
            // Section 3.27.10: a level other than `none` needs kind `fail`.
            assert!(result["kind"] == "fail" || result["level"] == "none", "{result}");
            assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
            let place = &result["locations"][0]["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(!uri.is_empty() && !uri.contains([' ', '\\']), "{uri}");
            assert!(place["region"].is_null() || place["region"]["startLine"].as_u64().unwrap() >= 1);
        }
    }
}
