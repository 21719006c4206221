//! One function read in the order of its lines: what is scored, what is trained on, in which loops.

use std::collections::{BTreeMap, BTreeSet};

use ruff_python_ast::{Expr, Operator, Stmt, StmtFor};
use ruff_text_size::{Ranged, TextSize};

use super::super::names::{dotted, words};
use super::super::settings::Settings;
use super::event::{Event, Flow, Loop, What};
use super::shapes::{Uses, is_first, is_one_before, targets};
use super::words::{is_no_text, is_past, is_score, is_validation, mentioned};

/// Reads a function (or a module's own statements) of which these parameters hold validation text.
pub fn read(body: &[Stmt], given: &BTreeSet<String>, local: &BTreeSet<String>, settings: &Settings) -> Flow {
    let mut reader = Reader {
        local,
        settings,
        flow: Flow::default(),
        tainted: given.clone(),
        cleared: BTreeSet::new(),
        assigned: BTreeMap::new(),
        derived: BTreeMap::new(),
        offsets: BTreeSet::new(),
        loops: Vec::new(),
        variables: Vec::new(),
        guards: Vec::new(),
        first_pass: 0,
        backward: None,
    };
    reader.body(body);
    reader.flow
}

pub struct Reader<'a> {
    pub(super) local: &'a BTreeSet<String>,
    pub(super) settings: &'a Settings,
    pub(super) flow: Flow,
    pub(super) tainted: BTreeSet<String>,
    /// Names like `val_batch` that were given something else.
    pub(super) cleared: BTreeSet<String>,
    pub(super) assigned: BTreeMap<String, TextSize>,
    /// Names a variable was computed from, and theirs.
    pub(super) derived: BTreeMap<String, BTreeSet<String>>,
    /// Optimizers and tensors of a sample's offset.
    pub(super) offsets: BTreeSet<String>,
    pub(super) loops: Vec<usize>,
    pub(super) variables: Vec<String>,
    pub(super) guards: Vec<String>,
    pub(super) first_pass: usize,
    pub(super) backward: Option<Backward>,
}

/// The last backward pass: through validation text, and which.
#[derive(Clone)]
pub struct Backward {
    pub(super) tainted: bool,
    pub(super) of_past: bool,
    pub(super) text: BTreeSet<String>,
}

