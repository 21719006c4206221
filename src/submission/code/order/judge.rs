//! One step against the scores around it.

use ruff_text_size::TextSize;

use super::Order;
use super::event::{Event, Loop, What};
use super::words::is_score;

/// Loops that two places are both in.
fn common(a: &Event, b: &Event) -> usize {
    a.loops.iter().zip(&b.loops).take_while(|(a, b)| a == b).count()
}

/// Scores kept before the step in a loop around both, and scores kept after it.
fn around<'a>(step: &Event, events: &'a [Event]) -> (Vec<&'a Event>, Vec<&'a Event>) {
    let scores = events.iter().filter(|event| event.what == What::Score);
    scores.partition(|score| score.computed < step.at)
}

/// How a step stands to the scores around it; `None` where nothing is scored in the function.
pub fn order(step: &Event, events: &[Event], loops: &[Loop]) -> Option<Order> {
    let (before, after) = around(step, events);
    if before.is_empty() && after.is_empty() {
        return None;
    }
    let several = |score: &&Event| {
        let shared = &step.loops[..common(step, score)];
        !score.first_pass_only && shared.iter().any(|at| loops.get(*at).is_some_and(|found| found.repeats))
    };
    if !step.of_past && before.iter().chain(&after).any(several) {
        return Some(Order::SeveralPasses);
    }
    // An offset that starts anew in each turn is fitted to the text of this turn: nothing else can use it.
    let fitted = |score: &&Event| step.made_in > 0 && common(step, score) == step.made_in;
    if step.of_offset && !step.of_past && before.iter().any(fitted) {
        return Some(Order::TrainsFirst);
    }
    // In the innermost loop around the step that also scores, is the score first?
    let protected = before.iter().map(|score| common(step, score)).max();
    let exposed = after.iter().map(|score| common(step, score)).max();
    // Documents scored, trained on, and then other documents scored: the text goes by a name the later score lacks.
    // What a model made of the text is named anew at every turn.
    let made = |name: &String| is_score(name) || matches!(name.as_str(), "logits" | "out" | "output" | "hidden" | "h");
    let own =
        |score: &&Event| step.text.intersection(&score.text).filter(|name| !made(name)).cloned().collect::<Vec<_>>();
    let other_text = !after.is_empty()
        && before.iter().flat_map(own).any(|name| after.iter().all(|score| !score.text.contains(&name)));
    // All of it in a second loop over the same: text that was trained on is scored again.
    let shared: Vec<String> = before.iter().flat_map(own).collect();
    let again = |score: &&Event| {
        let apart = common(step, score);
        let over =
            |event: &Event| event.loops.get(apart).and_then(|at| loops.get(*at)).map(|found| found.over.as_str());
        let same = matches!((over(step), over(score)), (Some(a), Some(b)) if a == b && !a.is_empty());
        same && !shared.is_empty() && shared.iter().all(|name| score.text.contains(name))
    };
    if !step.of_past && protected > Some(0) && after.iter().any(again) {
        return Some(Order::TrainsFirst);
    }
    let order = match (protected, exposed) {
        _ if other_text => Order::ScoresFirst,
        _ if step.of_past => Order::ScoresFirst,
        (_, None) => Order::ScoresFirst,
        (None, Some(_)) => Order::TrainsFirst,
        // Validation during training says nothing about the pass that counts.
        (Some(0), Some(_)) => Order::TrainsFirst,
        (Some(before), Some(after)) if after > before => Order::TrainsFirst,
        // Scored, trained on, and scored once more.
        (Some(before), Some(after)) if after == before => Order::TrainsFirst,
        (Some(_), Some(_)) => Order::ScoresFirst,
    };
    Some(order)
}

/// The lines that show it.
pub fn places(step: &Event, events: &[Event], loops: &[Loop], order: Order) -> Vec<TextSize> {
    let (before, after) = around(step, events);
    let mut places = vec![step.at, step.computed];
    match order {
        Order::TrainsFirst => places.extend(after.first().or(before.last()).map(|score| score.at)),
        Order::ScoresFirst => places.extend(before.last().map(|score| score.at)),
        Order::SeveralPasses => {
            let repeating = step.loops.iter().filter_map(|at| loops.get(*at)).find(|found| found.repeats);
            places.extend(repeating.map(|found| found.at));
            places.extend(before.iter().chain(&after).map(|score| score.at).take(2));
        }
    }
    places
}
