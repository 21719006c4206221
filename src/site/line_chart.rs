//! Curves as SVG that is whole before any browser sees it: for pages without a script.

use std::fmt::Write;

use super::svg::{Scale, Svg, ticks};
use crate::escape::xml;
use crate::report::Point;
use crate::units::group_digits;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Colors of the style.
const COLORS: usize = 6;
/// Strokes beside the colors: lines are told apart without them too.
const DASHES: [&str; COLORS] = ["", "6 3", "2 3", "8 3 2 3", "", "6 3"];
/// The fall of the first steps is the same for everybody, and hides what follows.
const FALL: f64 = 0.08;
/// Of what follows, the part that decides the height.
const SHOWN: f64 = 0.985;
/// Up to so many points are marked.
const MARKED: usize = 12;

/// A line of the picture.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub name: &'a str,
    /// Its color, counted from 0.
    pub color: usize,
    /// What others are compared with: thinner.
    pub is_behind: bool,
    pub points: &'a [Point],
}

impl Line<'_> {
    pub fn color_class(&self) -> String {
        color_class(self.color)
    }
}

/// The class of a color of the style.
pub(super) fn color_class(color: usize) -> String {
    format!("s{}", color % COLORS)
}

/// The lines over steps; nothing where no line has two points.
pub(super) fn picture(what: &str, lines: &[Line]) -> Option<Svg> {
    let drawn: Vec<&Line> = lines.iter().filter(|line| line.points.len() > 1).collect();
    let end = drawn.iter().flat_map(|line| line.points).map(|point| point.0).max().filter(|end| *end > 0)? as f64;
    let (low, high) = heights(&drawn, end)?;
    let room = 0.06 * if high > low { high - low } else { 0.1 };
    let x = Scale { low: 0.0, high: end, from: LEFT, to: WIDTH - RIGHT };
    let y = Scale { low: low - room, high: high + room, from: HEIGHT - BOTTOM, to: TOP };
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_picture(&mut out, what, &drawn, &x, &y);
    Some(Svg(out))
}

/// The least and the greatest value to show.
fn heights(lines: &[&Line], end: f64) -> Option<(f64, f64)> {
    let all = || lines.iter().flat_map(|line| line.points);
    let mut values: Vec<f64> = all().filter(|point| point.0 as f64 >= FALL * end).map(|point| point.2.get()).collect();
    if values.len() <= 3 {
        values = all().map(|point| point.2.get()).collect();
    }
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some((values[0], values[((last as f64 * SHOWN).round() as usize).min(last)]))
}

fn write_picture(out: &mut String, what: &str, lines: &[&Line], x: &Scale, y: &Scale) -> std::fmt::Result {
    let ends: Vec<String> =
        lines.iter().filter_map(|line| Some(format!("{} {:.4}", line.name, line.points.last()?.2.get()))).collect();
    let label = format!("{what} over steps, ending at {}", ends.join(", "));
    writeln!(
        out,
        r#"<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
        xml::text(&label)
    )?;
    let bottom = HEIGHT - BOTTOM;
    let right = WIDTH - RIGHT;
    for tick in ticks(y.low, y.high, 5) {
        let place = y.at(tick);
        writeln!(out, r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{place:.1}" y2="{place:.1}"/>"#)?;
        let text = super::svg::short(tick);
        writeln!(out, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#, LEFT - 8.0, place + 4.0)?;
    }
    for tick in ticks(x.low, x.high, 6) {
        let place = x.at(tick);
        writeln!(out, r#"<line class="axis" x1="{place:.1}" x2="{place:.1}" y1="{bottom}" y2="{}"/>"#, bottom + 5.0)?;
        let text = group_digits(tick as i128);
        writeln!(out, r#"<text x="{place:.1}" y="{}" text-anchor="middle">{text}</text>"#, bottom + 19.0)?;
    }
    writeln!(out, r#"<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>"#)?;
    writeln!(out, r#"<text x="{right}" y="{}" text-anchor="end">steps</text>"#, HEIGHT - 5.0)?;
    // A window of its own cuts off what is above the height shown.
    let (width, height) = (right - LEFT, bottom);
    writeln!(out, r#"<svg x="{LEFT}" y="0" width="{width}" height="{height}" viewBox="{LEFT} 0 {width} {height}">"#)?;
    for line in lines {
        write_line(out, line, x, y)?;
    }
    writeln!(out, "</svg>\n</svg>")
}

fn write_line(out: &mut String, line: &Line, x: &Scale, y: &Scale) -> std::fmt::Result {
    let color = line.color_class();
    let behind = if line.is_behind { " other" } else { "" };
    let dash = DASHES[line.color % COLORS];
    write!(out, r#"<path class="line {color}{behind}" stroke="currentColor" stroke-dasharray="{dash}" d=""#)?;
    for (index, point) in line.points.iter().enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        write!(out, "{letter}{:.1},{:.1}", x.at(point.0 as f64), y.at(point.2.get()))?;
    }
    writeln!(out, r#""><title>{}</title></path>"#, xml::text(line.name))?;
    if line.points.len() <= MARKED {
        for point in line.points {
            let tip = format!("{}, step {}: {:.5}", line.name, group_digits(i128::from(point.0)), point.2.get());
            writeln!(
                out,
                r#"<circle class="dot {color}" cx="{:.1}" cy="{:.1}" r="3"><title>{}</title></circle>"#,
                x.at(point.0 as f64),
                y.at(point.2.get()),
                xml::text(&tip)
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Finite;

    fn points(values: &[(u64, f64)]) -> Vec<Point> {
        values.iter().map(|(step, value)| Point(*step, None, Finite::new(*value).unwrap())).collect()
    }

    #[test]
    fn a_line_goes_from_the_first_step_to_the_last_and_lower_values_lie_lower() {
        let course = points(&[(0, 4.0), (50, 2.0), (100, 1.0)]);
        let line = Line { name: "a <b>", color: 0, is_behind: false, points: &course };
        let svg = picture("Loss", &[line]).unwrap().to_string();
        assert!(svg.contains("a &lt;b&gt; 1.0000") && !svg.contains("<b>"), "{svg}");
        let path = svg.split(" d=\"M").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let places: Vec<(f64, f64)> = path
            .split('L')
            .map(|place| place.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert_eq!((places[0].0, places[1].0, places[2].0), (LEFT, (LEFT + WIDTH - RIGHT) / 2.0, WIDTH - RIGHT));
        // Down is the greater number.
        assert!(places[0].1 < places[1].1 && places[1].1 < places[2].1, "{places:?}");
    }

    #[test]
    fn one_point_makes_no_curve() {
        let course = points(&[(0, 4.0)]);
        assert!(picture("Loss", &[Line { name: "a", color: 0, is_behind: false, points: &course }]).is_none());
    }
}
