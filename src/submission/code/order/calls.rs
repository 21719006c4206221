//! Calls and what they do to validation text.

use std::collections::BTreeSet;

use ruff_python_ast::{Arguments, Expr, ExprCall};
use ruff_text_size::Ranged;

use super::super::names::dotted;
use super::event::{Event, Passed, What};
use super::events::{BEFORE, Backward, Reader};

impl Reader<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Call(call) => {
                call.arguments.args.iter().for_each(|arg| self.expr(arg));
                call.arguments.keywords.iter().for_each(|keyword| self.expr(&keyword.value));
                self.call(call);
            }
            Expr::BinOp(op) => {
                self.expr(&op.left);
                self.expr(&op.right);
            }
            Expr::Tuple(tuple) => tuple.elts.iter().for_each(|item| self.expr(item)),
            Expr::List(list) => list.elts.iter().for_each(|item| self.expr(item)),
            Expr::Attribute(attribute) => self.expr(&attribute.value),
            Expr::Subscript(subscript) => self.expr(&subscript.value),
            Expr::If(choice) => {
                self.expr(&choice.body);
                self.expr(&choice.orelse);
            }
            _ => {}
        }
    }

    fn arguments(&self, arguments: &Arguments) -> Vec<String> {
        let by_name = arguments.keywords.iter().map(|keyword| &keyword.value);
        arguments.args.iter().chain(by_name).flat_map(|argument| self.names(argument)).collect()
    }

    fn call(&mut self, call: &ExprCall) {
        let name = dotted(&call.func);
        let (object, method) = name.rsplit_once('.').unwrap_or(("", name.as_str()));
        let arguments = self.arguments(&call.arguments);
        let receiver = match &*call.func {
            Expr::Attribute(attribute) => self.names(&attribute.value),
            _ => Vec::new(),
        };
        match method {
            "backward" => {
                let loss: Vec<String> = receiver.into_iter().chain(arguments.clone()).collect();
                self.backward = Some(self.backward_through(&loss));
            }
            "grad" if object.ends_with("autograd") => {
                self.backward = Some(self.backward_through(&arguments));
            }
            "step" if !["sched", "prof", "pbar", "bar"].iter().any(|part| object.to_lowercase().contains(part)) => {
                // `opt.step(closure)`: the optimizer calls it.
                let closure = call.arguments.args.first().and_then(|arg| self.nested.get(&dotted(arg)).copied());
                if let Some(body) = closure {
                    self.body(body);
                }
                self.step(call.func.start(), object);
            }
            "add_" | "sub_" | "addcdiv_" | "addcmul_" if call.arguments.args.iter().any(|arg| self.is_update(arg)) => {
                self.step(call.func.start(), object);
            }
            "append" | "extend" | "add_" | "index_add_" | "scatter_add_" | "copy_" => {
                self.keep(call.func.start(), object, &arguments);
                self.fill(object, &arguments, call.func.start());
            }
            _ if self.local.contains(method) => self.hand_over(call, method, 0),
            _ => {
                // `timed("quantized", eval_val, args, model, val_tokens)`
                let function = call.arguments.args.iter().position(|arg| self.local.contains(&dotted(arg)));
                if let Some(place) = function {
                    let name = call.arguments.args.get(place).map(dotted).unwrap_or_default();
                    self.hand_over(call, &name, place + 1);
                }
            }
        }
    }

    fn backward_through(&self, loss: &[String]) -> Backward {
        let of_past = self.is_of_past(loss) || self.looks_back(loss);
        Backward { tainted: self.is_tainted(loss), of_past, text: self.text(loss) }
    }

    /// `chunks[i - 1]`: the text of the turn before.
    fn looks_back(&self, names: &[String]) -> bool {
        names.iter().any(|name| name == BEFORE || self.derived.get(name).is_some_and(|from| from.contains(BEFORE)))
    }

    /// Calls a function of the file with the arguments from the place `first` on.
    fn hand_over(&mut self, call: &ExprCall, method: &str, first: usize) {
        let mut passed = Vec::new();
        let mut past = false;
        let mut text = BTreeSet::new();
        for (place, arg) in call.arguments.args.iter().skip(first).enumerate() {
            let names = self.names(arg);
            if self.is_tainted(&names) {
                past |= self.is_of_past(&names) || self.looks_back(&names);
                text.extend(self.text(&names));
                passed.push(Passed::At(place));
            }
        }
        for keyword in &call.arguments.keywords {
            let names = self.names(&keyword.value);
            if let Some(name) = &keyword.arg
                && self.is_tainted(&names)
            {
                past |= self.is_of_past(&names) || self.looks_back(&names);
                text.extend(self.text(&names));
                passed.push(Passed::Named(name.to_string()));
            }
        }
        let event = self.event(What::Call(method.to_string(), passed), call.func.start());
        self.flow.events.push(Event { of_past: past, text, ..event });
    }
}
