//! Scores that are mixed with a table looked up by the token to be predicted.
//!
//! A table of counts asked for the token that comes next, with that token in the key, gives no distribution unless
//! someone adds it up over the vocabulary. Names of functions need not say so: what is followed is the target, from
//! the slice that holds it through the key into a table, and from there into the score.

mod lines;
mod shapes;
mod words;

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{CmpOp, Expr, ExprCall, ExprSubscript, Stmt, StmtFunctionDef};
use ruff_text_size::{Ranged, TextSize};

use self::lines::{Line, Lines};
use self::shapes::{combines, is_sum, next_token};
use self::words::{KEEPS, NO_TABLES, TARGETS, has, is_score, is_table, names};
use super::Python;
use super::names::dotted;
use super::settings::Settings;

/// A mixture: where the score is made, where the table is asked, and the setting that is off around it.
pub struct Mixture {
    pub at: TextSize,
    pub asked: TextSize,
    pub switch: Option<String>,
}

/// Rounds over the assignments of a function.
const ROUNDS: usize = 4;

/// All such mixtures of a file, one a function: the first.
pub fn of(python: &Python, settings: &Settings) -> Vec<Mixture> {
    struct Functions<'s> {
        settings: &'s Settings,
        found: Vec<Mixture>,
    }
    impl<'a> Visitor<'a> for Functions<'_> {
        fn visit_stmt(&mut self, stmt: &'a Stmt) {
            match stmt {
                // Functions inside are read with the one around them.
                Stmt::FunctionDef(function) => self.found.extend(in_function(function, self.settings)),
                other => visitor::walk_stmt(self, other),
            }
        }
    }
    let mut functions = Functions { settings, found: Vec::new() };
    visitor::walk_body(&mut functions, &python.module().body);
    functions.found
}

fn in_function(function: &StmtFunctionDef, settings: &Settings) -> Option<Mixture> {
    let mut lines = Lines::default();
    visitor::walk_body(&mut lines, &function.body);
    let mut facts = Facts::default();
    for _ in 0..ROUNDS {
        lines.all.iter().for_each(|line| facts.learn(line));
    }
    let line = lines.all.iter().find(|line| facts.mixes(line))?;
    let asked = facts.asked(line.value).or_else(|| line.test.and_then(|test| facts.asked(test)));
    let switch = line.guards.iter().find_map(|name| {
        let setting = settings.get(name).filter(|setting| !setting.is_on())?;
        Some(setting.variable.clone().unwrap_or_else(|| name.clone()))
    });
    Some(Mixture { at: line.at, asked: asked.or(facts.first_asked).unwrap_or(line.at), switch })
}

#[derive(Default)]
struct Facts {
    /// Variables that hold the token to be predicted, or a key made of it.
    keys: BTreeSet<String>,
    /// Variables that hold what a table said.
    looked: BTreeSet<String>,
    first_asked: Option<TextSize>,
}

impl Facts {
    fn learn(&mut self, line: &Line) {
        if self.is_key(line.value) {
            self.keys.extend(line.targets.iter().filter(|name| !is_score(name) && !is_table(name)).cloned());
        }
        let asked = self.asked(line.value);
        if let Some(at) = asked {
            self.first_asked = Some(self.first_asked.map_or(at, |first| first.min(at)));
        }
        let passes = names(line.value).iter().any(|name| self.looked.contains(name));
        if asked.is_some() || passes {
            self.looked.extend(line.targets.iter().filter(|name| !has(name, &NO_TABLES)).cloned());
        }
    }

