//! Curves as SVG that is whole before any browser sees it: for pages without a script, and for files by themselves.

use std::fmt::Write;

use super::svg::{Scale, Svg, ticks};
use crate::escape::xml;
use crate::report::{Finite, Point};
use crate::units::group_digits;

/// Size of a picture, in its own units.
pub(super) const WIDTH: f64 = 640.0;
/// See [`WIDTH`].
pub(super) const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
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
/// Radius of such a mark.
const DOT: f64 = 3.0;
/// Marks whose words would lie over each other go to lines of their own, so many at most.
const MARK_ROWS: usize = 4;
/// Height of such a line, and width of a letter of it.
const MARK_ROW: f64 = 15.0;
const MARK_LETTER: f64 = 7.0;

/// What lies along the horizontal axis.
#[cfg_attr(not(feature = "engine"), allow(dead_code, reason = "plots of runs made here have the others"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Across {
    /// Steps of training.
    Steps,
    /// Seconds of training; points without a time are left out.
    Seconds,
    /// Places in a window, counted from 0.
    Places,
    /// Documents in the order of the split.
    Documents,
    /// Percent of the documents.
    Percent,
}

impl Across {
    fn name(self) -> &'static str {
        match self {
            Across::Steps => "steps",
            Across::Seconds => "seconds of training",
            Across::Places => "place in the window",
            Across::Documents => "documents, in the order of the split",
            Across::Percent => "percent of the documents",
        }
    }

    fn place(self, point: &Point) -> Option<f64> {
        match self {
            Across::Seconds => point.1.map(Finite::get),
            _ => Some(point.0 as f64),
        }
    }

    /// What a place is called beside a value.
    fn tip(self, place: f64) -> String {
        let count = group_digits(place.round() as i128);
        match self {
            Across::Steps => format!("step {count}"),
            Across::Seconds => format!("{place:.1} s"),
            Across::Places => format!("place {count}"),
            Across::Documents => format!("document {count}"),
            Across::Percent => format!("{count} %"),
        }
    }

    /// Whether single values may be cut off: those of single steps say little.
    fn is_course(self) -> bool {
        matches!(self, Across::Steps | Across::Seconds)
    }

    /// Whether the beginning may be cut off: it falls steeply and alike in every run.
    fn falls(self) -> bool {
        matches!(self, Across::Steps | Across::Seconds | Across::Places)
    }
}

/// Something that happens at a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    /// What, in a word or two.
    pub name: String,
    /// Where, in the units of the axis.
    pub at: f64,
}

/// A picture to draw.
pub(super) struct Picture<'a> {
    /// What the values are, for those who do not see it.
    pub what: &'a str,
    pub across: Across,
    pub lines: &'a [Line<'a>],
    pub marks: &'a [Mark],
}

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

/// A line as it is drawn.
struct Drawn<'a> {
    line: &'a Line<'a>,
    places: Vec<(f64, f64)>,
}

