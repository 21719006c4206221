//! Where the bytes of a model file go, as a page by itself: the map, floors, symbols, the biggest tensors.

use std::fmt::Write;

use askama::Template;

use super::SiteError;
use super::svg::Svg;
use super::whole::{self, STYLE};
use crate::artifact::inspect::{Inspection, SymbolCounts, svg};
use crate::escape::visible;
use crate::units::{Bytes, group_digits};

/// Tensors listed.
const LISTED: usize = 24;
/// Size of a histogram, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 150.0;
/// Room below the bars.
const AXIS: f64 = 22.0;

#[derive(Template)]
#[template(path = "site/bytes.html")]
struct Page {
    title: String,
    mark: &'static str,
    policy: String,
    style: &'static str,
    description: String,
    bytes: Bytes,
    room: String,
    is_over: bool,
    map: Svg,
    floors: Vec<Floor>,
    shares: &'static str,
    classes: Vec<Class>,
    tensors: Vec<Tensor>,
    more: usize,
    sha256: String,
}

/// A size that codes without memory cannot get below.
struct Floor {
    name: &'static str,
    bytes: String,
    beside: String,
    meaning: &'static str,
}

/// The symbols of one class.
struct Class {
    name: String,
    words: String,
    picture: Svg,
}

struct Tensor {
    name: String,
    kind: String,
    shape: String,
    values: String,
    bytes: Bytes,
    share: String,
    bits: String,
    zeros: String,
}

/// The page of a file taken apart; the same file gives the same bytes.
///
/// # Errors
///
/// If a template does not come to its end.
pub fn bytes_page(found: &Inspection) -> Result<String, SiteError> {
    let name = found.path.file_name().map_or_else(String::new, |name| visible(&name.to_string_lossy()));
    let margin = found.file.bytes.margin_to(Bytes::BUDGET);
    let side = if margin < 0 { "over" } else { "under" };
    let page = Page {
        title: name,
        mark: whole::MARK,
        policy: whole::policy(),
        style: STYLE,
        description: found.description(),
        bytes: found.file.bytes,
        room: format!("{} {side} the budget of {}", group_digits(margin.abs()), Bytes::BUDGET),
        is_over: margin < 0,
        map: Svg(svg(found)),
        floors: floors(found),
        shares: found.shares.explanation(),
        classes: found.symbols.iter().map(class).collect(),
        tensors: tensors(found),
        more: found.tensors.len().saturating_sub(LISTED),
        sha256: found.file.sha256.to_string(),
    };
    page.render().map_err(|source| SiteError::Template { page: "bytes".to_string(), source })
}

fn floors(found: &Inspection) -> Vec<Floor> {
    let file = found.file.bytes.0 as f64;
    let floor = |name, bytes: f64, meaning| Floor {
        name,
        bytes: Bytes(bytes.round() as u64).to_string(),
        beside: format!("{:+.2} %", if bytes > 0.0 { (file - bytes) / bytes * 100.0 } else { 0.0 }),
        meaning,
    };
    let tensors = floor("order-0", found.floors.tensors, "a histogram a tensor and byte position, free of charge");
    let clusters = found.floors.row_clusters.map(|bytes| {
        floor("row clusters", bytes, "symbols by class and magnitude of their row, a histogram each, free of charge")
    });
    std::iter::once(tensors).chain(clusters).collect()
}

fn tensors(found: &Inspection) -> Vec<Tensor> {
    let mut biggest: Vec<_> = found.tensors.iter().collect();
    // Stable: of equal ones the file's order stays.
    biggest.sort_by_key(|tensor| std::cmp::Reverse(tensor.in_file));
    let percent = |part: u64, of: u64| format!("{:.1} %", part as f64 * 100.0 / of.max(1) as f64);
    let row = |tensor: &crate::artifact::inspect::TensorLine| Tensor {
        name: visible(&tensor.name),
        kind: tensor.kind.to_string(),
        shape: tensor.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x "),
        values: group_digits(tensor.values.into()),
        bytes: tensor.in_file,
        share: percent(tensor.in_file.0, found.file.bytes.0),
        bits: format!("{:.4}", tensor.statistics.bits_per_value),
        zeros: percent(tensor.statistics.zeros, tensor.values),
    };
    biggest.into_iter().take(LISTED).map(row).collect()
}

fn class(symbols: &SymbolCounts) -> Class {
    let total: u64 = symbols.counts.iter().map(|(_, count)| count).sum();
    let used = symbols.counts.iter().filter(|(_, count)| *count > 0).count();
    let mut picture = String::new();
    // Writing into a String cannot fail.
    let _ = write_histogram(&mut picture, symbols, total);
    Class {
        name: symbols.class.to_string(),
        words: format!("{} symbols, {used} of {} in use", group_digits(total.into()), symbols.counts.len()),
        picture: Svg(picture),
    }
}

fn write_histogram(out: &mut String, symbols: &SymbolCounts, total: u64) -> std::fmt::Result {
    let counts = &symbols.counts;
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1) as f64;
    let width = WIDTH / counts.len().max(1) as f64;
    let height = HEIGHT + AXIS;
    writeln!(
        out,
        r#"<svg class="chart histogram" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="How often each symbol of {} occurs">"#,
        symbols.class
    )?;
    for (index, (symbol, count)) in counts.iter().enumerate() {
        let (x, tall) = (index as f64 * width, *count as f64 / most * HEIGHT);
        let share = *count as f64 * 100.0 / total.max(1) as f64;
        let tip = format!("{symbol}: {} ({share:.2} %)", group_digits((*count).into()));
        writeln!(
            out,
            r#"<g><title>{tip}</title><rect class="room" x="{x:.2}" y="0" width="{width:.2}" height="{HEIGHT}"/><rect class="bar" x="{:.2}" y="{:.2}" width="{:.2}" height="{tall:.2}"/></g>"#,
            x + 0.1 * width,
            HEIGHT - tall,
            0.8 * width
        )?;
    }
    writeln!(out, r#"<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>"#)?;
    let label = |index: usize, anchor: &str| {
        let symbol = counts.get(index).map_or(0, |(symbol, _)| *symbol);
        let x = match anchor {
            "start" => 0.0,
            "end" => WIDTH,
            _ => (index as f64 + 0.5) * width,
        };
        format!(r#"<text x="{x:.2}" y="{}" text-anchor="{anchor}">{symbol}</text>"#, HEIGHT + 16.0)
    };
    let zero = counts.iter().position(|(symbol, _)| *symbol == 0).unwrap_or(0);
    writeln!(
        out,
        "{}{}{}</svg>",
        label(0, "start"),
        label(zero, "middle"),
        label(counts.len().saturating_sub(1), "end")
    )
}
