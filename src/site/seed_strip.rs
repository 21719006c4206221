//! Seeds side by side: a dot a seed on one axis, claimed above, run below, a bar at each mean.

use std::fmt::Write;

use super::svg::{Scale, Svg, short, ticks};
use crate::escape::xml;

const WIDTH: f64 = 640.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 14.0;
/// Height of a row of dots.
const ROW: f64 = 40.0;
/// Room for the axis.
const AXIS: f64 = 30.0;

/// Values of one kind.
pub(super) struct Row<'a> {
    pub name: &'a str,
    pub color: &'static str,
    pub seeds: &'a [(u64, f64)],
    pub mean: Option<f64>,
}

/// The rows; nothing without a value.
pub(super) fn picture(rows: &[Row]) -> Option<Svg> {
    let values = || rows.iter().flat_map(|row| row.seeds.iter().map(|seed| seed.1).chain(row.mean));
    let low = values().reduce(f64::min)?;
    let high = values().reduce(f64::max)?;
    let room = if high > low { 0.08 * (high - low) } else { 0.001 };
    let scale = Scale { low: low - room, high: high + room, from: LEFT, to: WIDTH - RIGHT };
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_picture(&mut out, rows, &scale);
    Some(Svg(out))
}

fn write_picture(out: &mut String, rows: &[Row], scale: &Scale) -> std::fmt::Result {
    let bottom = rows.len() as f64 * ROW;
    let label = rows.iter().map(|row| format!("{} seeds {}", row.seeds.len(), row.name)).collect::<Vec<_>>().join(", ");
    writeln!(
        out,
        r#"<svg class="chart" viewBox="0 0 {WIDTH} {}" role="img" aria-label="Bits per byte of {}">"#,
        bottom + AXIS,
        xml::attribute(&label)
    )?;
    for tick in ticks(scale.low, scale.high, 6) {
        let place = scale.at(tick);
        writeln!(out, r#"<line class="grid" x1="{place:.1}" x2="{place:.1}" y1="4" y2="{bottom}"/>"#)?;
        writeln!(out, r#"<text x="{place:.1}" y="{}" text-anchor="middle">{}</text>"#, bottom + 18.0, short(tick))?;
    }
    for (index, row) in rows.iter().enumerate() {
        let middle = (index as f64 + 0.5) * ROW;
        writeln!(out, r#"<text x="0" y="{}">{}</text>"#, middle + 4.0, xml::text(row.name))?;
        if let Some(mean) = row.mean {
            let place = scale.at(mean);
            writeln!(
                out,
                r#"<line class="mean {}" stroke="currentColor" x1="{place:.1}" x2="{place:.1}" y1="{}" y2="{}"><title>mean {mean:.6}</title></line>"#,
                row.color,
                middle - 13.0,
                middle + 13.0
            )?;
        }
        for (seed, value) in row.seeds {
            writeln!(
                out,
                r#"<circle class="dot {}" cx="{:.1}" cy="{middle}" r="5"><title>seed {seed}: {value:.6}</title></circle>"#,
                row.color,
                scale.at(*value)
            )?;
        }
    }
    writeln!(out, "</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_a_dot_and_nothing_makes_no_picture() {
        let row = |seeds| Row { name: "claimed", color: "s0", seeds, mean: Some(1.15) };
        let svg = picture(&[row(&[(1, 1.1), (2, 1.2)]), Row { mean: None, ..row(&[]) }]).unwrap().to_string();
        assert_eq!(svg.matches("<circle").count(), 2);
        // The mean lies in the middle between the two.
        let middle = LEFT + (WIDTH - RIGHT - LEFT) / 2.0;
        assert!(svg.contains(&format!(r#"x1="{middle:.1}" x2="{middle:.1}" y1="7""#)), "{svg}");
        assert!(picture(&[Row { mean: None, ..row(&[]) }]).is_none());
    }
}
