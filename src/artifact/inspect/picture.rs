//! A treemap of the file as SVG: an area for every tensor and every other part, in proportion to its bytes.
//!
//! Self-contained, and the same text for the same file. Colors are those of Okabe and Ito, told apart by the
//! color-blind too; text outside the rectangles is a gray that reads on white and on black.

use std::fmt::Write;

use super::text::{Group, margin, percent, shape, shorten};
use super::treemap::{Rect, squarify};
use super::{Inspection, Kind, Rest, RestLine, TensorLine};
use crate::escape::{visible, xml};
use crate::quant::TensorClass;
use crate::units::{Bytes, group_digits};

/// Width of the picture, and of the map in it.
const WIDTH: f64 = 1200.0;
/// Empty border.
const MARGIN: f64 = 10.0;
/// Height of the map.
const MAP_HEIGHT: f64 = 720.0;
/// Room for the title above it.
const TOP: f64 = 56.0;
/// Height of a line of the legend.
const LEGEND_LINE: f64 = 22.0;
/// Entries of the legend beside each other.
const LEGEND_COLUMNS: usize = 3;
/// Width of a character at [`LABEL_SIZE`]; monospaced fonts have six tenths of their size or less.
const CHARACTER: f64 = 0.61 * LABEL_SIZE;
/// Size of the text in rectangles.
const LABEL_SIZE: f64 = 11.0;
/// Distance between lines of text in rectangles.
const LABEL_LINE: f64 = 14.0;
/// Fewer characters of a name say nothing.
const MIN_LABEL: usize = 5;
/// Gray with a contrast of more than 4.4 to white and to GitHub's dark background.
const OUTSIDE: &str = "#75797e";

/// A part of the file in the picture.
struct Area<'a> {
    group: Group,
    bytes: Bytes,
    name: String,
    tensor: Option<&'a TensorLine>,
}

/// The picture, a whole SVG document.
pub fn svg(found: &Inspection) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_svg(&mut out, found);
    out
}

