//! Which subjects and findings a report shows, and in which order.

use std::cmp::{Ordering, Reverse};

use super::{Audit, Detail, Report, Severity, Status};

/// An order of subjects. What lacks the value comes last; equal ones are ordered by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By name.
    Name,
    /// What is worst first, then by the number of its failures, warnings and places to review.
    Verdict,
    /// The least claimed bits per byte first.
    Bpb,
    /// The largest total first.
    Bytes,
    /// The latest day first.
    Date,
}

impl Order {
    fn compare(self, a: &Report, b: &Report) -> Ordering {
        let by_name = || a.subject.cmp(&b.subject);
        let by = match self {
            Order::Name => Ordering::Equal,
            Order::Verdict => verdict(b).cmp(&verdict(a)),
            Order::Bpb => missing_last(bpb(a), bpb(b), f64::total_cmp),
            Order::Bytes => missing_last(total_bytes(a), total_bytes(b), |a, b| b.cmp(a)),
            Order::Date => missing_last(a.fact("date"), b.fact("date"), |a, b| b.cmp(a)),
        };
        by.then_with(by_name)
    }
}

/// Greater is worse.
fn verdict(report: &Report) -> (Severity, Status, [usize; 3]) {
    let counts = [Severity::Fail, Severity::Warning, Severity::Review].map(|severity| report.count(severity));
    (report.verdict_word(), report.status, counts)
}

fn bpb(report: &Report) -> Option<f64> {
    report.fact("val_bpb")?.parse().ok().filter(|value: &f64| value.is_finite())
}

fn total_bytes(report: &Report) -> Option<u64> {
    report.fact("total_bytes")?.replace(',', "").parse().ok()
}

fn missing_last<T>(a: Option<T>, b: Option<T>, compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
    match (&a, &b) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Reverse(a.is_some()).cmp(&Reverse(b.is_some())),
    }
}

/// What a reader asked to see. The default is everything usual, in the order of the audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// How much.
    pub detail: Detail,
    /// Findings of this severity alone, and the subjects that have one.
    pub only: Option<Severity>,
    /// Order of the subjects, where it is not that of the audit.
    pub order: Option<Order>,
}

impl From<Detail> for View {
    fn from(detail: Detail) -> Self {
        View { detail, ..View::default() }
    }
}

impl View {
    /// The subjects to show, in order.
    pub fn reports<'a>(&self, audit: &'a Audit) -> Vec<&'a Report> {
        let mut reports: Vec<&Report> = audit.reports.iter().filter(|report| self.shows_subject(report)).collect();
        if let Some(order) = self.order {
            reports.sort_by(|a, b| order.compare(a, b));
        }
        reports
    }

    fn shows_subject(&self, report: &Report) -> bool {
        self.only.is_none_or(|severity| report.count(severity) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Fact, sample};

    /// Subjects by name, with their facts.
    fn audit(subjects: &[(&str, &[(&'static str, &str)])]) -> Audit {
        let clean = sample::audit().reports.remove(1);
        let report = |(name, facts): &(&str, &[(&'static str, &str)])| Report {
            subject: name.to_string(),
            facts: facts.iter().map(|(name, value)| Fact { name, value: value.to_string() }).collect(),
            ..clean.clone()
        };
        Audit::new(subjects.iter().map(report).collect(), Vec::new())
    }

    fn ordered(audit: &Audit, order: Order) -> String {
        let view = View { order: Some(order), ..View::default() };
        view.reports(audit).iter().map(|report| report.subject.as_str()).collect()
    }

    #[test]
    fn each_order_compares_values_and_puts_what_has_none_last() {
        let audit = audit(&[
            ("c", &[]),
            ("b", &[("val_bpb", "1.2"), ("total_bytes", "9,999,999 bytes"), ("date", "2026-03-20")]),
            ("a", &[("val_bpb", "1.1000"), ("total_bytes", "9,999,999"), ("date", "2026-03-19")]),
            ("e", &[("val_bpb", "1.1"), ("total_bytes", "16,000,001"), ("date", "2026-04-01")]),
            ("d", &[("val_bpb", "pending"), ("total_bytes", "999")]),
        ]);
        assert_eq!(ordered(&audit, Order::Name), "abcde");
        assert_eq!(ordered(&audit, Order::Bpb), "aebcd");
        assert_eq!(ordered(&audit, Order::Bytes), "eadbc");
        assert_eq!(ordered(&audit, Order::Date), "ebacd");
    }

    #[test]
    fn the_worst_comes_first_and_only_leaves_out_subjects_without_such_a_finding() {
        let mut audit = sample::audit();
        audit.reports.reverse();
        let view = View { order: Some(Order::Verdict), ..View::default() };
        assert!(view.reports(&audit)[0].count(Severity::Fail) > 0);
        let view = View { only: Some(Severity::Review), ..View::default() };
        assert_eq!(view.reports(&audit).len(), 1);
    }
}
