//! What a function assigns, in the order of its lines.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Stmt};
use ruff_text_size::{Ranged, TextSize};

use super::super::names::dotted;
use super::words::names;

/// One assignment, or what stands for one.
pub struct Line<'a> {
    pub at: TextSize,
    pub targets: Vec<String>,
    pub value: &'a Expr,
    /// `a += b`: the target is part of the value.
    pub adds: bool,
    /// The test it stands behind.
    pub test: Option<&'a Expr>,
    pub guards: Vec<String>,
}

#[derive(Default)]
pub struct Lines<'a> {
    pub all: Vec<Line<'a>>,
    tests: Vec<&'a Expr>,
}

impl<'a> Lines<'a> {
    fn push(&mut self, at: TextSize, targets: Vec<String>, value: &'a Expr, adds: bool) {
        let test = self.tests.last().copied();
        let guards = self.tests.iter().flat_map(|test| names(test)).collect();
        self.all.push(Line { at, targets, value, adds, test, guards });
    }
}

impl<'a> Visitor<'a> for Lines<'a> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Assign(assign) => {
                // `ctx, tgt = a, b`
                for target in &assign.targets {
                    match (target, &*assign.value) {
                        (Expr::Tuple(to), Expr::Tuple(from)) if to.elts.len() == from.elts.len() => {
                            for (to, from) in to.elts.iter().zip(&from.elts) {
                                self.push(stmt.start(), bound(to), from, false);
                            }
                        }
                        _ => self.push(stmt.start(), bound(target), &assign.value, false),
                    }
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    self.push(stmt.start(), bound(&assign.target), value, false);
                }
            }
            Stmt::AugAssign(assign) => self.push(stmt.start(), bound(&assign.target), &assign.value, true),
            Stmt::Return(value) => {
                if let Some(value) = &value.value {
                    self.push(stmt.start(), vec!["nll".into()], value, false);
                }
            }
            Stmt::If(test) => {
                self.tests.push(&test.test);
                visitor::walk_body(self, &test.body);
                self.tests.pop();
                for clause in &test.elif_else_clauses {
                    self.tests.extend(&clause.test);
                    visitor::walk_body(self, &clause.body);
                    self.tests.truncate(self.tests.len() - usize::from(clause.test.is_some()));
                }
                return;
            }
            // `losses.copy_(x)`, `out.append(x)`
            Stmt::Expr(expression) => {
                if let Expr::Call(call) = &*expression.value
                    && let (Expr::Attribute(method), Some(value)) = (&*call.func, call.arguments.args.first())
                    && matches!(method.attr.as_str(), "append" | "copy_" | "add_" | "lerp_" | "sub_")
                {
                    self.push(stmt.start(), bound(&method.value), value, method.attr.as_str() != "copy_");
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }
}

fn bound(target: &Expr) -> Vec<String> {
    match target {
        Expr::Tuple(tuple) => tuple.elts.iter().flat_map(bound).collect(),
        Expr::Subscript(part) => bound(&part.value),
        other => {
            dotted(other).rsplit('.').next().filter(|name| !name.is_empty()).map(str::to_string).into_iter().collect()
        }
    }
}
