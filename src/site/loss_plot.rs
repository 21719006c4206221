//! Where the loss of a model lies, as its score tells it: by the place in a window, and by document.

use super::line_chart::{Across, Line, Mark, Picture};
use super::plot::{Panel, Plot, Table};
use crate::data::Tokenizer;
use crate::escape::visible;
use crate::eval::{DocumentLoss, LossSum, Losses, Windowing};
use crate::report::{Finite, Point};
use crate::units::group_digits;

/// Most points of a curve; more are averaged.
const MAX_POINTS: usize = 400;
/// Shorter documents say little about the model.
const LEAST_TOKENS: u64 = 16;
/// Documents listed at either end.
const LISTED: usize = 10;
/// Tokens and characters of a document's beginning that are shown.
const SHOWN_TOKENS: usize = 48;
/// See [`SHOWN_TOKENS`].
const SHOWN_CHARS: usize = 90;

/// The plot of a pass.
pub fn loss_plot(name: &str, losses: &Losses) -> Plot {
    let profile = &losses.profile;
    let documents: Vec<(usize, &DocumentLoss)> =
        profile.documents.iter().enumerate().filter(|(_, document)| document.loss.tokens >= LEAST_TOKENS).collect();
    let mut notes = Vec::new();
    let (places, stride) = thinned(&profile.places);
    if stride > 1 {
        notes.push(format!("A point of the curve by place is the mean of {stride} places."));
    }
    let (course, stride) = thinned(&profile.documents.iter().map(|document| document.loss).collect::<Vec<_>>());
    if stride > 1 {
        notes.push(format!("A point of the curve by document is the mean of {stride} documents."));
    }
    let plan = profile.plan();
    let fresh = plan.seq_len().saturating_sub(plan.stride());
    // Places before it are scored in the first window alone.
    let marks = match plan.windowing() {
        Windowing::Sliding if fresh > 0 => vec![Mark { name: format!("scored from {fresh} on"), at: fresh as f64 }],
        _ => Vec::new(),
    };
    if !marks.is_empty() {
        notes.push(format!(
            "Sliding windows score their last {} places; those before them are of the first window alone.",
            group_digits(i128::from(plan.stride()))
        ));
    }
    notes.push(format!(
        "Documents begin at the mark of the tokenizer; those of fewer than {LEAST_TOKENS} scored tokens are in the \
         sums and in no list. Sums here are for the eye: published numbers are made exactly, without them."
    ));
    let share = shares(&documents);
    let panels = [
        ("By place in the window", "Loss, nats per token", Across::Places, &places, &marks[..]),
        ("Documents, the easiest first", "Bits per byte of a document", Across::Percent, &share, &[]),
        ("Documents in their order", "Loss, nats per token", Across::Documents, &course, &[]),
    ];
    let panels = panels.into_iter().filter_map(|(title, what, across, points, marks)| {
        let lines = [Line { name: what, color: 0, is_behind: false, points }];
        Picture { what, across, lines: &lines, marks }.draw().map(|picture| Panel { title, picture })
    });
    let whole = DocumentLoss {
        first_token: 0,
        loss: profile.total,
        bytes: profile.documents.iter().map(|document| document.bytes).sum(),
    };
    let four = |value: Option<f64>| value.map_or_else(|| "-".to_string(), |value| format!("{value:.4}"));
    Plot {
        kind: "Score",
        name: visible(&format!("{name}, {}", losses.label)),
        numbers: vec![
            (four(whole.bits_per_byte()), "bits per byte"),
            (four(whole.loss.mean()), "nats per token"),
            (group_digits(i128::from(profile.total.tokens)), "tokens"),
            (group_digits(profile.documents.len() as i128), "documents"),
        ],
        panels: panels.collect(),
        tables: tables(losses, documents),
        notes,
    }
}

/// Means of neighbors, few enough to draw: places are counted from the first.
fn thinned(sums: &[LossSum]) -> (Vec<Point>, usize) {
    let stride = sums.len().div_ceil(MAX_POINTS).max(1);
    let point = |(index, chunk): (usize, &[LossSum])| {
        let all = chunk.iter().fold(LossSum::default(), |all, sum| LossSum {
            nats: all.nats + sum.nats,
            tokens: all.tokens + sum.tokens,
        });
        Some(Point((index * stride) as u64, None, Finite::new(all.mean()?)?))
    };
    (sums.chunks(stride).enumerate().filter_map(point).collect(), stride)
}

