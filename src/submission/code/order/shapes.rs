//! Shapes of statements and expressions.

use std::collections::BTreeSet;

use ruff_python_ast::comparable::ComparableExpr;
use ruff_python_ast::visitor::{Visitor, walk_body};
use ruff_python_ast::{CmpOp, Expr, Operator, Stmt, StmtFor, StmtFunctionDef};
use ruff_text_size::Ranged;

use super::super::names::{dotted, words};
use super::words::mentioned;

/// Longest head of a loop that is compared with others.
const MAX_HEAD_BYTES: u32 = 400;

/// The head of a loop in a form that is equal for equal code.
pub fn written_out(each: &StmtFor) -> String {
    if (each.iter.end() - each.target.start()).to_u32() > MAX_HEAD_BYTES {
        return String::new();
    }
    format!("{:?} {:?}", ComparableExpr::from(&*each.target), ComparableExpr::from(&*each.iter))
}

/// Names bound by a target.
pub fn targets(target: &Expr) -> Vec<String> {
    match target {
        Expr::Name(name) => vec![name.id.to_string()],
        Expr::Tuple(tuple) => tuple.elts.iter().flat_map(targets).collect(),
        Expr::List(list) => list.elts.iter().flat_map(targets).collect(),
        Expr::Starred(starred) => targets(&starred.value),
        Expr::Attribute(attribute) => vec![attribute.attr.to_string()],
        _ => Vec::new(),
    }
}

/// `epoch == 0`, `i < 1`, `not epoch`.
pub fn is_first(test: &Expr) -> bool {
    let Expr::Compare(compare) = test else { return false };
    let right = match compare.comparators.first() {
        Some(Expr::NumberLiteral(number)) => number.value.as_int().and_then(|int| int.as_u64()),
        _ => None,
    };
    let op = compare.ops.first();
    let first = matches!((op, right), (Some(CmpOp::Eq), Some(0)) | (Some(CmpOp::Lt), Some(1)));
    first && matches!(&*compare.left, Expr::Name(_))
}

/// Whether `i - 1` of a loop's `i` is in an expression.
pub fn is_one_before(expr: &Expr, variables: &[String]) -> bool {
    use ruff_python_ast::visitor::walk_expr;
    struct Finder<'v> {
        variables: &'v [String],
        found: bool,
    }
    impl<'a> Visitor<'a> for Finder<'_> {
        fn visit_expr(&mut self, expr: &'a Expr) {
            if let Expr::BinOp(op) = expr
                && op.op == Operator::Sub
                && let (Expr::Name(name), Expr::NumberLiteral(_)) = (&*op.left, &*op.right)
            {
                self.found |= self.variables.iter().any(|variable| variable == name.id.as_str());
            }
            walk_expr(self, expr);
        }
    }
    let mut finder = Finder { variables, found: false };
    finder.visit_expr(expr);
    finder.found
}

/// Names used in statements, and whether a stream moves on in them.
pub struct Uses {
    pub names: BTreeSet<String>,
    pub advances: bool,
}

impl Uses {
    pub fn of(body: &[Stmt]) -> Self {
        let mut uses = Uses { names: BTreeSet::new(), advances: false };
        walk_body(&mut uses, body);
        uses
    }
}

impl<'a> Visitor<'a> for Uses {
    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Name(name) => {
                self.names.insert(name.id.to_string());
            }
            Expr::Call(call) => {
                let name = dotted(&call.func);
                let last = name.rsplit('.').next().unwrap_or_default();
                self.advances |= last.starts_with("next") || last.starts_with("get_") || last == "pop";
            }
            _ => {}
        }
        ruff_python_ast::visitor::walk_expr(self, expr);
    }

    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        // A place in the text that the body moves on itself.
        if let Stmt::AugAssign(assign) = stmt
            && let Expr::Name(name) = &*assign.target
        {
            let place = |word: &String| {
                matches!(word.as_str(), "pos" | "start" | "offset" | "cursor" | "ptr" | "idx" | "i" | "t")
            };
            self.advances |= words(name.id.as_str()).iter().any(place);
        }
        ruff_python_ast::visitor::walk_stmt(self, stmt);
    }
}

/// The names a function returns, and what they were made from.
pub fn returned(function: &StmtFunctionDef) -> BTreeSet<String> {
    let mut lines: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    let mut names: BTreeSet<String> = BTreeSet::new();
    collect(&function.body, &mut lines, &mut names);
    for _ in 0..4 {
        for (targets, from) in lines.iter().rev() {
            if targets.iter().any(|target| names.contains(target)) {
                names.extend(from.iter().cloned());
            }
        }
    }
    names
}

fn collect(body: &[Stmt], lines: &mut Vec<(Vec<String>, Vec<String>)>, returned: &mut BTreeSet<String>) {
    for stmt in body {
        match stmt {
            Stmt::Return(value) => returned.extend(value.value.iter().flat_map(|value| mentioned(value))),
            Stmt::Assign(assign) => {
                lines.push((assign.targets.iter().flat_map(targets).collect(), mentioned(&assign.value)));
            }
            Stmt::For(each) => collect(&each.body, lines, returned),
            Stmt::While(repeat) => collect(&repeat.body, lines, returned),
            Stmt::With(with) => collect(&with.body, lines, returned),
            Stmt::If(test) => {
                collect(&test.body, lines, returned);
                test.elif_else_clauses.iter().for_each(|clause| collect(&clause.body, lines, returned));
            }
            Stmt::Try(attempt) => collect(&attempt.body, lines, returned),
            Stmt::AugAssign(assign) => lines.push((root(&assign.target), mentioned(&assign.value))),
            Stmt::Expr(expression) => {
                // `losses.append(loss)`
                if let Expr::Call(call) = &*expression.value
                    && let Expr::Attribute(method) = &*call.func
                {
                    let from = call.arguments.args.iter().flat_map(mentioned).collect();
                    lines.push((root(&method.value), from));
                }
                if let Expr::Yield(value) = &*expression.value {
                    returned.extend(value.value.iter().flat_map(|value| mentioned(value)));
                }
            }
            _ => {}
        }
    }
}

/// The variable a chain of attributes and subscripts starts with.
fn root(expr: &Expr) -> Vec<String> {
    dotted(expr).split('.').next().map(str::to_string).into_iter().collect()
}