impl Picture<'_> {
    /// The picture; nothing where no line has two points.
    pub fn draw(&self) -> Option<Svg> {
        let place = |point: &Point| Some((self.across.place(point)?, point.2.get()));
        let drawn =
            self.lines.iter().map(|line| Drawn { line, places: line.points.iter().filter_map(place).collect() });
        let drawn: Vec<Drawn> = drawn.filter(|drawn| drawn.places.len() > 1).collect();
        let end = drawn.iter().flat_map(|drawn| &drawn.places).map(|place| place.0).reduce(f64::max);
        let end = end.filter(|end| *end > 0.0)?;
        let (low, high) = self.heights(&drawn, end)?;
        let room = 0.06 * if high > low { high - low } else { 0.1 };
        let x = Scale { low: 0.0, high: end, from: LEFT, to: WIDTH - RIGHT };
        let y = Scale { low: low - room, high: high + room, from: HEIGHT - BOTTOM, to: TOP };
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write(&mut out, &drawn, &x, &y);
        Some(Svg(out))
    }

    /// The least and the greatest value to show.
    fn heights(&self, lines: &[Drawn], end: f64) -> Option<(f64, f64)> {
        let all = || lines.iter().flat_map(|line| &line.places);
        let from = if self.across.falls() { FALL * end } else { 0.0 };
        let shown = if self.across.is_course() { SHOWN } else { 1.0 };
        let mut values: Vec<f64> = all().filter(|place| place.0 >= from).map(|place| place.1).collect();
        if values.len() <= 3 {
            values = all().map(|place| place.1).collect();
        }
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        Some((values[0], values[((last as f64 * shown).round() as usize).min(last)]))
    }

    fn write(&self, out: &mut String, lines: &[Drawn], x: &Scale, y: &Scale) -> std::fmt::Result {
        let end = |drawn: &Drawn| Some(format!("{} {:.4}", drawn.line.name, drawn.places.last()?.1));
        let ends: Vec<String> = lines.iter().filter_map(end).collect();
        let label = format!("{} over {}, ending at {}", self.what, self.across.name(), ends.join(", "));
        writeln!(
            out,
            r#"<svg class="chart still" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
            xml::attribute(&label)
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
            writeln!(
                out,
                r#"<line class="axis" x1="{place:.1}" x2="{place:.1}" y1="{bottom}" y2="{}"/>"#,
                bottom + 5.0
            )?;
            // The last of them would stick out.
            let anchor = if place > right - 24.0 { "end" } else { "middle" };
            let text = if x.high < 10.0 { super::svg::short(tick) } else { group_digits(tick as i128) };
            writeln!(out, r#"<text x="{place:.1}" y="{}" text-anchor="{anchor}">{text}</text>"#, bottom + 19.0)?;
        }
        writeln!(out, r#"<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>"#)?;
        writeln!(out, r#"<text x="{right}" y="{}" text-anchor="end">{}</text>"#, HEIGHT - 5.0, self.across.name())?;
        self.write_marks(out, x)?;
        // A window of its own cuts off what is above the height shown.
        let (left, width, height) = (LEFT - DOT, right - LEFT + 2.0 * DOT, bottom);
        writeln!(
            out,
            r#"<svg x="{left}" y="0" width="{width}" height="{height}" viewBox="{left} 0 {width} {height}">"#
        )?;
        for drawn in lines {
            self.write_line(out, drawn, x, y)?;
        }
        writeln!(out, "</svg>\n</svg>")
    }

    /// A line from top to bottom for each mark, its words beside it, on a row where they lie over no others.
    fn write_marks(&self, out: &mut String, x: &Scale) -> std::fmt::Result {
        let mut ends = [f64::NEG_INFINITY; MARK_ROWS];
        let mut marks: Vec<&Mark> = self.marks.iter().filter(|mark| (x.low..=x.high).contains(&mark.at)).collect();
        marks.sort_by(|a, b| a.at.total_cmp(&b.at));
        for mark in marks {
            let (place, wide) = (x.at(mark.at), mark.name.chars().count() as f64 * MARK_LETTER);
            let is_right = place + 5.0 + wide > WIDTH - RIGHT;
            let (from, anchor) = if is_right { (place - 5.0, "end") } else { (place + 5.0, "start") };
            let begin = if is_right { from - wide } else { from };
            let row = ends.iter().position(|end| *end < begin).unwrap_or(MARK_ROWS - 1);
            ends[row] = begin + wide;
            let (bottom, name) = (HEIGHT - BOTTOM, xml::text(&mark.name));
            writeln!(out, r#"<line class="mark-line" x1="{place:.1}" x2="{place:.1}" y1="{TOP}" y2="{bottom}"/>"#)?;
            writeln!(
                out,
                r#"<text class="mark-text" x="{from:.1}" y="{:.1}" text-anchor="{anchor}">{name}</text>"#,
                TOP + 10.0 + row as f64 * MARK_ROW
            )?;
        }
        Ok(())
    }

    fn write_line(&self, out: &mut String, drawn: &Drawn, x: &Scale, y: &Scale) -> std::fmt::Result {
        let Drawn { line, places } = drawn;
        let color = line.color_class();
        let behind = if line.is_behind { " other" } else { "" };
        let dash = DASHES[line.color % COLORS];
        write!(out, r#"<path class="line {color}{behind}" stroke="currentColor" stroke-dasharray="{dash}" d=""#)?;
        for (index, (along, value)) in places.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            write!(out, "{letter}{:.1},{:.1}", x.at(*along), y.at(*value))?;
        }
        writeln!(out, r#""><title>{}</title></path>"#, xml::text(line.name))?;
        if places.len() <= MARKED {
            for (along, value) in places {
                let tip = format!("{}, {}: {value:.5}", line.name, self.across.tip(*along));
                writeln!(
                    out,
                    r#"<circle class="dot {color}" cx="{:.1}" cy="{:.1}" r="{DOT}"><title>{}</title></circle>"#,
                    x.at(*along),
                    y.at(*value),
                    xml::text(&tip)
                )?;
            }
        }
        Ok(())
    }
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
        let marks = [Mark { name: "averages <i>".into(), at: 50.0 }, Mark { name: "beyond".into(), at: 101.0 }];
        let picture = Picture { what: "Loss", across: Across::Steps, lines: &[line], marks: &marks };
        let svg = picture.draw().unwrap().to_string();
        assert!(svg.contains("averages &lt;i&gt;") && !svg.contains("beyond"), "{svg}");
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
        let lines = [Line { name: "a", color: 0, is_behind: false, points: &course }];
        assert!(Picture { what: "Loss", across: Across::Steps, lines: &lines, marks: &[] }.draw().is_none());
    }

    #[test]
    fn points_without_a_time_are_not_drawn_over_seconds() {
        let finite = |value| Finite::new(value).unwrap();
        let course = [(0, None), (1, Some(10.0)), (2, Some(30.0)), (3, Some(20.0))]
            .map(|(step, seconds): (u64, Option<f64>)| Point(step, seconds.map(finite), finite(1.0)));
        let lines = [Line { name: "a", color: 0, is_behind: false, points: &course }];
        let svg =
            Picture { what: "Loss", across: Across::Seconds, lines: &lines, marks: &[] }.draw().unwrap().to_string();
        assert_eq!(svg.matches("<circle").count(), 3);
        // A third of the time lies at a third of the width.
        let third = LEFT + (WIDTH - RIGHT - LEFT) / 3.0;
        assert!(svg.contains(&format!(r#"cx="{third:.1}""#)), "{svg}");
    }
}
