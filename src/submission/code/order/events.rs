//! One function read in the order of its lines: what is scored, what is trained on, in which loops.

use std::collections::{BTreeMap, BTreeSet};

use ruff_python_ast::{Expr, Operator, Stmt, StmtFor};
use ruff_text_size::{Ranged, TextSize};

use super::super::names::{dotted, words};
use super::super::settings::Settings;
use super::event::{Event, Flow, Loop, What};
use super::shapes::{Uses, is_first, is_one_before, targets, written_out};
use super::words::{is_no_text, is_past, is_score, is_validation, mentioned};

/// Reads a function (or a module's own statements) of which these parameters hold validation text.
pub fn read<'a>(
    body: &'a [Stmt],
    given: &BTreeSet<String>,
    local: &'a BTreeSet<String>,
    settings: &'a Settings,
) -> Flow {
    let mut reader = Reader {
        local,
        settings,
        flow: Flow::default(),
        tainted: given.clone(),
        cleared: BTreeSet::new(),
        assigned: BTreeMap::new(),
        derived: BTreeMap::new(),
        offsets: BTreeMap::new(),
        tensors: BTreeMap::new(),
        nested: BTreeMap::new(),
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
    /// Optimizers and tensors of a sample's offset, and the loops around where it starts.
    pub(super) offsets: BTreeMap<String, usize>,
    /// Tensors made to be optimized, and the loops around where they are made.
    pub(super) tensors: BTreeMap<String, usize>,
    /// Functions defined in this one: closures that an optimizer calls.
    pub(super) nested: BTreeMap<String, &'a [Stmt]>,
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

impl<'a> Reader<'a> {
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

    pub(super) fn body(&mut self, body: &'a [Stmt]) {
        body.iter().for_each(|stmt| self.stmt(stmt));
    }

    fn stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::FunctionDef(function) => {
                self.nested.insert(function.name.to_string(), &function.body);
            }
            Stmt::ClassDef(_) => {}
            Stmt::For(each) => self.each(each),
            Stmt::While(repeat) => {
                self.expr(&repeat.test);
                self.enter(repeat.start(), false, String::new(), |reader| reader.body(&repeat.body));
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

    fn enter(&mut self, at: TextSize, repeats: bool, over: String, inside: impl FnOnce(&mut Self)) {
        self.loops.push(self.flow.loops.len());
        self.flow.loops.push(Loop { at, repeats, over });
        inside(self);
        self.loops.pop();
    }

    fn each(&mut self, each: &'a StmtFor) {
        self.expr(&each.iter);
        let names = targets(&each.target);
        let from = self.names(&each.iter);
        self.bind(&each.target, &from, self.is_tainted(&from), each.start());
        let repeats = self.repeats(each, &names);
        self.variables.extend(names.iter().cloned());
        self.enter(each.start(), repeats, written_out(each), |reader| reader.body(&each.body));
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

    fn test(&mut self, test: &'a ruff_python_ast::StmtIf) {
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
        self.offset(&name, value, &names);
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

    /// Notes tensors that are optimized for a sample, and their optimizers.
    fn offset(&mut self, name: &str, value: &Expr, names: &[String]) {
        let loops = self.loops.len();
        let Expr::Call(call) = value else { return };
        let made = dotted(&call.func).to_ascii_lowercase();
        if ["optim", "adam", "sgd", "muon", "lbfgs"].iter().any(|part| made.contains(part)) {
            let Some(argument) = call.arguments.args.first() else { return };
            let of = self.names(argument);
            let single = matches!(argument, Expr::List(list) if list.elts.len() == 1);
            let tensor = of.iter().find_map(|name| self.tensors.get(name)).copied();
            if of.iter().any(|name| is_offset(name)) || single && tensor.is_some() {
                self.offsets.insert(name.to_string(), tensor.unwrap_or(0));
            }
            return;
        }
        let wants_gradient = call.arguments.find_keyword("requires_grad").is_some()
            || made.ends_with("requires_grad_")
            || made.ends_with("nn.parameter")
            || made == "parameter";
        // What is made from an offset goes on with it.
        let carried = names.iter().any(|other| is_offset(other) || self.tensors.contains_key(other));
        if wants_gradient {
            self.tensors.insert(name.to_string(), if carried { 0 } else { loops });
        } else if is_offset(name) && !carried {
            self.tensors.insert(name.to_string(), loops);
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
            made_in: 0,
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
        let root = object.split('.').next().unwrap_or_default();
        let known = self.offsets.get(object).or_else(|| self.tensors.get(root)).copied();
        let of_offset = known.is_some() || is_offset(object);
        let event = self.event(What::Step, at);
        let made_in = known.unwrap_or(0);
        self.flow.events.push(Event { of_past, of_offset, made_in, text, ..event });
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
    name.split('.').flat_map(words).any(|word| matches!(word.as_str(), "slot" | "delta" | "deltas" | "offset"))
        || name.contains("logit_bias")
}