    /// Whether a value is the target or a key with it inside: arithmetic, tuples and conversions only.
    fn is_key(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Name(name) => self.is_target(name.id.as_str()),
            Expr::Attribute(attribute) => self.is_target(attribute.attr.as_str()),
            Expr::Subscript(part) => {
                next_token(part)
                    || !is_table(&dotted(&part.value)) && !is_score(&dotted(&part.value)) && self.is_key(&part.value)
            }
            Expr::BinOp(op) => self.is_key(&op.left) || self.is_key(&op.right),
            Expr::Tuple(tuple) => tuple.elts.iter().any(|part| self.is_key(part)),
            Expr::List(list) => list.elts.iter().any(|part| self.is_key(part)),
            Expr::FString(text) => text
                .value
                .elements()
                .filter_map(|part| part.as_interpolation())
                .any(|part| self.is_key(&part.expression)),
            Expr::Call(call) => {
                let name = dotted(&call.func);
                let method = name.rsplit('.').next().unwrap_or_default();
                let keeps = KEEPS.contains(&method) || has(method, &["hash", "key", "hashed", "keys", "idx", "bucket"]);
                let receiver = match &*call.func {
                    Expr::Attribute(attribute) => self.is_key(&attribute.value),
                    _ => false,
                };
                keeps && (receiver || call.arguments.args.iter().any(|argument| self.is_key(argument)))
            }
            _ => false,
        }
    }

    fn is_target(&self, name: &str) -> bool {
        self.keys.contains(name)
            || has(name, &TARGETS)
            || has(name, &["next"]) && has(name, &["tok", "token", "id", "byte"])
    }

    /// Where a table is asked with the target.
    fn asked(&self, expr: &Expr) -> Option<TextSize> {
        struct Finder<'f> {
            facts: &'f Facts,
            found: Option<TextSize>,
        }
        impl<'a> Visitor<'a> for Finder<'_> {
            fn visit_expr(&mut self, expr: &'a Expr) {
                let asks = match expr {
                    Expr::Subscript(part) => self.facts.asks_item(part),
                    Expr::Call(call) => self.facts.asks_call(call),
                    Expr::Compare(compare) => {
                        matches!(compare.ops.first(), Some(CmpOp::In | CmpOp::NotIn))
                            && self.facts.is_key(&compare.left)
                            && compare
                                .comparators
                                .first()
                                .is_some_and(|table| is_table(&dotted(table)) || has(&dotted(table), &["seen"]))
                    }
                    _ => false,
                };
                if asks {
                    self.found.get_or_insert(expr.start());
                }
                visitor::walk_expr(self, expr);
            }
        }
        let mut finder = Finder { facts: self, found: None };
        finder.visit_expr(expr);
        finder.found
    }

    /// `counts[key]`, `table[ctx, target]`, `row[target]` of a row that a table gave.
    fn asks_item(&self, part: &ExprSubscript) -> bool {
        let table = dotted(&part.value);
        let last = table.rsplit('.').next().unwrap_or_default();
        is_table(last) && self.is_key(&part.slice)
    }

    /// `table.get(key)`, `ngram.lookup(context, target)`, `torch.gather(table, 0, key)`, `ngram_prob(ctx, tgt)`.
    fn asks_call(&self, call: &ExprCall) -> bool {
        let name = dotted(&call.func);
        let (object, method) = name.rsplit_once('.').unwrap_or(("", name.as_str()));
        let last = object.rsplit('.').next().unwrap_or_default();
        let by_name = call.arguments.keywords.iter().map(|keyword| &keyword.value);
        if !call.arguments.args.iter().chain(by_name).any(|argument| self.is_key(argument)) {
            return false;
        }
        let changes =
            ["add", "update", "observe", "insert", "append", "fill", "train", "set", "push", "record", "learn", "init"];
        if has(method, &changes) || method.ends_with('_') {
            return false;
        }
        let function_of_table = matches!(method, "gather" | "take" | "index_select" | "embedding" | "take_along_dim")
            && call.arguments.args.iter().any(|argument| is_table(&dotted(argument)));
        let asks = has(
            method,
            &[
                "lookup",
                "query",
                "ask",
                "prob",
                "probs",
                "predict",
                "score",
                "logprob",
                "get",
                "interpolate",
                "estimate",
                "p",
            ],
        );
        is_table(last)
            || function_of_table
            || asks && is_table(method)
            || is_table(method) && has(method, &["ngram", "ppm", "memo"])
    }

    /// Whether a line makes a score out of a score and what a table said.
    fn mixes(&self, line: &Line) -> bool {
        if !line.targets.iter().any(|name| is_score(name)) {
            return false;
        }
        let mentioned = names(line.value);
        let looked = self.asked(line.value).is_some() || mentioned.iter().any(|name| self.looked.contains(name));
        let of_model = |name: &String| is_score(name) && !self.looked_only(name);
        let model = mentioned.iter().any(of_model) || line.adds && line.targets.iter().any(of_model);
        let by_test = line.test.is_some_and(|test| self.asked(test).is_some() && !line.adds);
        looked && model && combines(line.value, line.adds && !is_sum(&line.targets)) || by_test
    }

    /// A name that only ever held what a table said is no score of the model.
    fn looked_only(&self, name: &str) -> bool {
        self.looked.contains(name) && is_table(name)
    }
}

#[cfg(test)]
mod tests;
