//! What source states as a default: constants, the second argument of a read of the environment, options of a command
//! line.

use ruff_python_ast::{Expr, ExprCall, UnaryOp};

use super::names::{dotted, number};

/// A constant as Python spells it: `0`, `True`, `None`, `ngram`; `-1` counts.
pub(super) fn constant(expr: &Expr) -> Option<String> {
    match expr {
        Expr::StringLiteral(text) => Some(text.value.to_str().to_string()),
        Expr::BooleanLiteral(literal) => Some(if literal.value { "True" } else { "False" }.into()),
        Expr::NoneLiteral(_) => Some("None".into()),
        Expr::NumberLiteral(literal) => number(literal),
        Expr::UnaryOp(unary) if unary.op == UnaryOp::USub => constant(&unary.operand).map(|text| format!("-{text}")),
        _ => None,
    }
}

/// A constant as the environment would spell it: `1` of `True`; `str(3)` counts, and nothing stands for `None`.
pub(super) fn environment_value(expr: &Expr) -> Option<String> {
    match expr {
        Expr::BooleanLiteral(literal) => Some(if literal.value { "1" } else { "0" }.into()),
        Expr::NoneLiteral(_) => None,
        Expr::Call(call) if matches!(call.func.as_ref(), Expr::Name(name) if name.id.as_str() == "str") => {
            call.arguments.args.first().and_then(environment_value)
        }
        other => constant(other),
    }
}

/// What stands for a variable that is not set, in a call that reads it: `get("A", 3)`, `getenv("A", default=3)`.
pub(super) fn of_read(call: &ExprCall) -> Option<&Expr> {
    call.arguments.find_argument_value("default", 1)
}

/// An option of `argparse` and its relatives.
pub(super) struct Argument<'a> {
    /// Its spellings, in order.
    pub flags: Vec<&'a str>,
    call: &'a ExprCall,
}

impl<'a> Argument<'a> {
    /// `parser.add_argument(...)`.
    pub fn of(call: &'a ExprCall) -> Option<Self> {
        if !dotted(&call.func).ends_with("add_argument") {
            return None;
        }
        let flags = call.arguments.args.iter().filter_map(|argument| match argument {
            Expr::StringLiteral(literal) => Some(literal.value.to_str()),
            _ => None,
        });
        Some(Argument { flags: flags.collect(), call })
    }

    /// The value of a keyword, such as `default`.
    pub fn keyword(&self, name: &str) -> Option<&'a Expr> {
        self.call.arguments.find_keyword(name).map(|keyword| &keyword.value)
    }
}
