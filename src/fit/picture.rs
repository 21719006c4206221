//! The curve as a picture: self-contained SVG, the same bytes for the same curve, readable on light and dark.

use std::fmt::Write;

use super::{Curve, CurvePoint};
use crate::units::group_digits;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Space for labels: left, right, top, bottom.
const MARGINS: [f64; 4] = [84.0, 48.0, 44.0, 52.0];
/// Lines of the grid in either direction, ends included.
const TICKS: u32 = 5;

const STYLE: &str = "\
svg{--ink:#1f2328;--faint:#d0d7de;--line:#0969da;--mark:#cf222e;--paper:#ffffff}\
@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--faint:#30363d;--line:#58a6ff;--mark:#ff7b72;--paper:#0d1117}}\
text{fill:var(--ink);font:12px system-ui,sans-serif}.grid{stroke:var(--faint)}\
.curve{fill:none;stroke:var(--line);stroke-width:2}.point{fill:var(--line)}.choice{fill:var(--mark)}\
.budget{stroke:var(--mark);stroke-dasharray:4 4}";

/// Total bytes to the right, loss above f32 upwards, with the budget and the choice.
pub fn svg(curve: &Curve) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = draw(&mut out, curve);
    out
}

/// Values along one axis and where they lie in the picture.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        // A single value still needs a width to divide by.
        if high > low { Axis { low, high, from, to } } else { Axis { low: low - 0.5, high: low + 0.5, from, to } }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..TICKS).map(|i| self.low + (self.high - self.low) * f64::from(i) / f64::from(TICKS - 1))
    }
}

fn draw(out: &mut String, curve: &Curve) -> std::fmt::Result {
    let [left, right, top, bottom] = MARGINS;
    let bytes = |point: &CurvePoint| curve.total(point).0 as f64;
    let delta = |point: &CurvePoint| point.loss - curve.loss_f32;
    let budget = curve.budget.0 as f64;
    let x = Axis::new(curve.points.iter().map(bytes), left, WIDTH - right);
    let y = Axis::new(curve.points.iter().map(delta), HEIGHT - bottom, top);

    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\
         <title>Loss against bytes</title><style>{STYLE}</style>\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"var(--paper)\"/>"
    )?;
    for value in x.ticks() {
        let at = x.at(value);
        let label = group_digits(value.round() as i128);
        writeln!(out, "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{:.1}\"/>", y.from)?;
        let below = y.from + 18.0;
        writeln!(out, "<text x=\"{at:.1}\" y=\"{below:.1}\" text-anchor=\"middle\">{label}</text>")?;
    }
    for value in y.ticks() {
        let at = y.at(value);
        writeln!(out, "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>", x.to)?;
        let (beside, on) = (left - 8.0, at + 4.0);
        writeln!(out, "<text x=\"{beside:.1}\" y=\"{on:.1}\" text-anchor=\"end\">{value:+.5}</text>")?;
    }
    writeln!(
        out,
        "<text x=\"{left}\" y=\"22\">calibration loss above f32, nats per token; scales {}</text>",
        curve.way
    )?;
    let (middle, low) = ((left + x.to) / 2.0, HEIGHT - 10.0);
    writeln!(out, "<text x=\"{middle:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">code + model, bytes</text>")?;

    let place = |point: &CurvePoint| format!("{:.1},{:.1}", x.at(bytes(point)), y.at(delta(point)));
    let line: Vec<String> = curve.points.iter().map(place).collect();
    writeln!(out, "<polyline class=\"curve\" points=\"{}\"/>", line.join(" "))?;
    if (x.low..=x.high).contains(&budget) {
        let at = x.at(budget);
        writeln!(out, "<line class=\"budget\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{:.1}\"/>", y.from)?;
    }
    for point in &curve.points {
        let (class, radius) = if point.is_choice { ("choice", 6) } else { ("point", 4) };
        let (cx, cy) = (x.at(bytes(point)), y.at(delta(point)));
        writeln!(
            out,
            "<circle class=\"{class}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"{radius}\">\
             <title>{} bytes, {:+.6} nats{}</title></circle>",
            curve.total(point),
            delta(point),
            if point.is_choice { ", chosen" } else { "" }
        )?;
    }
    writeln!(out, "</svg>")
}
