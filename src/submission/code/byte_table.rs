//! The script's own table of bytes per token, read in the syntax tree.
//!
//! The challenge's table gives a byte token 1, an ordinary piece its UTF-8 length without the leading U+2581, control,
//! unknown and unused tokens 0; the marker counts one byte in the sum, unless the token before it is one of those.

mod sum;

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprCall, Number, Operator, Stmt};
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
    finder.body("", TextSize::default(), &python.module().body);
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
            let name = function.name.to_string();
            self.body(&name, function.name.start(), &function.body);
            if let Some(at) = sum::without_boundary(&function.body) {
                self.found.push((at, at, "the space counts after a control token too"));
            }
        }
        visitor::walk_stmt(self, stmt);
    }
}

impl Finder<'_> {
    /// A function, or the module's own statements, by name.
    fn body(&mut self, name: &str, start: TextSize, body: &[Stmt]) {
        let mut table = Table { counts: is_about_bytes(name), ..Table::default() };
        visitor::walk_body(&mut table, body);
        // A table is a loop over the vocabulary that measures pieces; anything else is another use of a tokenizer.
        let (Some(measured), true) = (table.measured, table.reads_pieces && table.fills) else { return };
        let mut fault = |at: TextSize, what| self.found.push((at, measured, what));
        if let Some((at, what)) = table.byte_of_other_length {
            fault(at, what);
        } else if !table.asks_byte && !table.mentions_byte_token {
            fault(
                measured,
                if table.decodes {
                    "a byte token is decoded to U+FFFD, which has three bytes"
                } else {
                    "a byte token such as `<0xE2>` counts as its six characters"
                },
            );
        }
        if !table.asks_special && !table.filters_special && !table.decodes {
            fault(start, "control, unknown and unused tokens count as the text of their names");
        }
        if table.decodes {
            return;
        }
        let text = self.python.text();
        let adds_space = text.contains("leading_space") || text.contains("has_space");
        if !table.strips_marker && (adds_space || table.replaces_marker) {
            let what = if adds_space {
                "the space is counted with the piece and once more in the sum"
            } else {
                "the space is counted with the piece, also at the start of a document"
            };
            fault(table.replaced.unwrap_or(measured), what);
        }
    }
}

#[derive(Default)]
struct Table {
    reads_pieces: bool,
    /// Tokens are decoded one by one instead of reading their pieces.
    decodes: bool,
    /// `len(piece.encode("utf-8"))`.
    measured: Option<TextSize>,
    /// Variables that hold an encoded piece.
    encoded: BTreeSet<String>,
    /// The name of the function, or of what is filled, is about bytes.
    counts: bool,
    /// Something is filled by token.
    fills: bool,
    asks_byte: bool,
    mentions_byte_token: bool,
    byte_of_other_length: Option<(TextSize, &'static str)>,
    asks_special: bool,
    filters_special: bool,
    strips_marker: bool,
    replaces_marker: bool,
    replaced: Option<TextSize>,
}

/// Whether a name is about numbers of bytes.
fn is_about_bytes(name: &str) -> bool {
    words(name).iter().any(|word| matches!(word.as_str(), "byte" | "bytes" | "nbytes" | "lut" | "luts"))
}

impl Table {
    /// `if sp.is_byte(i): table[i] = N`
    fn byte_branch(&mut self, test: &Expr, body: &[Stmt]) {
        if !asks_for_byte(test) {
            return;
        }
        for stmt in body {
            match stmt {
                Stmt::Assign(assign) => {
                    let counts = |target: &Expr| match target {
                        Expr::Subscript(_) => true,
                        Expr::Name(name) => words(name.id.as_str()).iter().any(|word| {
                            matches!(
                                word.as_str(),
                                "n" | "nb" | "len" | "length" | "size" | "count" | "bytes" | "nbytes" | "width"
                            )
                        }),
                        _ => false,
                    };
                    if assign.targets.iter().any(counts) {
                        self.byte_value(stmt.start(), &assign.value);
                    }
                }
                Stmt::Expr(expression) => {
                    if let Expr::Call(call) = &*expression.value
                        && dotted(&call.func).ends_with("append")
                        && let Some(value) = call.arguments.args.first()
                    {
                        self.byte_value(stmt.start(), value);
                    }
                }
                Stmt::Return(value) => {
                    if let Some(value) = &value.value {
                        self.fills |= self.counts;
                        self.byte_value(stmt.start(), value);
                    }
                }
                _ => {}
            }
        }
    }

