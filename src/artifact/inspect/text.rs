//! The inspection for people: the file, its tensors, the totals, and how far the size is from what coding can reach.

use std::fmt::Write;

use super::{Inspection, Kind, Rest, Shares, StreamLine, TensorLine};
use crate::escape::visible;
use crate::quant::Codec;
use crate::units::{Bytes, group_digits};

/// Longer names lose their middle in the table; JSON and picture have them whole.
const MAX_NAME_CHARS: usize = 44;

/// The whole report.
pub fn text(found: &Inspection) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_text(&mut out, found);
    out
}

/// One line for `--quiet`.
pub fn summary(found: &Inspection) -> String {
    let floors: String = floors(found).iter().map(|(name, bytes, _)| format!(", {name} {bytes}")).collect();
    let margin = margin(found);
    let side = if margin < 0 { "over" } else { "under" };
    format!("{} bytes{floors}, {} {side} the budget", found.file.bytes, group_digits(margin.abs()))
}

fn write_text(out: &mut String, found: &Inspection) -> std::fmt::Result {
    writeln!(out, "file      {}", visible(&found.path.display().to_string()))?;
    writeln!(out, "bytes     {}", found.file.bytes)?;
    writeln!(out, "sha256    {}", found.file.sha256)?;
    writeln!(out, "blake3    {}", found.file.blake3)?;
    writeln!(out, "format    {}", found.description())?;
    writeln!(out, "unpacked  {} bytes, \"held\" below", found.unpacked)?;
    writeln!(out, "in file   {}", found.shares.explanation())?;
    for words in &found.unclaimed {
        writeln!(out, "note      {words}: no part of any tensor")?;
    }
    let shared = found.tensors.iter().filter(|tensor| tensor.shares_storage).count();
    if shared > 0 {
        writeln!(out, "shared    {shared} tensors lie in storages of others; the bytes are divided between them (*)")?;
    }
    writeln!(out)?;
    tensors(found).write(out)?;
    writeln!(out)?;
    totals(found).write(out)?;
    writeln!(out)?;
    if !found.streams.is_empty() {
        streams(found).write(out)?;
        writeln!(out)?;
    }
    let mut lines = vec![("file", found.file.bytes, String::new())];
    lines.extend(floors(found));
    let margin = margin(found);
    let room = if margin < 0 { "OVER" } else { "to spare" };
    let room = format!("{} {room}, code not counted", group_digits(margin.abs()));
    lines.push(("budget", Bytes::BUDGET, room));
    let width = lines.iter().map(|(_, bytes, _)| bytes.to_string().len()).max().unwrap_or(0);
    for (name, bytes, remark) in lines {
        writeln!(out, "{}", format!("{name:<19}{bytes:>width$}  {remark}").trim_end())?;
    }
    Ok(())
}

/// Distance to the cap, negative beyond it.
pub(super) fn margin(found: &Inspection) -> i128 {
    found.file.bytes.margin_to(Bytes::BUDGET)
}

/// Name, size and meaning of the floors, the file's distance included.
fn floors(found: &Inspection) -> Vec<(&'static str, Bytes, String)> {
    let line = |name, bytes: f64, model: &str| {
        let excess = (found.file.bytes.0 as f64 / bytes - 1.0) * 100.0;
        let distance = match bytes > 0.0 {
            true if excess >= 0.0 => format!("the file is {excess:.2} % above; "),
            true => format!("the file is {:.2} % below; ", -excess),
            false => String::new(),
        };
        (name, whole(bytes), format!("{distance}{model}"))
    };
    let tensors = line("order-0 floor", found.floors.tensors, "a histogram a tensor and byte position, free of charge");
    let clusters = found.floors.row_clusters.map(|bytes| {
        line(
            "row-cluster floor",
            bytes,
            "a histogram a class and magnitude bucket of the row (8 an octave), free of charge",
        )
    });
    std::iter::once(tensors).chain(clusters).collect()
}

fn tensors(found: &Inspection) -> Table {
    let mut table = Table::new(&["tensor", "class", "shape"]);
    let in_file = if found.shares.are_estimates() { "in file, est." } else { "in file" };
    table.head(&["values", "held", in_file, "entropy", "order-0", "zeros", "symbols"]);
    for tensor in &found.tensors {
        let TensorLine { statistics, .. } = tensor;
        let symbols = statistics.symbols.map_or("-".into(), |symbols| format!("{}/{}", symbols.used, symbols.of));
        let shared = if tensor.shares_storage { "*" } else { "" };
        table.row(vec![
            shorten(&visible(&tensor.name), MAX_NAME_CHARS),
            tensor.kind.to_string(),
            shape(&tensor.shape),
            group_digits(tensor.values.into()),
            format!("{}{shared}", tensor.held),
            tensor.in_file.to_string(),
            format!("{:.4}", statistics.bits_per_value),
            whole(statistics.order0_bytes).to_string(),
            percent(statistics.zeros, tensor.values),
            symbols,
        ]);
    }
    table
}