fn write_svg(out: &mut String, found: &Inspection) -> std::fmt::Result {
    let tensors = found.tensors.iter().map(|tensor| Area {
        group: Group::Kind(tensor.kind),
        bytes: tensor.in_file,
        name: visible(&tensor.name),
        tensor: Some(tensor),
    });
    let rest = found.rest.iter().map(|&RestLine { what, in_file, .. }| Area {
        group: Group::Rest(what),
        bytes: in_file,
        name: what.to_string(),
        tensor: None,
    });
    let mut groups: Vec<(Group, Vec<Area<'_>>)> = Vec::new();
    let kinds = found.totals().into_iter().map(|total| Group::Kind(total.kind));
    groups.extend(kinds.chain(found.rest.iter().map(|rest| Group::Rest(rest.what))).map(|group| (group, Vec::new())));
    for area in tensors.chain(rest) {
        if let Some((_, members)) = groups.iter_mut().find(|(group, _)| *group == area.group) {
            members.push(area);
        }
    }
    let sizes: Vec<u64> = groups.iter().map(|(_, members)| members.iter().map(|area| area.bytes.0).sum()).collect();

    let legend = groups.len().div_ceil(LEGEND_COLUMNS) as f64 * LEGEND_LINE;
    let height = TOP + MAP_HEIGHT + legend + 36.0 + MARGIN;
    let (full_width, full_height) = (WIDTH + 2.0 * MARGIN, height + MARGIN);
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="-{MARGIN} -{MARGIN} {full_width} {full_height}" width="{full_width}" height="{full_height}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" role="img">"#
    )?;
    let file_name = found.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let file_name = shorten(&visible(&file_name), 80);
    writeln!(out, "<title>Where the {} bytes of {} go</title>", found.file.bytes, xml::text(&file_name))?;
    writeln!(
        out,
        r#"<text x="0" y="20" font-size="17" font-weight="bold" fill="{OUTSIDE}">{}</text>"#,
        xml::text(&file_name)
    )?;
    let margin = margin(found);
    let room = if margin < 0 { "over the budget" } else { "below the budget" };
    let line = format!("{} bytes, {} {room} · {}", found.file.bytes, group_digits(margin.abs()), found.description());
    writeln!(out, r#"<text x="0" y="42" font-size="13" fill="{OUTSIDE}">{}</text>"#, xml::text(&line))?;

    let whole = Rect { x: 0.0, y: TOP, width: WIDTH, height: MAP_HEIGHT };
    writeln!(out, r##"<g stroke="#ffffff" stroke-width="0.8" font-size="{LABEL_SIZE}">"##)?;
    for ((_, members), rect) in groups.iter().zip(squarify(&sizes, whole)) {
        let bytes: Vec<u64> = members.iter().map(|area| area.bytes.0).collect();
        for (area, rect) in members.iter().zip(squarify(&bytes, rect)) {
            write_area(out, found, area, rect)?;
        }
    }
    writeln!(out, "</g>")?;

    writeln!(out, r#"<g font-size="12.5" fill="{OUTSIDE}">"#)?;
    let column = WIDTH / LEGEND_COLUMNS as f64;
    for (i, ((group, members), bytes)) in groups.iter().zip(&sizes).enumerate() {
        let x = (i % LEGEND_COLUMNS) as f64 * column;
        let y = TOP + MAP_HEIGHT + 12.0 + (i / LEGEND_COLUMNS) as f64 * LEGEND_LINE;
        let count = match group {
            Group::Kind(_) if members.len() == 1 => ", 1 tensor".to_string(),
            Group::Kind(_) => format!(", {} tensors", members.len()),
            Group::Rest(_) => String::new(),
        };
        let share = percent(*bytes, found.file.bytes.0);
        let fill = colors(*group).0;
        writeln!(out, r#"<rect class="legend" x="{x:.1}" y="{y:.1}" width="13" height="13" fill="{fill}"/>"#)?;
        writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}">{group}{count}: {} ({share})</text>"#,
            x + 20.0,
            y + 11.0,
            Bytes(*bytes)
        )?;
    }
    let y = TOP + MAP_HEIGHT + 12.0 + legend + 14.0;
    let note = format!("Areas are in proportion to bytes of the file, {}.", found.shares.explanation());
    writeln!(out, r#"<text x="0" y="{y:.1}">{}</text>"#, xml::text(&note))?;
    writeln!(out, "</g>\n</svg>")
}

/// A rectangle with its tooltip, and a label where it has room.
fn write_area(out: &mut String, found: &Inspection, area: &Area<'_>, rect: Rect) -> std::fmt::Result {
    if area.bytes.0 == 0 {
        return Ok(());
    }
    let (fill, ink) = colors(area.group);
    let Rect { x, y, width, height } = rect;
    let is_estimate = match area.tensor {
        Some(_) => found.shares.are_estimates(),
        None => found.shares == super::Shares::FileByPartsAlone,
    };
    let estimate = if is_estimate { ", an estimate" } else { "" };
    let share = percent(area.bytes.0, found.file.bytes.0);
    let mut tip = format!("{}: {} bytes ({share}){estimate}", area.name, area.bytes);
    if let Some(tensor) = area.tensor {
        let (shape, values) = (shape(&tensor.shape), group_digits(tensor.values.into()));
        let entropy = tensor.statistics.bits_per_value;
        write!(tip, "\n{} {shape}, {values} values, order-0 entropy {entropy:.4} bits a value", tensor.kind)?;
    }
    writeln!(
        out,
        r#"<rect x="{x:.4}" y="{y:.4}" width="{width:.4}" height="{height:.4}" fill="{fill}" data-bytes="{}"><title>{}</title></rect>"#,
        area.bytes.0,
        xml::text(&tip)
    )?;
    let Some(label) = label(&area.name, width) else { return Ok(()) };
    if height < LABEL_LINE + 2.0 {
        return Ok(());
    }
    let size = area.bytes.to_string();
    let with_size = height >= 2.0 * LABEL_LINE + 4.0 && room(width) >= size.chars().count();
    write!(out, r#"<g fill="{ink}" stroke="none" pointer-events="none">"#)?;
    write!(out, r#"<text x="{:.2}" y="{:.2}">{}</text>"#, x + 4.0, y + LABEL_LINE - 1.0, xml::text(&label))?;
    if with_size {
        write!(out, r#"<text x="{:.2}" y="{:.2}" opacity="0.8">{size}</text>"#, x + 4.0, y + 2.0 * LABEL_LINE - 1.0)?;
    }
    writeln!(out, "</g>")
}

/// Characters that fit a rectangle.
fn room(width: f64) -> usize {
    ((width - 8.0).max(0.0) / CHARACTER) as usize
}

/// What of a name fits: all of it, less what most names share (`.weight`, `blocks.`), or both ends.
fn label(name: &str, width: f64) -> Option<String> {
    let room = room(width);
    let bare = name.strip_suffix(".weight").unwrap_or(name);
    let inner = bare.strip_prefix("blocks.").unwrap_or(bare);
    let fits = [name, bare, inner].into_iter().find(|text| text.chars().count() <= room);
    match fits {
        Some(text) => Some(text.to_string()),
        None => (room >= MIN_LABEL).then(|| shorten(inner, room)),
    }
}

/// Fill and ink.
fn colors(group: Group) -> (&'static str, &'static str) {
    match group {
        Group::Kind(Kind::Class(TensorClass::Int5)) => ("#0072b2", "#ffffff"),
        Group::Kind(Kind::Class(TensorClass::Int6)) => ("#e69f00", "#1b1b1b"),
        Group::Kind(Kind::Class(TensorClass::Int8)) => ("#009e73", "#ffffff"),
        Group::Kind(Kind::Class(TensorClass::F16)) => ("#56b4e9", "#1b1b1b"),
        Group::Kind(Kind::Class(TensorClass::F32)) => ("#cc79a7", "#1b1b1b"),
        Group::Kind(Kind::Dtype(_)) => ("#f0e442", "#1b1b1b"),
        Group::Rest(Rest::Scales | Rest::MagnitudeBuckets) => ("#d55e00", "#ffffff"),
        Group::Rest(_) => ("#8c8c8c", "#1b1b1b"),
    }
}