    /// What a byte token counts.
    fn byte_value(&mut self, at: TextSize, value: &Expr) {
        let what = match value {
            Expr::NumberLiteral(number) => match &number.value {
                Number::Int(int) if int.as_u64() != Some(1) => {
                    // Zero leaves it to a sum elsewhere.
                    (int.as_u64() != Some(0)).then_some("a byte token counts as another number of bytes than one")
                }
                _ => None,
            },
            Expr::Call(call) if dotted(&call.func) == "len" => {
                let text = call.arguments.args.first();
                let bytes = text.is_some_and(|text| {
                    let name = dotted(text);
                    ["bytes", "to_bytes", "fromhex", "byte_value"].iter().any(|part| name.ends_with(part))
                        && !name.ends_with("encode")
                });
                (!bytes).then_some("a byte token counts with the length of its name, `<0x0A>` has six characters")
            }
            Expr::Call(call)
                if matches!(dotted(&call.func).rsplit('.').next(), Some("int" | "int16" | "max" | "float")) =>
            {
                if let Some(inner) = call.arguments.args.first() {
                    self.byte_value(at, inner);
                }
                None
            }
            _ => None,
        };
        if let Some(what) = what {
            self.byte_of_other_length.get_or_insert((at, what));
        }
    }
}

/// `sp.is_byte(i)`, `piece.startswith("<0x")`, `kind[i] == BYTE`; not their negation.
fn asks_for_byte(test: &Expr) -> bool {
    match test {
        Expr::Call(call) => {
            let name = dotted(&call.func);
            let of_hex = |argument: &Expr| matches!(argument, Expr::StringLiteral(text) if text.value.to_str().trim_start_matches('^').starts_with("<0x"));
            is_question(&name, "byte")
                || name.ends_with("startswith") && call.arguments.args.first().is_some_and(of_hex)
                || matches!(name.as_str(), "re.match" | "re.fullmatch")
                    && call.arguments.args.first().is_some_and(of_hex)
        }
        Expr::BoolOp(all) if all.op == ruff_python_ast::BoolOp::And => all.values.iter().any(asks_for_byte),
        Expr::Compare(compare) => compare.comparators.iter().any(|right| dotted(right).ends_with("BYTE")),
        _ => false,
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
            Stmt::FunctionDef(_) | Stmt::ClassDef(_) => return,
            Stmt::If(test) => {
                self.byte_branch(&test.test, &test.body);
                for clause in &test.elif_else_clauses {
                    if let Some(test) = &clause.test {
                        self.byte_branch(test, &clause.body);
                    }
                }
            }
            Stmt::Assign(assign) => {
                self.fills |= assign.targets.iter().any(|target| matches!(target, Expr::Subscript(_)));
                let about = assign.targets.iter().any(|target| is_about_bytes(&dotted(target)));
                if is_comprehension(&assign.value) && about {
                    self.fills = true;
                }
                if let Expr::Call(call) = &*assign.value
                    && call.arguments.args.iter().any(is_comprehension)
                    && about
                {
                    self.fills = true;
                }
                // `raw = piece.encode()`
                if let (Expr::Call(call), [Expr::Name(name)]) = (&*assign.value, &*assign.targets)
                    && dotted(&call.func).ends_with("encode")
                {
                    self.encoded.insert(name.id.to_string());
                }
                // `piece = piece[1:]`
                if let Expr::Subscript(part) = &*assign.value
                    && matches!(&*part.slice, Expr::Slice(slice) if slice.lower.is_some() && slice.upper.is_none())
                {
                    self.strips_marker = true;
                }
            }
            Stmt::Return(value) => {
                self.fills |= self.counts && value.value.as_deref().is_some_and(is_comprehension);
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call(call) => self.call(call),
            // `3 if sp.is_byte(i) else len(...)`
            Expr::If(choice) if asks_for_byte(&choice.test) => {
                self.asks_byte = true;
                self.byte_value(expr.start(), &choice.body);
            }
            // `len(piece.encode()) - 3`
            Expr::BinOp(op) if op.op == Operator::Sub && is_length(&op.left) => self.strips_marker = true,
            Expr::Attribute(attribute) => match attribute.attr.as_str() {
                "piece" | "pieces" => self.reads_pieces = true,
                "BYTE" => self.asks_byte = true,
                "type" | "CONTROL" => self.asks_special = true,
                name => self.asks_special |= is_special(name),
            },
            Expr::Name(name) => self.asks_special |= is_special(name.id.as_str()),
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

/// Names of tokens that are no text: `special_ids`, `bos_id`.
fn is_special(name: &str) -> bool {
    let special = ["special", "specials", "bos", "eos", "unk", "reserved", "control", "skip"];
    words(name).iter().any(|word| special.contains(&word.as_str()))
}

fn is_comprehension(expr: &Expr) -> bool {
    matches!(expr, Expr::ListComp(_) | Expr::DictComp(_) | Expr::Generator(_))
}

fn is_length(expr: &Expr) -> bool {
    matches!(expr, Expr::Call(call) if dotted(&call.func) == "len")
}

impl Table {
    fn call(&mut self, call: &ExprCall) {
        let name = dotted(&call.func);
        let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let argument = call.arguments.args.first();
        match last.as_str() {
            "id_to_piece" | "idtopiece" | "id_to_token" | "convert_ids_to_tokens" => self.reads_pieces = true,
            // `sp.decode([i])`
            "decode" | "decode_ids" | "decodeids" if matches!(argument, Some(Expr::List(list)) if list.elts.len() == 1) =>
            {
                self.reads_pieces = true;
                self.decodes = self.counts;
            }
            "len" => self.length(call),
            // `range(3, vocab_size)` leaves the first tokens out.
            "range" if call.arguments.args.len() == 2 => {
                self.filters_special |= matches!(argument, Some(Expr::NumberLiteral(n)) if n.value.as_int().is_some_and(|n| n.as_u64() != Some(0)));
            }
            "append" | "extend" => self.fills = true,
            "lstrip" | "removeprefix" => self.strips_marker = true,
            "replace" if argument.is_some_and(is_marker) => match call.arguments.args.get(1) {
                Some(Expr::StringLiteral(text)) if text.value.to_str().is_empty() => self.strips_marker = true,
                _ => {
                    self.replaces_marker = true;
                    self.replaced.get_or_insert(call.start());
                }
            },
            "startswith" => {
                self.mentions_byte_token |= argument.is_some_and(|arg| has_text(arg, "<0x"));
                self.filters_special |= argument.is_some_and(|arg| has_text(arg, "<"));
            }
            _ => {}
        }
        self.asks_byte |= is_question(&name, "byte");
        self.asks_special |= ["control", "unknown", "unused", "special"].iter().any(|about| is_question(&name, about));
    }

    /// `len(piece.encode())`, `len(bytes(piece, "utf-8"))`, `len(raw)` of an encoded piece.
    fn length(&mut self, call: &ExprCall) {
        match call.arguments.args.first() {
            Some(Expr::Call(inner)) => {
                let name = dotted(&inner.func);
                if name.ends_with("encode") || name == "bytes" && inner.arguments.args.len() == 2 {
                    self.measured.get_or_insert(call.start());
                }
                // `len(piece[1:].encode())`
                if let Expr::Attribute(encode) = &*inner.func
                    && matches!(&*encode.value, Expr::Subscript(_))
                {
                    self.strips_marker = true;
                }
            }
            Some(Expr::Name(raw)) if self.encoded.contains(raw.id.as_str()) => {
                self.measured.get_or_insert(call.start());
            }
            _ => {}
        }
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
mod tests;
