//! Names in Python code, taken apart.

use ruff_python_ast::{Expr, ExprBinOp, ExprNumberLiteral, Number, Operator};

/// `a` of `a.b.c`.
pub(super) fn top(module: &str) -> &str {
    module.split('.').next().unwrap_or_default()
}

/// `a.b.c` of a name, attribute chain, or the like; calls and subscripts in it are looked through.
pub(super) fn dotted(expr: &Expr) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut at = expr;
    loop {
        match at {
            Expr::Name(name) => {
                parts.push(name.id.as_str());
                break;
            }
            Expr::Attribute(attribute) => {
                parts.push(attribute.attr.as_str());
                at = &attribute.value;
            }
            Expr::Call(call) => at = &call.func,
            Expr::Subscript(subscript) => at = &subscript.value,
            _ => break,
        }
    }
    parts.reverse();
    parts.join(".")
}

/// A number as text; complex ones are no settings.
pub(super) fn number(literal: &ExprNumberLiteral) -> Option<String> {
    match &literal.value {
        Number::Int(int) => Some(int.to_string()),
        Number::Float(float) => Some(float.to_string()),
        Number::Complex { .. } => None,
    }
}

/// Words of an identifier in lower case: `NgramCacheEval`, `ngram_cache_eval` and `NGRAM_CACHE_EVAL` are the same.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous_lower = false;
    for c in name.chars() {
        let starts = c == '_' || c == '-' || c.is_uppercase() && previous_lower;
        if starts {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        previous_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether an expression is a product with the token to be predicted.
pub(super) fn multiplies_target(expr: &Expr) -> bool {
    let Expr::BinOp(ExprBinOp { left, op: Operator::Mult, right, .. }) = expr else { return false };
    [left, right].iter().any(|side| {
        let name = dotted(side).to_ascii_lowercase();
        ["tgt", "target", "next_tok"].iter().any(|part| name.contains(part))
    })
}

/// Whether a module is one of the packages for zstandard.
pub(super) fn is_zstd(module: &str) -> bool {
    matches!(top(module), "zstandard" | "zstd" | "pyzstd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_split_into_words() {
        assert_eq!(words("NgramCacheEval"), ["ngram", "cache", "eval"]);
        assert_eq!(words("NGRAM_CACHE"), ["ngram", "cache"]);
        assert_eq!(words("eval_val_sliding"), ["eval", "val", "sliding"]);
    }
}
