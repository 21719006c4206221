//! Training as its own files tell it: loss and validation over steps and over time, and what the schedule did when.

use super::line_chart::{Across, Line, Mark, Picture};
use super::plot::{Panel, Plot};
use crate::report::{Finite, Point, RunProfile};
use crate::train::{Trace, TraceStep};
use crate::units::group_digits;

/// Most points of a curve; more steps are averaged.
const MAX_POINTS: usize = 800;

/// The plot of a run: its trace, and what its log says of validation, where there is one.
pub fn training_plot(name: &str, trace: &Trace, log: Option<&RunProfile>) -> Plot {
    let steps = &trace.steps;
    let stride = steps.len().div_ceil(MAX_POINTS).max(1);
    let loss: Vec<Point> = steps.chunks(stride).filter_map(mean).collect();
    let empty = Vec::new();
    let validation = log.map_or(&empty, |log| &log.validation);
    let events = events(steps, log);
    let mut panels = Vec::new();
    for (title, what, points) in [
        ("Loss, nats per token", "Training loss", &loss),
        ("Validation, bits per byte", "Validation bits per byte", validation),
    ] {
        for across in [Across::Steps, Across::Seconds] {
            let title = match (title, across) {
                ("Loss, nats per token", Across::Seconds) => "Loss over time",
                (_, Across::Seconds) => "Validation over time",
                (title, _) => title,
            };
            let marks: Vec<Mark> = events.iter().map(|event| event.mark(across)).collect();
            let lines = [Line { name: what, color: usize::from(what != "Training loss"), is_behind: false, points }];
            let picture = Picture { what, across, lines: &lines, marks: &marks }.draw();
            panels.extend(picture.map(|picture| Panel { title, picture }));
        }
    }
    let mut numbers = vec![(group_digits(steps.len() as i128), "steps")];
    if let Some(last) = steps.last() {
        numbers.push((format!("{:.1} s", last.end_ms / 1000.0), "of training"));
        numbers.push((format!("{:.4}", last.loss), "last loss, nats per token"));
    }
    numbers.extend(validation.last().map(|last| (format!("{:.4}", last.2.get()), "validation, bits per byte")));
    let mut notes: Vec<String> = events.iter().map(Event::words).collect();
    if stride > 1 {
        notes.push(format!("A point of the loss is the mean of {stride} steps."));
    }
    Plot { kind: "Training", name: crate::escape::visible(name), numbers, panels, tables: Vec::new(), notes }
}

/// The mean of some steps, at the last of them.
fn mean(steps: &[TraceStep]) -> Option<Point> {
    let last = steps.last()?;
    let sum: f64 = steps.iter().map(|step| f64::from(step.loss)).sum();
    Some(Point(last.step + 1, Finite::new(last.end_ms / 1000.0), Finite::new(sum / steps.len() as f64)?))
}

/// Something that the schedule began.
struct Event {
    name: &'static str,
    about: &'static str,
    steps: u64,
    seconds: f64,
}

impl Event {
    fn mark(&self, across: Across) -> Mark {
        let at = if across == Across::Seconds { self.seconds } else { self.steps as f64 };
        Mark { name: self.name.to_string(), at }
    }

    fn words(&self) -> String {
        let Event { name, about, steps, seconds } = self;
        format!("{name}: {about} after {} steps and {seconds:.1} s.", group_digits(i128::from(*steps)))
    }
}

/// What begins, in the order of a schedule.
fn events(steps: &[TraceStep], log: Option<&RunProfile>) -> Vec<Event> {
    let first = |name, about, holds: fn(&TraceStep) -> bool| {
        let step = steps.iter().find(|step| holds(step))?;
        Some(Event { name, about, steps: step.step, seconds: step.elapsed_ms / 1000.0 })
    };
    let is_stopped = log.is_some_and(|log| log.events.iter().any(|(event, _)| *event == crate::report::Event::Stop));
    let stop = steps.last().filter(|_| is_stopped).map(|last| Event {
        name: "clock stops",
        about: "the cap on time ended training",
        steps: last.step + 1,
        seconds: last.end_ms / 1000.0,
    });
    [
        first("warm-down", "learning rates begin to fall", |step| step.lr_multiplier < 1.0),
        first("SWA", "the first snapshot of the average was taken", |step| step.swa),
        first("QAT", "training with quantized weights began", |step| step.qat),
        stop,
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentDigest;
    use crate::site::PlotFormat;
    use crate::train::Recipe;

    fn trace(steps: u64) -> Trace {
        let recipe = Recipe::from_json(serde_json::json!({}));
        let mut trace = Trace::new(ContentDigest::of(b"").sha256, recipe);
        let step = |step: u64| TraceStep {
            step,
            elapsed_ms: 500.0 * step as f64,
            lr_multiplier: if step < 60 { 1.0 } else { 0.5 },
            muon_momentum: 0.9,
            qat: step >= 90,
            qat_all_int6: false,
            swa: step >= 80 && step.is_multiple_of(10),
            phase: 0,
            batch_position: 0,
            loss: 1.0 + step as f32,
            grad_norm: 1.0,
            end_ms: 500.0 * (step + 1) as f64,
        };
        trace.steps = (0..steps).map(step).collect();
        trace
    }

    #[test]
    fn what_the_schedule_began_stands_where_it_began() {
        let found = events(&trace(100).steps, None);
        let places: Vec<(&str, u64, f64)> = found.iter().map(|e| (e.name, e.steps, e.seconds)).collect();
        assert_eq!(places, [("warm-down", 60, 30.0), ("SWA", 80, 40.0), ("QAT", 90, 45.0)]);
    }

    #[test]
    fn many_steps_are_averaged_and_none_is_left_out() {
        let trace = trace(2000);
        let stride = 2000usize.div_ceil(MAX_POINTS);
        let points: Vec<Point> = trace.steps.chunks(stride).filter_map(mean).collect();
        assert!(points.len() <= MAX_POINTS);
        // Losses are 1, 2, 3, ...: the mean of the first three is 2.
        assert_eq!((points[0].0, points[0].2.get()), (3, 2.0));
        assert_eq!(points.last().unwrap().0, 2000);
    }

    #[test]
    fn a_name_is_no_markup_in_either_format() {
        let plot = training_plot("</title><script>alert(1)</script>", &trace(100), None);
        for format in [PlotFormat::Html, PlotFormat::Svg] {
            let text = plot.render(format).unwrap();
            assert!(!text.contains("<script"), "{text}");
            assert!(text.contains("warm-down") && text.matches("<path class=\"line").count() == 2, "{text}");
        }
    }

    #[test]
    fn a_run_without_steps_is_said_to_have_none() {
        let page = training_plot("x", &trace(0), None).render(PlotFormat::Html).unwrap();
        assert!(page.contains("Too little"), "{page}");
    }
}
