//! The trade-off between bytes and loss, as text.

use std::fmt::Write;

use super::search::{CLASSES, Cost, Setting, Step};
use super::{Fitted, Group, Way};
use crate::artifact::report;
use crate::data::Calibration;
use crate::units::{Bytes, group_digits};

/// What the choice was made from.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Code plus model, as asked for.
    pub budget: Bytes,
    /// Code listed in the manifest.
    pub code: Bytes,
    /// What losses were measured on.
    pub calibration: Calibration,
    /// Loss of the unpacked weights, nats per token.
    pub loss_f32: f64,
    /// How integers are chosen on this curve.
    pub way: Way,
    /// What each way to choose integers would have come to.
    pub predictions: Vec<Prediction>,
    /// The groups.
    pub groups: Vec<Group>,
    /// What every class costs each group, by way to choose integers.
    pub costs: Vec<(Way, Vec<[Cost; CLASSES.len()]>)>,
    /// The path of this curve.
    pub steps: Vec<Step>,
    /// Measured points, from large to small.
    pub points: Vec<CurvePoint>,
    /// The choice.
    pub setting: Setting,
}

/// How near a way to choose integers comes to the choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The way.
    pub way: Way,
    /// Predicted damage of its best fit; `None` where nothing fits.
    pub damage: Option<f64>,
    /// Size of its smallest model whose predicted damage is not above that of the choice.
    pub bytes: Option<Bytes>,
}

/// A setting that was packed and measured.
#[derive(Clone, Debug, PartialEq)]
pub struct CurvePoint {
    /// Steps of the path taken.
    pub taken: usize,
    /// A step among them that was taken back.
    pub undone: Option<usize>,
    /// Whether this is what was chosen.
    pub is_choice: bool,
    /// Size of the model.
    pub bytes: Bytes,
    /// Sum of the steps' damages, nats per token.
    pub predicted: f64,
    /// Measured loss, nats per token.
    pub loss: f64,
    /// The classes.
    pub setting: Setting,
}

impl Curve {
    /// The chosen point.
    pub fn chosen(&self) -> Option<&CurvePoint> {
        self.points.iter().find(|point| point.is_choice)
    }

    /// Code plus model.
    pub fn total(&self, point: &CurvePoint) -> Bytes {
        Bytes(point.bytes.0.saturating_add(self.code.0))
    }

    /// The step that led to a point, and the one that was taken back there.
    fn changed(&self, point: &CurvePoint) -> String {
        let name = |step: &Step| self.groups.get(step.group).map_or("", |group| group.name.as_str());
        let last = point.taken.checked_sub(1).and_then(|last| self.steps.get(last));
        let mut text = last.map_or_else(
            || "everything in f16".to_string(),
            |step| format!("{} {} -> {}", name(step), CLASSES[step.from], CLASSES[step.to]),
        );
        if let Some(step) = point.undone.and_then(|undone| self.steps.get(undone)) {
            // Writing into a String cannot fail.
            let _ = write!(text, ", {} back to {}", name(step), CLASSES[step.from]);
        }
        text
    }
}

/// The table of the curve, then the report of the packed choice.
pub fn text(fitted: &Fitted, verbose: bool) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_curve(&mut out, &fitted.curve);
    out + "\n" + &report::text(&fitted.done, verbose)
}

fn write_curve(out: &mut String, curve: &Curve) -> std::fmt::Result {
    let calibration = &curve.calibration;
    let predictions = group_digits(calibration.predictions().into());
    writeln!(
        out,
        "calibration  {predictions} tokens of {}, windows of {}",
        calibration.path.display(),
        calibration.seq_len
    )?;
    if !calibration.compared {
        writeln!(out, "             the validation split is not here: told apart by names and recorded digests only")?;
    }
    writeln!(out, "f32          loss {:.6}\n", curve.loss_f32)?;
    writeln!(
        out,
        "  {:>12}  {:>9}  {:>9}  {:>9}  {:>4} {:>4} {:>4} {:>4}  last step",
        "code + model", "loss", "to f32", "predicted", "f16", "int8", "int6", "int5"
    )?;
    for point in &curve.points {
        let mark = if point.is_choice { '>' } else { ' ' };
        let total = curve.total(point);
        let (delta, predicted) = (point.loss - curve.loss_f32, point.predicted);
        write!(out, "{mark} {total:>12}  {:>9.6}  {delta:>+9.6}  {predicted:>+9.6} ", point.loss)?;
        for class in 0..CLASSES.len() {
            let count = point.setting.iter().filter(|&&own| own == class).count();
            write!(out, " {count:>4}")?;
        }
        writeln!(out, "  {}", curve.changed(point))?;
    }
    write!(out, "\nscales       {}", curve.way)?;
    for Prediction { way, damage, bytes } in curve.predictions.iter().filter(|other| other.way != curve.way) {
        match damage {
            Some(damage) => write!(out, "; {way} would be at {damage:+.6} predicted")?,
            None => write!(out, "; {way} does not fit")?,
        }
        if let Some(bytes) = bytes {
            write!(out, ", or take {} bytes at this loss", Bytes(bytes.0.saturating_add(curve.code.0)))?;
        }
    }
    let total = curve.chosen().map_or(Bytes(0), |point| curve.total(point));
    let left = group_digits(total.margin_to(curve.budget));
    writeln!(out, "\nfit          {total} of {} bytes, {left} left", curve.budget)
}

