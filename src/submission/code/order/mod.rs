//! In which order validation text is scored and trained on.
//!
//! Test-time training is lawful on text already scored (condition 3 of issue 1017). Names do not tell lawful from
//! unlawful code; the order does. Each function is read as a list of events in the order of its lines (`events`):
//! scores kept, optimizer steps after a backward pass through validation text, calls of other functions of the file.
//! Here the lists are put together over calls, and every step is held against the scores around it.

mod calls;
mod event;
mod events;
mod judge;
mod shapes;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Stmt, StmtFunctionDef};
use ruff_text_size::TextSize;

use self::event::{Event, Flow, Passed, What};
pub use self::words::{is_validation, mentioned};
use super::Python;
use super::settings::Settings;

/// How steps and scores are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Text is trained on, then scored.
    TrainsFirst,
    /// Several passes over the text, training in each, and a score of a pass after the first is kept.
    SeveralPasses,
    /// Text is scored, then trained on.
    ScoresFirst,
}

/// One place where weights adapt to validation text.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptation {
    /// What was first.
    pub order: Order,
    /// The step.
    pub at: TextSize,
    /// What was seen, in the order of lines: the step, the scores, the loops.
    pub places: Vec<TextSize>,
    /// An offset for the sample is optimized, not the model (SLOT).
    pub of_offset: bool,
    /// A setting that is off by default stands around it.
    pub switch: Option<String>,
}

/// Rounds over the calls: deeper chains of functions than this are not followed.
const ROUNDS: usize = 5;

/// All adaptations in a file, by place.
pub fn of(python: &Python, settings: &Settings) -> Vec<Adaptation> {
    Orders::of(python, settings).adaptations()
}

/// What calling a function does to the validation text handed over.
#[derive(Clone, Debug, Default, PartialEq)]
struct Effect {
    /// A score of it is kept.
    scores: bool,
    /// It is trained on and nothing in the function scores it.
    step: Option<Event>,
}

struct Orders<'a> {
    functions: BTreeMap<String, &'a StmtFunctionDef>,
    settings: &'a Settings,
    flows: BTreeMap<String, Flow>,
    effects: BTreeMap<String, Effect>,
}

/// The module's own statements, as a function.
const MODULE: &str = "";

impl<'a> Orders<'a> {
    fn of(python: &'a Python, settings: &'a Settings) -> Self {
        let mut collector = Collector { functions: BTreeMap::new() };
        visitor::walk_body(&mut collector, &python.module().body);
        let functions = collector.functions;
        let local: BTreeSet<String> = functions.keys().cloned().collect();
        let mut given: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut flows = BTreeMap::new();
        for _ in 0..ROUNDS {
            let nothing = BTreeSet::new();
            flows = functions
                .iter()
                .map(|(name, function)| (name.clone(), function.body.as_slice()))
                .chain([(MODULE.to_string(), python.module().body.as_slice())])
                .map(|(name, body)| {
                    let flow = events::read(body, given.get(&name).unwrap_or(&nothing), &local, settings);
                    (name, flow)
                })
                .collect::<BTreeMap<String, Flow>>();
            let before = given.clone();
            for event in flows.values().flat_map(|flow| &flow.events) {
                let What::Call(callee, passed) = &event.what else { continue };
                let Some(function) = functions.get(callee) else { continue };
                let names = passed.iter().filter_map(|passed| parameter(function, passed));
                let names = names.filter(|name| !words::is_no_text(name));
                given.entry(callee.clone()).or_default().extend(names);
            }
            if given == before {
                break;
            }
        }
        let mut orders = Orders { functions, settings, flows, effects: BTreeMap::new() };
        for _ in 0..ROUNDS {
            let effects = orders.flows.keys().map(|name| (name.clone(), orders.effect(name))).collect();
            if effects == orders.effects {
                break;
            }
            orders.effects = effects;
        }
        orders
    }

