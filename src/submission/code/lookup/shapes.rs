//! Shapes of expressions.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprSubscript, Operator};

use super::super::names::dotted;
use super::words::has;

/// `loss_sum`, `total_nll`: adding to it is no mixing.
pub fn is_sum(targets: &[String]) -> bool {
    targets.iter().any(|name| has(name, &["sum", "total", "acc", "accum", "count"]))
}

/// Whether an expression combines rather than scales: sums, minima, choices.
pub fn combines(expr: &Expr, adds: bool) -> bool {
    struct Finder(bool);
    impl<'a> Visitor<'a> for Finder {
        fn visit_expr(&mut self, expr: &'a Expr) {
            match expr {
                Expr::BinOp(op) => self.0 |= matches!(op.op, Operator::Add | Operator::Sub),
                Expr::If(_) => self.0 = true,
                Expr::Call(call) => {
                    let name = dotted(&call.func);
                    let method = name.rsplit('.').next().unwrap_or_default();
                    self.0 |= has(
                        method,
                        &[
                            "min",
                            "max",
                            "minimum",
                            "maximum",
                            "where",
                            "logaddexp",
                            "logsumexp",
                            "lerp",
                            "mix",
                            "blend",
                            "interpolate",
                            "combine",
                            "amin",
                            "amax",
                        ],
                    );
                }
                _ => {}
            }
            visitor::walk_expr(self, expr);
        }
    }
    let mut finder = Finder(adds);
    finder.visit_expr(expr);
    finder.0
}

/// `window[1:]`, `tokens[..., 1:]`, `tokens[i + 1]`.
pub fn next_token(part: &ExprSubscript) -> bool {
    let one = |expr: &Expr| matches!(expr, Expr::NumberLiteral(number) if number.value.as_int().is_some_and(|int| int.as_u64() == Some(1)));
    let of = |slice: &Expr| match slice {
        Expr::Slice(slice) => slice.upper.is_none() && slice.lower.as_deref().is_some_and(one),
        Expr::BinOp(sum) => sum.op == Operator::Add && one(&sum.right) && matches!(&*sum.left, Expr::Name(_)),
        _ => false,
    };
    let text = has(
        &dotted(&part.value),
        &[
            "tok", "toks", "token", "tokens", "ids", "window", "chunk", "seq", "doc", "val", "text", "x", "local",
            "batch", "data", "stream",
        ],
    );
    let last = match &*part.slice {
        Expr::Tuple(tuple) => tuple.elts.last(),
        other => Some(other),
    };
    text && last.is_some_and(of)
}
