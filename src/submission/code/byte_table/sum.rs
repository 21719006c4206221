//! The sum of bytes: a piece's own, and one for its space unless the token before is no text.

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Operator, Stmt};
use ruff_text_size::{Ranged, TextSize};

use super::super::names::{dotted, words};

/// Where a function adds a looked-up space to the bytes and asks nowhere what the token before is.
pub fn without_boundary(body: &[Stmt]) -> Option<TextSize> {
    let mut sums = Sums::default();
    visitor::walk_body(&mut sums, body);
    sums.added.filter(|_| !sums.asks)
}

#[derive(Default)]
struct Sums {
    /// Variables that hold nothing but looked-up spaces.
    spaces: BTreeSet<String>,
    added: Option<TextSize>,
    /// A table of boundaries is looked up, or the token before is compared.
    asks: bool,
}

impl Sums {
    /// `has_leading_space[target]`, converted or not, and nothing else.
    fn is_space(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Name(name) => self.spaces.contains(name.id.as_str()),
            Expr::Subscript(part) => is_space_table(&part.value),
            Expr::Call(call) => {
                let name = dotted(&call.func);
                let method = name.rsplit('.').next().unwrap_or_default();
                let first = call.arguments.args.first();
                match (&*call.func, method) {
                    (
                        Expr::Attribute(of),
                        "to" | "long" | "int" | "astype" | "float" | "double" | "type" | "sum" | "item",
                    ) => self.is_space(&of.value),
                    (Expr::Attribute(of), "index_select" | "gather" | "take") => {
                        is_space_table(&of.value) || first.is_some_and(is_space_table)
                    }
                    (_, "int" | "float" | "sum") => first.is_some_and(|inner| self.is_space(inner)),
                    _ => false,
                }
            }
            _ => false,
        }
    }

    fn adds(&mut self, at: TextSize, space: &Expr) {
        if self.is_space(space) {
            self.added.get_or_insert(at);
        }
    }
}

/// `has_leading_space_lut`, `space_table`, `starts_with_space`.
fn is_space_table(expr: &Expr) -> bool {
    let words = words(dotted(expr).rsplit('.').next().unwrap_or_default());
    words.iter().any(|word| matches!(word.as_str(), "space" | "spaces" | "leading" | "spc"))
        && !words.iter().any(|word| matches!(word.as_str(), "no" | "bytes" | "with"))
}

/// What a boundary rule is about.
fn is_boundary(name: &str) -> bool {
    let parts =
        ["boundary", "boundaries", "special", "control", "bos", "eos", "nontext", "document", "docstart", "starts"];
    name.split('.').flat_map(words).any(|word| parts.contains(&word.as_str()))
}

impl<'a> Visitor<'a> for Sums {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Assign(assign) => {
                if let [Expr::Name(name)] = &*assign.targets
                    && self.is_space(&assign.value)
                {
                    self.spaces.insert(name.id.to_string());
                }
                // `space[prev_is_special] = 0`
                self.asks |=
                    assign.targets.iter().any(|target| matches!(target, Expr::Subscript(_)) && self.is_space(target));
            }
            Stmt::AugAssign(assign) => {
                if assign.op == Operator::Add {
                    self.adds(stmt.start(), &assign.value);
                } else if matches!(&*assign.target, Expr::Name(name) if self.spaces.contains(name.id.as_str())) {
                    // `space &= ~boundary[prev]`
                    self.asks = true;
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::BinOp(op) if op.op == Operator::Add => {
                self.adds(expr.start(), &op.left);
                self.adds(expr.start(), &op.right);
            }
            Expr::Subscript(part) => self.asks |= is_boundary(&dotted(&part.value)),
            Expr::Compare(compare) => {
                self.asks |= is_boundary(&dotted(&compare.left))
                    || compare.comparators.iter().any(|right| is_boundary(&dotted(right)));
            }
            Expr::Call(call) => {
                let parts = call.arguments.args.iter().map(dotted).chain([dotted(&call.func)]);
                self.asks |= parts.into_iter().any(|name| is_boundary(&name));
            }
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}
