//! The script's own table of bytes per token, read in the syntax tree.
//!
//! The challenge's table gives a byte token 1, an ordinary piece its UTF-8 length without the leading U+2581, control,
//! unknown and unused tokens 0; the marker counts one byte in the sum, unless the token before it is one of those.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Stmt, StmtFunctionDef, StmtIf};
use ruff_text_size::{Ranged, TextSize};

use super::Python;
use super::names::{dotted, words};

/// The marker for a space.
const MARKER: char = '\u{2581}';

/// A fault of a table: where, the line that measures a piece, and what is wrong.
pub type Fault = (TextSize, TextSize, &'static str);

/// Faults of the tables a file builds, each at its line.
pub fn of(python: &Python) -> Vec<Fault> {
    let mut finder = Finder { python, found: Vec::new() };
    visitor::walk_body(&mut finder, &python.module().body);
    finder.found
}

struct Finder<'a> {
    python: &'a Python,
    found: Vec<Fault>,
}

impl<'a> Visitor<'a> for Finder<'_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        if let Stmt::FunctionDef(function) = stmt {
            self.function(function);
        }
        visitor::walk_stmt(self, stmt);
    }
}

impl Finder<'_> {
    fn function(&mut self, function: &StmtFunctionDef) {
        let mut table = Table::default();
        visitor::walk_body(&mut table, &function.body);
        // A table is a loop over the vocabulary that measures pieces; anything else is another use of a tokenizer.
        let (Some(measured), true) = (table.measured, table.reads_pieces && table.fills) else { return };
        let mut fault = |at: TextSize, what| self.found.push((at, measured, what));
        if let Some(at) = table.byte_of_other_length {
            fault(at, "a byte token counts as another number of bytes than one");
        } else if !table.asks_byte && !table.mentions_byte_token {
            fault(measured, "a byte token such as `<0xE2>` counts as its six characters");
        }
        if !table.asks_special && !table.filters_special {
            fault(function.name.start(), "control, unknown and unused tokens count as the text of their names");
        }
        let text = self.python.text();
        let adds_space = text.contains("leading_space");
        if !table.strips_marker && (adds_space || table.replaces_marker) {
            let what = if adds_space {
                "the space is counted with the piece and once more in the sum"
            } else {
                "the space is counted with the piece, also at the start of a document"
            };
            fault(table.replaced.unwrap_or(measured), what);
        }
        if table.strips_marker && adds_space && !text.contains("boundary") && text.contains("leading_space_lut[") {
            fault(table.marked.unwrap_or(measured), "the space counts after a control token too");
        }
    }
}

#[derive(Default)]
struct Table {
    reads_pieces: bool,
    /// `len(piece.encode("utf-8"))`.
    measured: Option<TextSize>,
    /// Something is filled by token.
    fills: bool,
    asks_byte: bool,
    mentions_byte_token: bool,
    byte_of_other_length: Option<TextSize>,
    asks_special: bool,
    filters_special: bool,
    strips_marker: bool,
    replaces_marker: bool,
    replaced: Option<TextSize>,
    marked: Option<TextSize>,
}

impl Table {
    /// `if sp.is_byte(i): table[i] = N`
    fn byte_branch(&mut self, test: &StmtIf) {
        let Expr::Call(call) = &*test.test else { return };
        if !is_question(&dotted(&call.func), "byte") {
            return;
        }
        for stmt in &test.body {
            let Stmt::Assign(assign) = stmt else { continue };
            let number = match &*assign.value {
                Expr::NumberLiteral(number) => number.value.as_int().and_then(|int| int.as_u64()),
                _ => None,
            };
            let into_table = assign.targets.iter().any(|target| matches!(target, Expr::Subscript(_)));
            if into_table && number.is_some_and(|number| number != 1) {
                self.byte_of_other_length.get_or_insert(stmt.start());
            }
        }
    }
}

/// `sp.is_byte`, `sp.IsByte`.
fn is_question(name: &str, about: &str) -> bool {
    let last = words(name.rsplit('.').next().unwrap_or_default());
    last.first().is_some_and(|word| word == "is") && last.get(1).is_some_and(|word| word == about)
}

