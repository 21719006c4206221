use super::*;

/// What is found in a script: order, line of the step, lines shown, switch.
fn found(text: &str) -> Vec<(Order, u64)> {
    let python = Python::parse(text).unwrap();
    assert!(python.syntax_errors().is_empty(), "{:?}", python.syntax_errors());
    of(&python, &Settings::of(&python)).iter().map(|a| (a.order, python.line(a.at))).collect()
}

fn orders(text: &str) -> Vec<Order> {
    found(text).into_iter().map(|(order, _)| order).collect()
}

/// Scripts of a kind, one a paragraph between lines of dashes.
fn all_are(kind: Option<Order>, scripts: &str) {
    for script in scripts.split("\n# ----\n") {
        let found = orders(script);
        match kind {
            None => assert!(found.is_empty(), "{found:?} in\n{script}"),
            Some(kind) => assert!(
                !found.is_empty() && found.iter().all(|order| *order == kind),
                "{found:?}, not {kind:?}, in\n{script}"
            ),
        }
    }
}

#[test]
fn text_that_is_scored_before_a_step_sees_it_is_lawful() {
    all_are(Some(Order::ScoresFirst), include_str!("honest.py"));
}

#[test]
fn training_before_scoring_is_found() {
    all_are(Some(Order::TrainsFirst), include_str!("trains_first.py"));
}

#[test]
fn several_passes_are_found() {
    all_are(Some(Order::SeveralPasses), include_str!("several_passes.py"));
}

#[test]
fn evaluation_and_training_without_adaptation_are_nothing() {
    all_are(None, include_str!("neither.py"));
}

#[test]
fn an_offset_optimized_on_what_it_scores_is_told_from_weights() {
    let python = Python::parse(include_str!("slot.py")).unwrap();
    let found = of(&python, &Settings::of(&python));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].of_offset && found[0].order == Order::TrainsFirst, "{found:?}");
    // The line of the step and the line of the score.
    assert_eq!(found[0].places.iter().map(|at| python.line(*at)).collect::<Vec<_>>(), [13, 15]);
}

#[test]
fn a_setting_that_is_off_is_named() {
    let script = "TTT_ENABLED = int(os.environ.get('TTT_ENABLED', '0'))\ndef eval_ttt(model, val_tokens, opt):\n    \
                  model(val_tokens).backward()\n    opt.step()\n    nll_sum = 0.0\n    nll_sum += \
                  model(val_tokens)\n    return nll_sum\ndef main():\n    if TTT_ENABLED:\n        \
                  print(eval_ttt(model, val_tokens, opt))\nmain()\n";
    let switch = |text: &str| {
        let python = Python::parse(text).unwrap();
        of(&python, &Settings::of(&python)).into_iter().map(|found| found.switch).collect::<Vec<_>>()
    };
    assert_eq!(switch(script), [Some("TTT_ENABLED".to_string())]);
    assert_eq!(switch(&script.replace("'0'", "'1'")), [None]);
}

#[test]
fn offsets_in_other_styles_are_told_from_adaptation() {
    for script in include_str!("slots.py").split("\n# ----\n") {
        let python = Python::parse(script).unwrap();
        let found = of(&python, &Settings::of(&python));
        let slot = |found: &Adaptation| found.of_offset && found.order != Order::ScoresFirst;
        assert!(found.iter().any(slot), "{found:?} in\n{script}");
    }
}
