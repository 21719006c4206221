//! What is collected or tested, and never takes effect.

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Stmt};
use ruff_text_size::{Ranged, TextSize};

use super::super::Python;
use super::super::names::{dotted, words};
use super::super::notes::NoteKind;
use super::super::order::mentioned;

/// Assignments and uses of the whole file, functions included.
struct Assignments {
    /// Targets, names of the value, place.
    lines: Vec<(Vec<String>, Vec<String>, TextSize)>,
    /// Names handed to calls that put weights into a model, or returned, or handed to any other function.
    applied: BTreeSet<String>,
}

impl<'a> Visitor<'a> for Assignments {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        let last = |expr: &Expr| dotted(expr).rsplit('.').next().unwrap_or_default().to_string();
        match stmt {
            Stmt::Assign(assign) => {
                let targets = assign.targets.iter().map(last).collect();
                self.lines.push((targets, mentioned(&assign.value), stmt.start()));
            }
            Stmt::AugAssign(assign) => {
                self.lines.push((vec![last(&assign.target)], mentioned(&assign.value), stmt.start()));
            }
            Stmt::For(each) => self.lines.push((mentioned(&each.target), mentioned(&each.iter), stmt.start())),
            Stmt::Return(value) => self.applied.extend(value.value.iter().flat_map(|value| mentioned(value))),
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        if let Expr::Call(call) = expr {
            let name = dotted(&call.func);
            let method = name.rsplit('.').next().unwrap_or_default();
            // Adding up and looking at it is no use of it.
            let looks = [
                "add_",
                "mul_",
                "lerp_",
                "items",
                "keys",
                "len",
                "print",
                "log0",
                "log",
                "zeros_like",
                "clone",
                "append",
                "isinstance",
                "int",
                "float",
                "zip",
                "detach",
                "float",
                "enumerate",
            ];
            if !looks.contains(&method) {
                let by_name = call.arguments.keywords.iter().map(|keyword| &keyword.value);
                self.applied.extend(call.arguments.args.iter().chain(by_name).flat_map(mentioned));
                // `swa.apply_to(model)`, `ema_model.forward(...)`
                self.applied.extend(mentioned(&call.func));
            }
        }
        visitor::walk_expr(self, expr);
    }
}

/// Weights averaged as `swa_state` that nothing loads, saves, returns or hands on.
pub fn average_never_applied(python: &Python) -> Option<(NoteKind, TextSize, Vec<TextSize>)> {
    let mut all = Assignments { lines: Vec::new(), applied: BTreeSet::new() };
    visitor::walk_body(&mut all, &python.module().body);
    let is_average = |name: &String| {
        let words = words(name);
        words.iter().any(|word| word == "swa")
            && words.iter().any(|word| {
                matches!(
                    word.as_str(),
                    "state" | "sd" | "dict" | "params" | "avg" | "weights" | "sum" | "accum" | "buffer"
                )
            })
    };
    let mut names: BTreeSet<String> =
        all.lines.iter().flat_map(|(targets, ..)| targets).filter(|name| is_average(name)).cloned().collect();
    let collected: Vec<TextSize> =
        all.lines.iter().filter(|(targets, ..)| targets.iter().any(is_average)).map(|(_, _, at)| *at).collect();
    // A first value alone is no collecting.
    if collected.len() < 2 {
        return None;
    }
    for _ in 0..4 {
        for (targets, from, _) in &all.lines {
            if from.iter().any(|name| names.contains(name)) {
                names.extend(targets.iter().cloned());
            }
        }
    }
    let applied = names.iter().any(|name| all.applied.contains(name))
        || python.text().contains("AveragedModel")
        || all.lines.iter().any(|(targets, from, _)| {
            targets.iter().any(|target| target == "data") && from.iter().any(|name| names.contains(name))
        });
    let first = collected.first().copied()?;
    (!applied).then(|| (NoteKind::AverageNeverApplied, first, collected[1..].iter().copied().take(2).collect()))
}

/// A flag of quantization-aware training that is tested, and only ever set to what switches it off.
pub fn quantization_never_on(python: &Python) -> Option<(NoteKind, TextSize, Vec<TextSize>)> {
    struct Flags {
        set: Vec<(String, bool, TextSize)>,
        tested: Vec<(String, TextSize)>,
    }
    let is_flag = |name: &str| {
        let words = words(name);
        words.iter().any(|word| word == "qat")
            && (words.len() == 1
                || words.iter().any(|word| matches!(word.as_str(), "enabled" | "active" | "on" | "flag" | "use")))
    };
    impl<'a> Visitor<'a> for Flags {
        fn visit_stmt(&mut self, stmt: &'a Stmt) {
            let last = |expr: &Expr| dotted(expr).rsplit('.').next().unwrap_or_default().to_string();
            let off = |value: &Expr| match value {
                Expr::BooleanLiteral(literal) => !literal.value,
                Expr::NoneLiteral(_) => true,
                Expr::NumberLiteral(number) => number.value.as_int().is_some_and(|int| int.as_u64() == Some(0)),
                _ => false,
            };
            match stmt {
                Stmt::Assign(assign) => {
                    for target in &assign.targets {
                        self.set.push((last(target), off(&assign.value), stmt.start()));
                    }
                }
                Stmt::AnnAssign(assign) => {
                    if let Some(value) = &assign.value {
                        self.set.push((last(&assign.target), off(value), stmt.start()));
                    }
                }
                Stmt::If(test) => {
                    self.tested.extend(mentioned(&test.test).into_iter().map(|name| (name, stmt.start())))
                }
                _ => {}
            }
            visitor::walk_stmt(self, stmt);
        }

        fn visit_expr(&mut self, expr: &'a Expr) {
            match expr {
                Expr::If(choice) => {
                    self.tested.extend(mentioned(&choice.test).into_iter().map(|name| (name, expr.start())));
                }
                // `setattr(module, "qat_enabled", True)`, `f(qat_enabled=flag)`: set in a way not followed here.
                Expr::StringLiteral(text) => self.set.push((text.value.to_str().to_string(), false, expr.start())),
                Expr::Call(call) => {
                    for keyword in &call.arguments.keywords {
                        if let Some(name) = &keyword.arg {
                            self.set.push((name.to_string(), false, expr.start()));
                        }
                    }
                }
                _ => {}
            }
            visitor::walk_expr(self, expr);
        }

        fn visit_parameter(&mut self, parameter: &'a ruff_python_ast::Parameter) {
            self.set.push((parameter.name.to_string(), false, parameter.start()));
            visitor::walk_parameter(self, parameter);
        }
    }
    let mut flags = Flags { set: Vec::new(), tested: Vec::new() };
    visitor::walk_body(&mut flags, &python.module().body);
    let (name, tested) = flags.tested.iter().find(|(name, _)| {
        let mut set = flags.set.iter().filter(|(other, ..)| other == name).peekable();
        is_flag(name) && set.peek().is_some() && set.all(|(_, off, _)| *off)
    })?;
    let set = flags.set.iter().find(|(other, ..)| other == name).map(|(_, _, at)| *at)?;
    Some((NoteKind::QuantizationNeverOn, set, vec![*tested]))
}