impl Reader<'_> {
    /// Names in an expression; an index one before a loop's is one of them.
    pub(super) fn names(&self, expr: &Expr) -> Vec<String> {
        let mut names = mentioned(expr);
        if is_one_before(expr, &self.variables) {
            names.push(BEFORE.into());
        }
        names
    }

    pub(super) fn is_tainted(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.tainted.contains(name) || is_validation(name) && !self.cleared.contains(name))
    }

    pub(super) fn is_of_past(&self, names: &[String]) -> bool {
        names
            .iter()
            .any(|name| is_past(name) || self.derived.get(name).is_some_and(|from| from.iter().any(|n| is_past(n))))
    }

    fn body(&mut self, body: &[Stmt]) {
        body.iter().for_each(|stmt| self.stmt(stmt));
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::FunctionDef(_) | Stmt::ClassDef(_) => {}
            Stmt::For(each) => self.each(each),
            Stmt::While(repeat) => {
                self.expr(&repeat.test);
                self.enter(repeat.start(), false, |reader| reader.body(&repeat.body));
            }
            Stmt::If(test) => self.test(test),
            Stmt::With(with) => {
                with.items.iter().for_each(|item| self.expr(&item.context_expr));
                self.body(&with.body);
            }
            Stmt::Try(attempt) => {
                self.body(&attempt.body);
                for handler in &attempt.handlers {
                    let ruff_python_ast::ExceptHandler::ExceptHandler(handler) = handler;
                    self.body(&handler.body);
                }
                self.body(&attempt.orelse);
                self.body(&attempt.finalbody);
            }
            Stmt::Assign(assign) => {
                self.expr(&assign.value);
                for target in &assign.targets {
                    self.assign(target, &assign.value);
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    self.expr(value);
                    self.assign(&assign.target, value);
                }
            }
            Stmt::AugAssign(assign) => {
                self.expr(&assign.value);
                let target = dotted(&assign.target);
                if assign.op == Operator::Sub && self.is_update(&assign.value) {
                    self.step(stmt.start(), &target);
                } else {
                    let names = self.names(&assign.value);
                    self.keep(stmt.start(), &target, &names);
                    self.fill(&target, &names, stmt.start());
                }
            }
            Stmt::Expr(expression) => self.expr(&expression.value),
            Stmt::Return(value) => {
                if let Some(value) = &value.value {
                    self.expr(value);
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, at: TextSize, repeats: bool, inside: impl FnOnce(&mut Self)) {
        self.loops.push(self.flow.loops.len());
        self.flow.loops.push(Loop { at, repeats });
        inside(self);
        self.loops.pop();
    }

    fn each(&mut self, each: &StmtFor) {
        self.expr(&each.iter);
        let names = targets(&each.target);
        let from = self.names(&each.iter);
        self.bind(&each.target, &from, self.is_tainted(&from), each.start());
        let repeats = self.repeats(each, &names);
        self.variables.extend(names.iter().cloned());
        self.enter(each.start(), repeats, |reader| reader.body(&each.body));
        self.variables.truncate(self.variables.len() - names.len());
    }

    /// Whether every turn sees the same text: by name, or because the variable decides nothing.
    fn repeats(&self, each: &StmtFor, names: &[String]) -> bool {
        let Expr::Call(call) = &*each.iter else { return false };
        if !dotted(&call.func).ends_with("range") {
            return false;
        }
        let bound = call.arguments.args.last().map(|expr| self.names(expr)).unwrap_or_default();
        let once = |text: &str| matches!(text, "1" | "1.0" | "0");
        if bound.iter().any(|name| self.settings.get(name).is_some_and(|setting| once(&setting.default))) {
            return false;
        }
        if let [Expr::NumberLiteral(number)] = &*call.arguments.args
            && number.value.as_int().and_then(|int| int.as_u64()).is_some_and(|turns| turns <= 1)
        {
            return false;
        }
        let repeated = |name: &String| {
            words(name).iter().any(|word| {
                matches!(word.as_str(), "epoch" | "epochs" | "ep" | "passes" | "repeat" | "repeats" | "rep" | "rounds")
            })
        };
        if names.iter().chain(&bound).any(repeated) {
            return true;
        }
        let used = Uses::of(&each.body);
        !names.iter().any(|name| used.names.contains(name)) && !used.advances
    }

    fn test(&mut self, test: &ruff_python_ast::StmtIf) {
        self.expr(&test.test);
        let names = self.names(&test.test);
        let first = is_first(&test.test);
        let count = names.len();
        // In the branch where something is off nothing is switched on by its name.
        let negated = matches!(&*test.test, Expr::UnaryOp(_));
        if !negated {
            self.guards.extend(names);
        }
        self.first_pass += usize::from(first);
        self.body(&test.body);
        self.first_pass -= usize::from(first);
        if !negated {
            self.guards.truncate(self.guards.len() - count);
        }
        for clause in &test.elif_else_clauses {
            let names = clause.test.as_ref().map(|expr| self.names(expr)).unwrap_or_default();
            let count = names.len();
            self.guards.extend(names);
            self.body(&clause.body);
            self.guards.truncate(self.guards.len() - count);
        }
    }

    fn assign(&mut self, target: &Expr, value: &Expr) {
        let names = self.names(value);
        let tainted = self.is_tainted(&names);
        let name = dotted(target);
        if let Expr::Call(call) = value {
            let made = dotted(&call.func).to_ascii_lowercase();
            let optimizer = ["optim", "adam", "sgd", "muon"].iter().any(|part| made.contains(part));
            if optimizer && call.arguments.args.first().is_some_and(|arg| self.names(arg).iter().any(|n| is_offset(n)))
            {
                self.offsets.insert(name.clone());
            }
        }
        // `total = total + loss`, `nll[a:b] = ...`
        let into_place = matches!(target, Expr::Subscript(_));
        let adds = matches!(value, Expr::BinOp(op) if matches!(op.op, Operator::Add | Operator::Sub));
        if into_place || names.contains(&name) && adds {
            if matches!(value, Expr::BinOp(sub) if sub.op == Operator::Sub) && self.is_update(value) {
                self.step(target.start(), &name);
            } else {
                self.keep(target.start(), &name, &names);
            }
        } else if matches!(target, Expr::Attribute(a) if a.attr.as_str() == "data") && self.is_update(value) {
            self.step(target.start(), &name);
        }
        if into_place {
            self.fill(&name, &names, value.start());
        } else {
            self.bind(target, &names, tainted, value.start());
        }
    }

    /// Text put into a place of something larger makes all of it text; a sum of scores was made where its last part was.
    pub(super) fn fill(&mut self, target: &str, from: &[String], at: TextSize) {
        let root = target.split('.').next().unwrap_or_default();
        if root.is_empty() || !self.is_tainted(from) {
            return;
        }
        let made = from.iter().filter_map(|name| self.assigned.get(name)).max().copied();
        self.tainted.insert(root.to_string());
        self.assigned.insert(root.to_string(), made.unwrap_or(at));
        let mut all: BTreeSet<String> = from.iter().cloned().collect();
        all.extend(from.iter().filter_map(|name| self.derived.get(name)).flatten().cloned());
        let derived = self.derived.entry(root.to_string()).or_default();
        derived.extend(all.into_iter().take(MAX_DERIVED.saturating_sub(derived.len())));
    }

    fn bind(&mut self, target: &Expr, from: &[String], tainted: bool, at: TextSize) {
        let mut all: BTreeSet<String> = from.iter().cloned().collect();
        for name in from {
            all.extend(self.derived.get(name).into_iter().flatten().take(MAX_DERIVED).cloned());
        }
        all = all.into_iter().take(MAX_DERIVED).collect();
        for name in targets(target) {
            if tainted && !is_no_text(&name) {
                self.tainted.insert(name.clone());
                self.assigned.insert(name.clone(), at);
            } else {
                self.tainted.remove(&name);
                if !from.is_empty() {
                    self.cleared.insert(name.clone());
                }
            }
            self.derived.insert(name, all.clone());
        }
    }

    pub(super) fn event(&self, what: What, at: TextSize) -> Event {
        Event {
            what,
            at,
            computed: at,
            loops: self.loops.clone(),
            guards: self.guards.clone(),
            first_pass_only: self.first_pass > 0,
            of_past: false,
            of_offset: false,
            kept_in: Vec::new(),
            text: BTreeSet::new(),
        }
    }

    /// The names of validation text among these and what they were made from.
    pub(super) fn text(&self, names: &[String]) -> BTreeSet<String> {
        let from = names.iter().flat_map(|name| self.derived.get(name).into_iter().flatten());
        from.chain(names).filter(|name| self.is_tainted(std::slice::from_ref(name))).cloned().collect()
    }

    /// A score is kept, if that is what it is.
    pub(super) fn keep(&mut self, at: TextSize, target: &str, value: &[String]) {
        let scores = is_score(target) || value.iter().any(|name| is_score(name));
        if !scores || !self.is_tainted(value) {
            return;
        }
        // The score was made where the loss was, not where it is added up.
        let made = value.iter().filter(|name| self.tainted.contains(*name) && is_score(name));
        let computed = made.filter_map(|name| self.assigned.get(name)).max().copied();
        let root = target.split('.').next().unwrap_or_default().to_string();
        let event = self.event(What::Score, at);
        self.flow.events.push(Event {
            computed: computed.unwrap_or(at),
            kept_in: vec![root],
            text: self.text(value),
            ..event
        });
    }

    pub(super) fn step(&mut self, at: TextSize, object: &str) {
        let Some(Backward { tainted: true, of_past, text }) = self.backward.clone() else { return };
        let of_offset = self.offsets.contains(object) || is_offset(object);
        let event = self.event(What::Step, at);
        self.flow.events.push(Event { of_past, of_offset, text, ..event });
    }

    /// Whether an expression moves weights along a gradient.
    pub(super) fn is_update(&self, value: &Expr) -> bool {
        let is_gradient = |name: &String| words(name).iter().any(|word| matches!(word.as_str(), "grad" | "grads"));
        self.names(value)
            .iter()
            .any(|name| is_gradient(name) || self.derived.get(name).is_some_and(|from| from.iter().any(is_gradient)))
    }
}

/// Names kept of what a variable was computed from.
const MAX_DERIVED: usize = 48;
/// Stands among them for an index one before a loop's.
pub const BEFORE: &str = "<previous>";

/// Names of tensors that SLOT optimizes.
fn is_offset(name: &str) -> bool {
    words(name).iter().any(|word| matches!(word.as_str(), "slot" | "delta" | "deltas" | "offset"))
        || name.contains("logit_bias")
}