/// Bits per byte of the documents, sorted: at each percent.
fn shares(documents: &[(usize, &DocumentLoss)]) -> Vec<Point> {
    let mut bits: Vec<f64> = documents.iter().filter_map(|(_, document)| document.bits_per_byte()).collect();
    bits.sort_by(f64::total_cmp);
    let Some(last) = bits.len().checked_sub(1).filter(|last| *last > 0) else { return Vec::new() };
    let point = |percent: u64| {
        let at = (percent as f64 / 100.0 * last as f64).round() as usize;
        Some(Point(percent, None, Finite::new(bits[at.min(last)])?))
    };
    (0..=100).filter_map(point).collect()
}

fn tables(losses: &Losses, documents: Vec<(usize, &DocumentLoss)>) -> Vec<Table> {
    let mut ranked: Vec<(f64, usize, &DocumentLoss)> = documents
        .into_iter()
        .filter_map(|(index, document)| Some((document.bits_per_byte()?, index, document)))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let row = |(bits, index, document): &(f64, usize, &DocumentLoss)| {
        vec![
            group_digits(*index as i128 + 1),
            format!("{bits:.4}"),
            document.loss.mean().map_or_else(String::new, |mean| format!("{mean:.4}")),
            group_digits(i128::from(document.loss.tokens)),
            group_digits(i128::from(document.first_token)),
            beginning(&losses.data.tokenizer, &losses.data.tokens, document),
        ]
    };
    let table = |title, rows: Vec<Vec<String>>| Table {
        title,
        about: format!("of {} documents", group_digits(ranked.len() as i128)),
        columns: vec![
            ("document", true),
            ("bits per byte", true),
            ("nats per token", true),
            ("tokens", true),
            ("first token", true),
            ("begins", false),
        ],
        rows,
    };
    let hardest: Vec<_> = ranked.iter().take(LISTED).map(row).collect();
    let easiest: Vec<_> = ranked.iter().rev().take(LISTED.min(ranked.len() - hardest.len())).map(row).collect();
    [table("Hardest documents", hardest), table("Easiest documents", easiest)]
        .into_iter()
        .filter(|table| !table.rows.is_empty())
        .collect()
}

/// The first words of a document.
fn beginning(tokenizer: &Tokenizer, tokens: &[u16], document: &DocumentLoss) -> String {
    let from = usize::try_from(document.first_token).unwrap_or(usize::MAX).min(tokens.len());
    let to = from.saturating_add(SHOWN_TOKENS.min(document.loss.tokens as usize)).min(tokens.len());
    let text = tokenizer.decode(&tokens[from..to]);
    visible(&text.split_whitespace().collect::<Vec<_>>().join(" ")).chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(nats: f64, tokens: u64) -> LossSum {
        LossSum { nats, tokens }
    }

    #[test]
    fn neighbors_are_averaged_by_their_tokens() {
        let sums: Vec<LossSum> = (0..MAX_POINTS as u64 * 2).map(|i| sum(i as f64, 1 + i % 2)).collect();
        let (points, stride) = thinned(&sums);
        assert_eq!((points.len(), stride), (MAX_POINTS, 2));
        // (2 + 3) nats over 1 + 2 tokens, at place 2.
        assert_eq!((points[1].0, points[1].2.get()), (2, 5.0 / 3.0));
    }

    #[test]
    fn half_of_the_documents_lie_below_the_middle() {
        let documents: Vec<DocumentLoss> = (1..=101)
            .map(|i| DocumentLoss { first_token: 0, loss: sum(f64::from(i) * std::f64::consts::LN_2, 20), bytes: 1 })
            .rev()
            .collect();
        let points = shares(&documents.iter().enumerate().collect::<Vec<_>>());
        let at = |percent: usize| points[percent].2.get();
        assert!((at(0) - 1.0).abs() < 1e-9 && (at(50) - 51.0).abs() < 1e-9 && (at(100) - 101.0).abs() < 1e-9);
        assert!(shares(&[]).is_empty());
    }
}
