//! What a script is set to when nobody sets anything: defaults of environment variables, arguments and constants.

use std::collections::BTreeMap;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Stmt};

use super::Python;
use super::defaults::{self, Argument, constant};
use super::names::{dotted, words};

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The environment variable that changes it, if one does.
    pub variable: Option<String>,
    /// The default as text: `0`, `True`, `ngram`.
    pub default: String,
}

impl Setting {
    /// Whether the default switches something on.
    pub fn is_on(&self) -> bool {
        is_on(&self.default)
    }
}

/// Whether a value switches something on.
pub fn is_on(value: &str) -> bool {
    let value = value.trim().trim_matches(['"', '\'']);
    !matches!(value.to_ascii_lowercase().as_str(), "" | "false" | "no" | "off" | "none")
        && value.parse::<f64>().is_ok_and(|number| number != 0.0) | value.parse::<f64>().is_err()
}

/// Settings by the name of the variable or attribute, in lower case. The first definition counts.
pub struct Settings(BTreeMap<String, Setting>);

impl Settings {
    /// Reads the whole file.
    pub fn of(python: &Python) -> Self {
        let mut settings = Settings(BTreeMap::new());
        visitor::walk_body(&mut settings, &python.module().body);
        settings
    }

    /// The setting an expression such as `args.ttt_enabled` names.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        let last = name.rsplit('.').next().unwrap_or(name);
        self.0.get(&last.to_ascii_lowercase())
    }

    /// The variable of the first setting whose name has these words, where all such settings are off.
    pub fn all_off(&self, about: impl Fn(&[String]) -> bool) -> Option<String> {
        // Orders and sizes of what is off are numbers above zero.
        let switches = |name: &str| {
            let switch =
                ["enabled", "enable", "use", "on", "eval", "mix", "steps", "cache", "weight", "lambda", "alpha"];
            let words = words(name);
            about(&words) && (words.len() == 1 || words.iter().any(|word| switch.contains(&word.as_str())))
        };
        let named = |(name, setting): &(&String, &Setting)| {
            switches(name) || setting.variable.as_ref().is_some_and(|variable| switches(variable))
        };
        let mut found = self.0.iter().filter(named).peekable();
        let (name, first) = *found.peek()?;
        found.all(|(_, setting)| !setting.is_on()).then(|| first.variable.clone().unwrap_or_else(|| name.clone()))
    }

    fn set(&mut self, name: &str, setting: Setting) {
        self.0.entry(name.to_ascii_lowercase()).or_insert(setting);
    }

    fn assigned(&mut self, target: &Expr, value: &Expr) {
        let name = dotted(target);
        let Some(setting) = setting(value) else { return };
        let last = name.rsplit('.').next().unwrap_or_default();
        if !last.is_empty() {
            self.set(last, setting);
        }
    }

    /// `parser.add_argument("--ttt-epochs", default=3)`.
    fn argument(&mut self, argument: &Argument) {
        let flag = argument.flags.iter().find_map(|flag| flag.strip_prefix("--"));
        let Some(name) = flag.map(|name| name.replace('-', "_")) else { return };
        let default = match (argument.keyword("default"), argument.keyword("action")) {
            (Some(value), _) => setting(value),
            (None, Some(Expr::StringLiteral(action))) if action.value.to_str() == "store_true" => {
                Some(Setting { variable: None, default: "False".into() })
            }
            _ => None,
        };
        if let Some(setting) = default {
            self.set(&name, setting);
        }
    }
}

/// The setting a value is: a constant, or what an environment variable says with a constant in its place.
fn setting(value: &Expr) -> Option<Setting> {
    if let Some(default) = constant(value) {
        return Some(Setting { variable: None, default });
    }
    match value {
        Expr::Call(call) => {
            let name = dotted(&call.func).to_ascii_lowercase();
            let arguments = &call.arguments.args;
            if (name.contains("env"))
                && let Some(Expr::StringLiteral(key)) = arguments.first()
            {
                let default = defaults::of_read(call).and_then(constant);
                let default = default.unwrap_or_default();
                return Some(Setting { variable: Some(key.value.to_str().to_string()), default });
            }
            // `bool(int(os.environ.get(...)))`
            arguments.first().and_then(setting)
        }
        // `os.environ.get("A", "0") == "1"`
        Expr::Compare(compare) => {
            let inner = setting(&compare.left)?;
            inner.variable.as_ref()?;
            let right = compare.comparators.first().and_then(constant)?;
            let default = if inner.default == right { "True" } else { "False" };
            Some(Setting { default: default.into(), ..inner })
        }
        Expr::Attribute(attribute) => setting(&attribute.value).filter(|setting| setting.variable.is_some()),
        _ => None,
    }
}

impl<'a> Visitor<'a> for Settings {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Assign(assign) => {
                for target in &assign.targets {
                    self.assigned(target, &assign.value);
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    self.assigned(&assign.target, value);
                }
            }
            Stmt::Expr(expression) => {
                if let Expr::Call(call) = &*expression.value
                    && let Some(argument) = Argument::of(call)
                {
                    self.argument(&argument);
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_found_wherever_they_are_written() {
        let text = "class H:\n    ttt_enabled = bool(int(os.environ.get('TTT_ENABLED', '0')))\n    \
                    epochs: int = int(os.getenv('TTT_EPOCHS', 3))\nSLOT = os.environ.get('SLOT', '1') == '1'\n\
                    USE_NGRAM = False\np.add_argument('--ppm-order', default=5)\n\
                    p.add_argument('--slot-on', action='store_true')\nx = compute()\n";
        let settings = Settings::of(&Python::parse(text).unwrap());
        let of = |name: &str| {
            let setting = settings.get(name)?;
            Some((setting.variable.clone().unwrap_or_default(), setting.default.clone(), setting.is_on()))
        };
        let is = |variable: &str, default: &str, on| Some((variable.to_string(), default.to_string(), on));
        assert_eq!(of("args.ttt_enabled"), is("TTT_ENABLED", "0", false));
        assert_eq!(of("h.epochs"), is("TTT_EPOCHS", "3", true));
        assert_eq!(of("SLOT"), is("SLOT", "True", true));
        assert_eq!(of("USE_NGRAM"), is("", "False", false));
        assert_eq!(of("ppm_order"), is("", "5", true));
        assert_eq!(of("slot_on"), is("", "False", false));
        assert_eq!(of("x"), None);
    }
}
