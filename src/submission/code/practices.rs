//! Habits of scripts that a reader of the diff overlooks: what is collected and never used, what depends on chance.
//!
//! Each is a shape in the syntax tree. What a shape does not prove is left out.

mod never;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Stmt, StmtFunctionDef};
use ruff_text_size::{Ranged, TextSize};

use super::Python;
use super::names::{dotted, words};
use super::notes::NoteKind;
use super::order::mentioned;

/// All habits of a file: what, where, and other places that show it.
pub fn of(python: &Python) -> Vec<(NoteKind, TextSize, Vec<TextSize>)> {
    let mut reader = Reader { found: Vec::new() };
    visitor::walk_body(&mut reader, &python.module().body);
    let mut found = reader.found;
    found.extend(never::average_never_applied(python));
    found.extend(never::quantization_never_on(python));
    found
}

struct Reader {
    found: Vec<(NoteKind, TextSize, Vec<TextSize>)>,
}

impl<'a> Visitor<'a> for Reader {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::FunctionDef(function) => {
                self.tail(function);
                self.handed_out(function);
            }
            Stmt::Assign(assign) => {
                let target = assign.targets.first().map(dotted).unwrap_or_default();
                self.seed(&target, &assign.value);
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        if let Expr::Call(call) = expr {
            let name = dotted(&call.func);
            let last = name.rsplit('.').next().unwrap_or_default();
            if matches!(last, "seed" | "manual_seed" | "manual_seed_all" | "default_rng" | "Random" | "RandomState")
                && let Some(argument) = call.arguments.args.first()
            {
                self.seed("seed", argument);
            }
        }
        visitor::walk_expr(self, expr);
    }
}

impl Reader {
    /// `max(wlen - stride, 0)` over windows that may be cut by the end: the last targets count in many windows.
    fn tail(&mut self, function: &StmtFunctionDef) {
        let mut shapes = TailShapes::default();
        visitor::walk_body(&mut shapes, &function.body);
        if let (Some(at), Some(windows)) = (shapes.from_own_end, shapes.windows) {
            self.found.push((NoteKind::TailScoredTwice, at, vec![windows]));
        }
    }

    /// A function that takes a lock on a file and returns which work to do next.
    fn handed_out(&mut self, function: &StmtFunctionDef) {
        let mut lock = FileLock::default();
        visitor::walk_body(&mut lock, &function.body);
        let claims = words(function.name.as_str()).iter().any(|word| {
            matches!(
                word.as_str(),
                "claim" | "next" | "take" | "acquire" | "pop" | "grab" | "queue" | "steal" | "fetch"
            )
        });
        if let (Some(at), Some(returned)) = (lock.taken, lock.returned)
            && claims
        {
            self.found.push((NoteKind::WorkByLock, at, vec![returned]));
        }
    }

    /// A seed made from the names of files: another machine, another path, other batches.
    fn seed(&mut self, target: &str, value: &Expr) {
        if !words(target).iter().any(|word| word == "seed" || word == "rng") {
            return;
        }
        let mut hash = HashOfPath { found: None };
        hash.visit_expr(value);
        if let Some(at) = hash.found {
            self.found.push((NoteKind::SeedFromPaths, at, Vec::new()));
        }
    }
}

#[derive(Default)]
struct TailShapes {
    from_own_end: Option<TextSize>,
    windows: Option<TextSize>,
}