/// One line for `--quiet`.
pub fn summary(fitted: &Fitted) -> String {
    let curve = &fitted.curve;
    let delta = curve.chosen().map_or(0.0, |point| point.loss - curve.loss_f32);
    format!("{}; {delta:+.6} nats a token to f32 on the calibration sample", report::summary(&fitted.done))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentDigest;
    use crate::fit::{picture, search};
    use crate::quant::ScaleSearch;

    /// Two groups, three steps, the second of which was taken back at the choice.
    fn curve() -> Curve {
        let cost = |bytes, damage| Cost { bytes, damage };
        let group = |name: &str, member| Group { name: name.into(), members: vec![member] };
        let costs = vec![
            [cost(2_000_000, 0.0), cost(1_100_000, 0.0002), cost(800_000, 0.001), cost(650_000, 0.009)],
            [cost(400_000, 0.0), cost(220_000, 0.0001), cost(230_000, 0.0003), cost(210_000, 0.02)],
        ];
        let steps = search::path(&costs);
        let point = |taken: usize, undone: Option<usize>, bytes, loss| {
            let mut setting = search::setting(2, &steps, taken);
            if let Some(step) = undone.and_then(|undone| steps.get(undone)) {
                setting[step.group] = step.from;
            }
            let damage = |step: usize| steps.get(step).map_or(0.0, |step| step.damage);
            let predicted = (0..taken).map(damage).fold(0.0, |a, b| a + b) - undone.map_or(0.0, damage);
            let is_choice = undone.is_some();
            CurvePoint { taken, undone, is_choice, bytes: Bytes(bytes), predicted, loss, setting }
        };
        Curve {
            budget: Bytes(1_600_000),
            code: Bytes(56_721),
            calibration: Calibration {
                path: "data/fineweb_train_000001.bin".into(),
                digest: ContentDigest::of(b""),
                tokens: vec![0; 16_400],
                seq_len: 2048,
                compared: false,
            },
            loss_f32: 2.052,
            way: Way::Search(ScaleSearch::Mse),
            predictions: vec![
                Prediction { way: Way::Search(ScaleSearch::Max), damage: None, bytes: None },
                Prediction {
                    way: "clip_search/gptq".parse().unwrap(),
                    damage: Some(0.0013),
                    bytes: Some(Bytes(1_234_567)),
                },
                Prediction { way: Way::Search(ScaleSearch::Mse), damage: Some(0.0011), bytes: Some(Bytes(1_203_400)) },
            ],
            groups: vec![group("tok_emb.weight", 0), group("blocks.0.mlp.*", 3)],
            costs: vec![(Way::Search(ScaleSearch::Mse), costs)],
            points: vec![
                point(0, None, 2_401_000, 2.051_998),
                point(1, None, 1_501_200, 2.052_201),
                point(3, Some(1), 1_203_400, 2.053_4),
                point(4, None, 861_000, 2.081),
            ],
            setting: vec![2, 0],
            steps,
        }
    }

    #[test]
    fn the_table_says_what_each_point_costs_and_what_changed() {
        let mut text = String::new();
        write_curve(&mut text, &curve()).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_picture_is_well_formed_and_marks_one_choice() {
        let picture = picture::svg(&curve());
        let document = roxmltree::Document::parse(&picture).unwrap();
        let circles = |class: &str| {
            let is_one = |node: &roxmltree::Node<'_, '_>| node.attribute("class") == Some(class);
            document.descendants().filter(is_one).count()
        };
        assert_eq!((circles("choice"), circles("point"), circles("budget"), circles("curve")), (1, 3, 1, 1));
        assert!(!picture.contains("NaN") && !picture.contains("href"), "{picture}");
        // A single point has no extent, and is drawn all the same.
        let mut single = curve();
        single.points.truncate(1);
        assert!(!picture::svg(&single).contains("NaN"));
    }
}