    /// A function's events with calls replaced by what they do, and only scores that leave the function.
    fn resolved(&self, name: &str) -> Vec<Event> {
        let Some(flow) = self.flows.get(name) else { return Vec::new() };
        let function = self.functions.get(name).copied();
        let is_main = name == MODULE || name == "main" || name == "run" || name.starts_with("main_");
        let returned = function.map(shapes::returned).unwrap_or_default();
        let parameters: BTreeSet<&str> =
            function.iter().flat_map(|f| f.parameters.iter()).map(|p| p.name().as_str()).collect();
        let leaves =
            |kept: &String| is_main || returned.contains(kept) || kept == "self" || parameters.contains(kept.as_str());
        let mut events = Vec::new();
        for event in &flow.events {
            match &event.what {
                What::Score if event.kept_in.iter().any(leaves) => events.push(event.clone()),
                What::Score => {}
                What::Step => events.push(event.clone()),
                What::Call(callee, passed) => {
                    let Some(effect) = self.effects.get(callee).filter(|_| callee != name) else { continue };
                    // A function that is handed nothing finds the text itself.
                    if passed.is_empty() && self.functions.get(callee).is_some_and(|f| !f.parameters.is_empty()) {
                        continue;
                    }
                    if let Some(step) = &effect.step {
                        let inner = Event { what: What::Step, computed: step.at, ..event.clone() };
                        let guards = [event.guards.clone(), step.guards.clone()].concat();
                        let of_past = event.of_past || step.of_past;
                        events.push(Event { guards, of_past, of_offset: step.of_offset, made_in: 0, ..inner });
                    }
                    if effect.scores {
                        events.push(Event { what: What::Score, ..event.clone() });
                    }
                }
            }
        }
        events
    }

    fn effect(&self, name: &str) -> Effect {
        // What a model computes from text is no score that anybody keeps.
        let computes = ["forward", "loss", "logits", "__call__"].iter().any(|part| name.contains(part));
        if computes && !name.contains("eval") {
            return Effect::default();
        }
        let events = self.resolved(name);
        let scores = events.iter().any(|event| event.what == What::Score);
        let step = events
            .iter()
            .find(|event| event.what == What::Step && judge::order(event, &events, &self.flows[name].loops).is_none());
        Effect { scores, step: step.cloned() }
    }

    fn adaptations(&self) -> Vec<Adaptation> {
        let called: BTreeSet<&str> = self
            .flows
            .values()
            .flat_map(|flow| &flow.events)
            .filter_map(|event| match &event.what {
                What::Call(callee, _) => Some(callee.as_str()),
                _ => None,
            })
            .collect();
        let mut found = Vec::new();
        for (name, flow) in &self.flows {
            // A function of this file that nothing calls does nothing.
            if name != MODULE && !called.contains(name.as_str()) && called.iter().any(|other| *other != name) {
                let entry = matches!(name.as_str(), "main" | "run") || name.starts_with("main");
                if !entry && called.contains("main") {
                    continue;
                }
            }
            let events = self.resolved(name);
            let steps = events.iter().filter(|event| event.what == What::Step);
            for step in steps {
                let order = match judge::order(step, &events, &flow.loops) {
                    Some(order) => order,
                    // Nothing here scores: the caller's order decides, where there is a caller.
                    None if called.contains(name.as_str()) || name == MODULE || name == "main" => continue,
                    None => Order::TrainsFirst,
                };
                let mut places = judge::places(step, &events, &flow.loops, order);
                places.sort();
                places.dedup();
                let switch = self.off(&step.guards).or_else(|| self.switched_off(name, 0));
                found.push(Adaptation { order, at: step.at, places, of_offset: step.of_offset, switch });
            }
        }
        found.sort_by_key(|adaptation| (adaptation.at, adaptation.order));
        found.dedup_by_key(|adaptation| adaptation.at);
        found
    }

    /// The first of these names whose setting is off by default.
    fn off(&self, guards: &[String]) -> Option<String> {
        guards.iter().find_map(|name| {
            let setting = self.settings.get(name).filter(|setting| !setting.is_on())?;
            Some(setting.variable.clone().unwrap_or_else(|| name.clone()))
        })
    }

    /// A setting that is off around every call of a function, or of its callers.
    fn switched_off(&self, name: &str, depth: usize) -> Option<String> {
        if name == MODULE || depth > ROUNDS {
            return None;
        }
        let mut switch = None;
        for (caller, flow) in &self.flows {
            for event in &flow.events {
                if matches!(&event.what, What::Call(callee, _) if callee == name) && caller != name {
                    switch = Some(self.off(&event.guards).or_else(|| self.switched_off(caller, depth + 1))?);
                }
            }
        }
        switch
    }
}

/// The name of the parameter an argument goes to.
fn parameter(function: &StmtFunctionDef, passed: &Passed) -> Option<String> {
    match passed {
        Passed::Named(name) => Some(name.clone()),
        Passed::At(place) => {
            let mut all = function.parameters.iter().map(|parameter| parameter.name().as_str()).peekable();
            if all.peek() == Some(&"self") {
                all.next();
            }
            all.nth(*place).map(str::to_string)
        }
    }
}

struct Collector<'a> {
    functions: BTreeMap<String, &'a StmtFunctionDef>,
}

impl<'a> Visitor<'a> for Collector<'a> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        if let Stmt::FunctionDef(function) = stmt {
            self.functions.entry(function.name.to_string()).or_insert(function);
        }
        visitor::walk_stmt(self, stmt);
    }
}

#[cfg(test)]
mod tests;