impl<'a> Visitor<'a> for TailShapes {
    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call(call) if dotted(&call.func) == "max" => {
                if let Some(Expr::BinOp(difference)) = call.arguments.args.first()
                    && is_named(&difference.right, "stride")
                    && (is_named(&difference.left, "wlen") || is_named(&difference.left, "wl"))
                {
                    self.from_own_end.get_or_insert(call.start());
                }
            }
            // `[ws for ws in range(0, total, stride) if min(ws + T, total) - ws >= 1]`
            Expr::ListComp(list) => {
                if let Some(generator) = list.generators.first()
                    && mentioned(&generator.iter).iter().any(|name| name.contains("stride"))
                {
                    let cut = generator.ifs.iter().all(|test| match test {
                        Expr::Compare(compare) => compare.comparators.iter().any(|right| {
                            matches!(right, Expr::NumberLiteral(number) if number.value.as_int().is_some_and(|n| n.as_u64().is_some_and(|n| n <= 1)))
                        }),
                        _ => false,
                    });
                    if cut {
                        self.windows.get_or_insert(list.start());
                    }
                }
            }
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

fn is_named(expr: &Expr, part: &str) -> bool {
    dotted(expr).rsplit('.').next().is_some_and(|name| name.to_ascii_lowercase().contains(part))
}

#[derive(Default)]
struct FileLock {
    taken: Option<TextSize>,
    returned: Option<TextSize>,
}

impl<'a> Visitor<'a> for FileLock {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        if let Stmt::Return(value) = stmt
            && value.value.as_deref().is_some_and(|value| !matches!(value, Expr::NoneLiteral(_)))
        {
            self.returned.get_or_insert(stmt.start());
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        if let Expr::Call(call) = expr {
            let name = dotted(&call.func);
            if matches!(
                name.as_str(),
                "fcntl.flock" | "fcntl.lockf" | "FileLock" | "filelock.FileLock" | "msvcrt.locking"
            ) {
                self.taken.get_or_insert(call.start());
            }
        }
        if let Expr::Attribute(attribute) = expr
            && attribute.attr.as_str() == "O_EXCL"
        {
            self.taken.get_or_insert(expr.start());
        }
        visitor::walk_expr(self, expr);
    }
}

struct HashOfPath {
    found: Option<TextSize>,
}

impl<'a> Visitor<'a> for HashOfPath {
    fn visit_expr(&mut self, expr: &'a Expr) {
        if let Expr::Call(call) = expr {
            let name = dotted(&call.func);
            let last = name.rsplit('.').next().unwrap_or_default();
            let hashes = matches!(last, "hash" | "crc32" | "adler32" | "md5" | "sha1" | "sha256" | "blake2b" | "xxh64");
            let path = call.arguments.args.iter().flat_map(mentioned).any(|name| {
                words(&name).iter().any(|word| {
                    matches!(
                        word.as_str(),
                        "path" | "paths" | "file" | "files" | "filename" | "filenames" | "pattern" | "folder"
                    )
                })
            });
            if hashes && path {
                self.found.get_or_insert(call.start());
            }
        }
        visitor::walk_expr(self, expr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(NoteKind, u64)> {
        let python = Python::parse(text).unwrap();
        assert!(python.syntax_errors().is_empty(), "{text}");
        of(&python).into_iter().map(|(kind, at, _)| (kind, python.line(at))).collect()
    }

    #[test]
    fn windows_cut_by_the_end_rescore_the_tail() {
        let windows = |test: &str| {
            format!(
                "def eval_sliding(val_tokens, total, stride):\n    ws = [w for w in range(0, total, stride) if {test}]\n    \
                 for w in ws:\n        wlen = min(w + T, total) - w\n        s = 0 if w == 0 else max(wlen - stride, 0)\n"
            )
        };
        assert_eq!(kinds(&windows("min(w + T, total) - w >= 1")), [(NoteKind::TailScoredTwice, 5)]);
        // Windows that are whole, or end at the last target once.
        assert_eq!(kinds(&windows("w + T - stride < total")), []);
        assert_eq!(kinds(&windows("min(w + T, total) - w >= stride")), []);
    }

    #[test]
    fn averages_that_nothing_uses() {
        let collect = "def main():\n    swa_state = {n: p.clone() for n, p in sd.items()}\n    for s in range(9):\n        \
                       for n, p in sd.items():\n            swa_state[n] += p\n        swa_count += 1\n";
        assert_eq!(kinds(collect), [(NoteKind::AverageNeverApplied, 2)]);
        for used in [
            "    model.load_state_dict({n: v / swa_count for n, v in swa_state.items()})\n",
            "    avg = {n: v / swa_count for n, v in swa_state.items()}\n    model.load_state_dict(avg)\n",
            "    for n, p in model.named_parameters():\n        p.data = swa_state[n] / swa_count\n",
            "    for n, p in model.named_parameters():\n        p.data.copy_(swa_state[n] / swa_count)\n",
            "    return swa_state\n",
        ] {
            assert_eq!(kinds(&format!("{collect}{used}")), [], "{used}");
        }
    }

    #[test]
    fn flags_that_stay_off() {
        let off = "class L:\n    _qat_enabled = False\n    def forward(self, x):\n        if self._qat_enabled:\n            \
                   x = fake(x)\n        return x\n";
        assert_eq!(kinds(off), [(NoteKind::QuantizationNeverOn, 2)]);
        for on in [
            "L._qat_enabled = True\n",
            "L._qat_enabled = args.late_qat\n",
            "setattr(L, '_qat_enabled', True)\n",
            "f(_qat_enabled=1)\n",
        ] {
            assert_eq!(kinds(&format!("{off}{on}")), [], "{on}");
        }
    }

    #[test]
    fn what_runs_elsewhere_or_depends_on_chance() {
        for (text, kind) in [
            ("rng = np.random.default_rng(hash(str(file_path)))\n", NoteKind::SeedFromPaths),
            ("seed = zlib.crc32(path.encode())\n", NoteKind::SeedFromPaths),
            (
                "def claim_next(counter):\n    fcntl.flock(counter, fcntl.LOCK_EX)\n    return int(counter.read())\n",
                NoteKind::WorkByLock,
            ),
        ] {
            assert_eq!(kinds(text).first().map(|(kind, _)| *kind), Some(kind), "{text}");
        }
        for text in [
            "seed = int(os.environ.get('SEED', 1337))\n",
            "digest = hashlib.sha256(path.read_bytes())\n",
            "def build_kernel(path):\n    with FileLock(path):\n        compile(path)\n",
        ] {
            assert_eq!(kinds(text), [], "{text}");
        }
    }
}
