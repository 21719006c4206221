//! Assignments, results of functions, and what is written to files.

use std::collections::BTreeMap;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Stmt};

use super::super::aliases::Aliases;
use super::super::names::dotted;
use super::origins::literals_and_names;

/// Variables bound by a target; `a[i]` binds a part of `a`.
fn targets(target: &Expr) -> Vec<String> {
    match target {
        Expr::Name(name) => vec![name.id.to_string()],
        Expr::Attribute(attribute) => vec![attribute.attr.to_string()],
        Expr::Subscript(part) => targets(&part.value),
        Expr::Starred(starred) => targets(&starred.value),
        Expr::Tuple(tuple) => tuple.elts.iter().flat_map(targets).collect(),
        Expr::List(list) => list.elts.iter().flat_map(targets).collect(),
        _ => Vec::new(),
    }
}

/// Assignments, results of functions, and writes of a file.
pub struct Lines<'a> {
    aliases: &'a Aliases,
    function: Vec<String>,
    /// The function around, what is bound there, and to what.
    pub assigned: Vec<(String, Vec<String>, &'a Expr)>,
    /// The function as called, its path, and what it returns.
    pub returned: Vec<(String, String, &'a Expr)>,
    /// Parameters of functions, by name: their path and names.
    pub parameters: BTreeMap<String, (String, Vec<String>)>,
    /// Calls: the function around, the one called, and the arguments.
    pub calls: Vec<(String, String, &'a [Expr])>,
    pub handles: Vec<(String, Vec<String>)>,
    pub written: Vec<(String, Vec<String>, &'a Expr)>,
}

impl<'a> Lines<'a> {
    pub fn new(aliases: &'a Aliases) -> Self {
        Lines {
            aliases,
            function: Vec::new(),
            assigned: Vec::new(),
            returned: Vec::new(),
            parameters: BTreeMap::new(),
            calls: Vec::new(),
            handles: Vec::new(),
            written: Vec::new(),
        }
    }

    fn scope(&self) -> String {
        self.function.join(".")
    }

    fn opened(&self, expr: &Expr) -> Option<Vec<String>> {
        let Expr::Call(call) = expr else { return None };
        let name = self.aliases.resolved(&call.func);
        match name.rsplit('.').next() {
            Some("open" | "fdopen") => match &*call.func {
                Expr::Attribute(path) => Some(literals_and_names(&path.value)),
                _ => call.arguments.args.first().map(literals_and_names),
            },
            Some("NamedTemporaryFile" | "TemporaryFile") => Some(Vec::new()),
            _ => None,
        }
    }
}

impl<'a> Visitor<'a> for Lines<'a> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::FunctionDef(function) => {
                self.function.push(function.name.to_string());
                let parameters = function.parameters.iter().map(|parameter| parameter.name().to_string());
                let parameters = parameters.filter(|name| name != "self").collect();
                self.parameters.insert(function.name.to_string(), (self.scope(), parameters));
                visitor::walk_stmt(self, stmt);
                self.function.pop();
                return;
            }
            Stmt::Assign(assign) => {
                let names = assign.targets.iter().flat_map(targets).collect::<Vec<_>>();
                if let Some(paths) = self.opened(&assign.value) {
                    self.handles.extend(names.iter().map(|name| (name.clone(), paths.clone())));
                }
                self.assigned.push((self.scope(), names, &assign.value));
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    self.assigned.push((self.scope(), targets(&assign.target), value));
                }
            }
            Stmt::AugAssign(assign) => self.assigned.push((self.scope(), targets(&assign.target), &assign.value)),
            Stmt::For(each) => self.assigned.push((self.scope(), targets(&each.target), &each.iter)),
            Stmt::With(with) => {
                for item in &with.items {
                    let Some(target) = &item.optional_vars else { continue };
                    if let Some(mut paths) = self.opened(&item.context_expr) {
                        paths.extend(targets(target));
                        self.handles.extend(targets(target).into_iter().map(|name| (name, paths.clone())));
                    }
                    self.assigned.push((self.scope(), targets(target), &item.context_expr));
                }
            }
            Stmt::Return(value) => {
                if let (Some(value), Some(function)) = (&value.value, self.function.last()) {
                    self.returned.push((function.clone(), self.scope(), value));
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Named(named) => self.assigned.push((self.scope(), targets(&named.target), &named.value)),
            Expr::Call(call) => {
                let name = dotted(&call.func);
                let last = name.rsplit('.').next().unwrap_or_default().to_string();
                self.calls.push((self.scope(), last, &call.arguments.args));
                if let (Expr::Attribute(method), Some(text)) = (&*call.func, call.arguments.args.first())
                    && matches!(method.attr.as_str(), "write" | "write_text" | "write_bytes")
                {
                    let to = self.opened(&method.value).unwrap_or_else(|| literals_and_names(&method.value));
                    self.written.push((self.scope(), to, text));
                }
            }
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}