impl<'a> Visitor<'a> for Table {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::If(test) => {
                self.byte_branch(test);
                for clause in &test.elif_else_clauses {
                    if let (Some(Expr::Call(call)), Some(Stmt::Assign(assign))) = (&clause.test, clause.body.first())
                        && is_question(&dotted(&call.func), "byte")
                        && let Expr::NumberLiteral(number) = &*assign.value
                        && number.value.as_int().and_then(|int| int.as_u64()).is_some_and(|number| number != 1)
                    {
                        self.byte_of_other_length.get_or_insert(clause.start());
                    }
                }
            }
            Stmt::Assign(assign) => {
                self.fills |= assign.targets.iter().any(|target| matches!(target, Expr::Subscript(_)));
                // `piece = piece[1:]`
                if let Expr::Subscript(part) = &*assign.value
                    && matches!(&*part.slice, Expr::Slice(slice) if slice.lower.is_some() && slice.upper.is_none())
                {
                    self.strips_marker = true;
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call(call) => {
                let name = dotted(&call.func);
                let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
                let argument = call.arguments.args.first();
                match last.as_str() {
                    "id_to_piece" | "idtopiece" => self.reads_pieces = true,
                    "len" => {
                        if let Some(Expr::Call(inner)) = argument
                            && dotted(&inner.func).ends_with("encode")
                        {
                            self.measured.get_or_insert(call.start());
                            // `len(piece[1:].encode())`, `len(piece.lstrip("▁").encode())`
                            if let Expr::Attribute(encode) = &*inner.func
                                && matches!(&*encode.value, Expr::Subscript(_))
                            {
                                self.strips_marker = true;
                            }
                        }
                    }
                    "append" | "extend" => self.fills = true,
                    "lstrip" | "removeprefix" => self.strips_marker = true,
                    "replace" if argument.is_some_and(is_marker) => {
                        let with = call.arguments.args.get(1);
                        match with {
                            Some(Expr::StringLiteral(text)) if text.value.to_str().is_empty() => {
                                self.strips_marker = true
                            }
                            _ => {
                                self.replaces_marker = true;
                                self.replaced.get_or_insert(call.start());
                            }
                        }
                    }
                    "startswith" => {
                        if argument.is_some_and(is_marker) {
                            self.marked.get_or_insert(call.start());
                        }
                        self.mentions_byte_token |= argument.is_some_and(|arg| has_text(arg, "<0x"));
                        self.filters_special |= argument.is_some_and(|arg| has_text(arg, "<"));
                    }
                    _ => {}
                }
                self.asks_byte |= is_question(&name, "byte");
                self.asks_special |= ["control", "unknown", "unused"].iter().any(|about| is_question(&name, about));
            }
            Expr::StringLiteral(text) => {
                let text = text.value.to_str();
                self.mentions_byte_token |= text.contains("<0x") || text.contains("0x");
                self.filters_special |= matches!(text, "<s>" | "</s>" | "<unk>" | "<pad>");
            }
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

fn is_marker(expr: &Expr) -> bool {
    match expr {
        Expr::StringLiteral(text) => text.value.to_str().starts_with(MARKER),
        // A named constant.
        Expr::Name(name) => {
            words(name.id.as_str()).iter().any(|word| matches!(word.as_str(), "marker" | "space" | "sp"))
        }
        _ => false,
    }
}

fn has_text(expr: &Expr, start: &str) -> bool {
    matches!(expr, Expr::StringLiteral(text) if text.value.to_str().starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as the challenge's script has it.
    const RIGHT: &str = "def build_luts(sp, size):
    base_bytes = np.zeros(size)
    has_leading_space = np.zeros(size)
    is_boundary_token = np.ones(size)
    for i in range(sp.vocab_size()):
        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):
            continue
        is_boundary_token[i] = False
        if sp.is_byte(i):
            base_bytes[i] = 1
            continue
        piece = sp.id_to_piece(i)
        if piece.startswith('\u{2581}'):
            has_leading_space[i] = True
            piece = piece[1:]
        base_bytes[i] = len(piece.encode('utf-8'))
    return base_bytes, has_leading_space, is_boundary_token
def eval_val():
    token_bytes = base_bytes_lut[tgt]
    token_bytes += has_leading_space_lut[tgt] & ~is_boundary_token_lut[prev]
";

    fn lines(text: &str) -> Vec<u64> {
        let python = Python::parse(text).unwrap();
        assert!(python.syntax_errors().is_empty(), "{text}");
        of(&python).into_iter().map(|(at, ..)| python.line(at)).collect()
    }

    #[test]
    fn the_right_table_is_no_finding() {
        assert!(lines(RIGHT).is_empty());
        // Other uses of a tokenizer are no tables.
        assert!(lines("def show(sp, i):\n    return len(sp.id_to_piece(i).encode('utf-8'))\n").is_empty());
    }

    #[test]
    fn each_fault_has_its_line() {
        let without = |part: &str, with: &str| {
            assert!(RIGHT.contains(part), "{part}");
            lines(&RIGHT.replace(part, with))
        };
        // The space is counted with the piece and once more in the sum.
        assert_eq!(without("            piece = piece[1:]\n", ""), [15]);
        assert_eq!(without("piece = piece[1:]", "piece = piece.replace('\u{2581}', ' ')"), [15]);
        // `<0xE2>` is six characters.
        assert_eq!(
            without("        if sp.is_byte(i):\n            base_bytes[i] = 1\n            continue\n", ""),
            [13]
        );
        assert_eq!(without("base_bytes[i] = 1", "base_bytes[i] = 3"), [10]);
        // `<s>` is no text.
        assert_eq!(
            without("        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):\n            continue\n", ""),
            [1]
        );
        // No boundary rule.
        let plain =
            RIGHT.replace("is_boundary_token[i] = False", "pass").replace(" & ~is_boundary_token_lut[prev]", "");
        let plain = plain.replace(", is_boundary_token\n", "\n").replace("    is_boundary_token = np.ones(size)\n", "");
        assert_eq!(lines(&plain), [12]);
    }
}