/// What compressed each stream of this crate's own container.
fn streams(found: &Inspection) -> Table {
    let mut table = Table::new(&["stream", "coder"]);
    table.head(&["held", "stored"]);
    for StreamLine { what, coder, held, stored } in &found.streams {
        let coder = match coder {
            Codec::Zstd => "zstd",
            Codec::Ans => "range coder",
        };
        table.row(vec![what.clone(), coder.to_string(), held.to_string(), stored.to_string()]);
    }
    table
}

fn totals(found: &Inspection) -> Table {
    let mut table = Table::new(&["part"]);
    let is_estimate = found.shares == Shares::FileByPartsAlone;
    let in_file = if is_estimate { "in file, est." } else { "in file" };
    table.head(&["tensors", "values", "held", in_file, "share", "bits/value", "entropy", "order-0", "zeros"]);
    let file = found.file.bytes;
    let bits = |bytes: f64, values: u64| match values {
        0 => "-".to_string(),
        n => format!("{:.4}", bytes * 8.0 / n as f64),
    };
    let (mut tensors, mut values) = (0, 0);
    for total in found.totals() {
        tensors += total.tensors;
        values += total.values;
        table.row(vec![
            total.kind.to_string(),
            total.tensors.to_string(),
            group_digits(total.values.into()),
            total.held.to_string(),
            total.in_file.to_string(),
            percent(total.in_file.0, file.0),
            bits(total.in_file.0 as f64, total.values),
            bits(total.order0_bytes, total.values),
            whole(total.order0_bytes).to_string(),
            percent(total.zeros, total.values),
        ]);
    }
    for rest in &found.rest {
        let mut row = vec![rest.what.to_string(), String::new(), String::new()];
        row.extend([rest.held.to_string(), rest.in_file.to_string(), percent(rest.in_file.0, file.0)]);
        row.extend([String::new(), String::new()]);
        row.push(rest.order0_bytes.map_or(String::new(), |bytes| whole(bytes).to_string()));
        table.row(row);
    }
    table.row(vec![
        "total".to_string(),
        tensors.to_string(),
        group_digits(values.into()),
        found.unpacked.to_string(),
        file.to_string(),
        percent(file.0, file.0),
        bits(file.0 as f64, values),
    ]);
    table
}

/// The nearest whole number of bytes of a floor.
fn whole(bytes: f64) -> Bytes {
    Bytes(bytes.round() as u64)
}

/// A share in per cent with one decimal; `-` of nothing.
pub(super) fn percent(part: u64, of: u64) -> String {
    match of {
        0 => "-".to_string(),
        _ => format!("{:.1} %", part as f64 * 100.0 / of as f64),
    }
}

/// `1536x512`; `scalar` without sides.
pub(super) fn shape(sides: &[usize]) -> String {
    match sides {
        [] => "scalar".to_string(),
        _ => sides.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"),
    }
}

/// At most so many characters, the middle left out.
pub(super) fn shorten(text: &str, max: usize) -> String {
    let length = text.chars().count();
    if length <= max {
        return text.to_string();
    }
    let (front, back) = (max / 2, max.saturating_sub(max / 2 + 1));
    text.chars().take(front).chain(['…']).chain(text.chars().skip(length - back)).collect()
}

/// Columns as wide as their content: the first ones to the left, all others to the right.
struct Table {
    left: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(left: &[&str]) -> Self {
        Table { left: left.len(), rows: vec![left.iter().map(ToString::to_string).collect()] }
    }

    fn head(&mut self, right: &[&str]) {
        self.rows.iter_mut().for_each(|row| row.extend(right.iter().map(ToString::to_string)));
    }

    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            row.iter().zip(&mut widths).for_each(|(cell, width)| *width = (*width).max(cell.chars().count()));
        }
        for row in &self.rows {
            let mut line = String::new();
            for (i, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match i < self.left {
                    true => write!(line, "{cell:<width$}  ")?,
                    false => write!(line, "{cell:>width$}  ")?,
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// What a rectangle or a legend entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Tensors of a kind.
    Kind(Kind),
    /// What is no tensor.
    Rest(Rest),
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Group::Kind(kind) => kind.fmt(f),
            Group::Rest(rest) => rest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shorten("blocks.0.mlp.fc.weight", 22), "blocks.0.mlp.fc.weight");
        assert_eq!(shorten("blocks.0.mlp.fc.weight", 11), "block…eight");
        assert_eq!(shorten("äöüäöü", 3), "ä…ü");
        assert_eq!(shape(&[]), "scalar");
        assert_eq!(shape(&[3, 0]), "3x0");
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(percent(0, 0), "-");
    }
}
