"""Documents that are not what they should be."""

import json
import unittest
from typing import Any

from golf_harness import Audit, Severity, Status, UnexpectedReport


def document() -> dict[str, Any]:
    return {
        "schema": "golf-harness/audit/v1",
        "harness": "9.9.9",
        "status": "complete",
        "reports": [
            {
                "subject": "records/mine",
                "kind": "record_folder",
                "policy": {"name": "10min_16mb", "effective": "2026-03-20"},
                "status": "complete",
                "assurance": {"level": "sealed", "next_needs": ["a score"]},
                "facts": [{"name": "author", "value": "Ada"}],
                "findings": [
                    {
                        "rule": "over_budget",
                        "severity": "fail",
                        "message": "1 byte over",
                        "evidence": [{"path": "train.log", "line": 7, "found": "16,000,001"}],
                    }
                ],
                "not_applicable": ["manifest_without_code"],
                "files": [{"path": "train.log", "bytes": 3, "sha256": "00", "blake3": "11"}],
            }
        ],
        "skipped": [{"path": "x", "reason": "no subject", "cause": "no_subject"}],
    }


def read(value: object) -> Audit:
    return Audit.from_json(json.dumps(value))


class Reading(unittest.TestCase):
    def test_every_member_arrives(self) -> None:
        audit = read(document())
        finding = audit.reports[0].findings[0]
        self.assertEqual((audit.harness, audit.skipped[0].cause), ("9.9.9", "no_subject"))
        self.assertEqual(audit.reports[0].assurance.next_needs, ("a score",))
        self.assertEqual((finding.evidence[0].line, finding.evidence[0].expected), (7, None))
        self.assertEqual((finding.allowed, finding.broken, finding.incomplete), (False, False, False))
        self.assertIs(audit.reports[0].worst, Severity.FAIL)

    def test_keys_of_later_versions_are_ignored(self) -> None:
        value = document()
        value["reports"][0]["findings"][0]["later"] = {}
        self.assertEqual(read(value), read(document()))

    def test_an_incomplete_audit_never_passes(self) -> None:
        value = document()
        value["reports"][0]["findings"] = []
        self.assertTrue(read(value).passed())
        value["status"] = value["reports"][0]["status"] = "incomplete"
        self.assertIs(read(value).status, Status.INCOMPLETE)
        self.assertFalse(read(value).passed() or read(value).reports[0].passed())

    def test_severities_are_ordered_by_weight(self) -> None:
        self.assertLess(Severity.UNKNOWN, Severity.REVIEW)
        self.assertEqual(max(Severity), Severity.FAIL)

    def test_another_schema_is_refused(self) -> None:
        value = document()
        value["schema"] = "golf-harness/audit/v2"
        with self.assertRaisesRegex(UnexpectedReport, "audit/v2.*upgrade"):
            read(value)

    def test_damage_is_named_by_its_place(self) -> None:
        def damaged(key: str, value: object) -> dict[str, Any]:
            whole = document()
            whole["reports"][0][key] = value
            return whole

        for value, words in (
            ([], "report is no object"),
            ({}, "has no 'schema'"),
            (damaged("status", "fine"), r"reports\[0\]\.status is not one of complete, incomplete, broken"),
            (damaged("findings", 3), r"reports\[0\]\.findings is not a list"),
            (damaged("files", [{"path": "a", "bytes": True}]), r"files\[0\]\.bytes is not a whole number"),
            (damaged("not_applicable", [1]), "not_applicable is not a list of texts"),
            (damaged("policy", None), "policy is no object"),
        ):
            with self.subTest(words=words), self.assertRaisesRegex(UnexpectedReport, words):
                read(value)
        with self.assertRaisesRegex(UnexpectedReport, "no JSON"):
            Audit.from_json(b"\xff")


if __name__ == "__main__":
    unittest.main()
