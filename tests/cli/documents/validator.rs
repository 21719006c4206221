//! A validator for the part of JSON Schema that the published schemas use. A validator crate would ask for more features
//! of the regular expressions below the Python parser than the programs have, and the library be compiled twice.

use serde_json::{Map, Value};

/// Keywords that say nothing about a value.
const REMARKS: [&str; 7] = ["$schema", "$defs", "title", "description", "default", "format", "deprecated"];

/// A schema that documents are held to.
pub struct Schema {
    root: Value,
    /// Fields without a description are errors, too: what is published is all there is.
    pub is_strict: bool,
}

impl Schema {
    pub fn new(root: Value) -> Self {
        Schema { root, is_strict: true }
    }

    /// What is wrong with a document, a sentence each.
    pub fn errors(&self, document: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        self.check(&self.root, document, "", &mut errors);
        errors
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
        let schema = match schema {
            Value::Bool(true) => return,
            Value::Object(schema) => schema,
            _ => return errors.push(format!("{at}: nothing is allowed here")),
        };
        let mut wrong = |words: String| errors.push(format!("{at}: {words}"));
        for (keyword, rule) in schema {
            match keyword.as_str() {
                "type" if !is_of_type(rule, value) => wrong(format!("{value} is not of type {rule}")),
                "const" if rule != value => wrong(format!("{value} is not {rule}")),
                "enum" if !list(rule).contains(value) => wrong(format!("{value} is none of {rule}")),
                "pattern" if !matches(rule, value) => wrong(format!("{value} does not match {rule}")),
                "minimum" if of_numbers(value, rule, f64::lt) => wrong(format!("{value} is less than {rule}")),
                "maximum" if of_numbers(value, rule, f64::gt) => wrong(format!("{value} is more than {rule}")),
                "minItems" if of_numbers(&length(value), rule, f64::lt) => wrong("too few".into()),
                "maxItems" if of_numbers(&length(value), rule, f64::gt) => wrong("too many".into()),
                "required" => {
                    let lacks = |key: &&Value| value.is_object() && value.get(key.as_str().unwrap()).is_none();
                    list(rule).iter().filter(lacks).for_each(|key| wrong(format!("{key} is missing")));
                }
                _ => {}
            }
        }
        for (keyword, rule) in schema {
            match keyword.as_str() {
                "$ref" => self.check(self.find(rule), value, at, errors),
                "anyOf" | "oneOf" => self.one_of(rule, value, at, errors),
                "properties"
                | "additionalProperties"
                | "items"
                | "prefixItems"
                | "type"
                | "const"
                | "enum"
                | "pattern"
                | "minimum"
                | "maximum"
                | "minItems"
                | "maxItems"
                | "required" => {}
                remark if REMARKS.contains(&remark) => {}
                unknown => errors.push(format!("{at}: this validator does not know `{unknown}`")),
            }
        }
        match value {
            Value::Object(fields) => self.fields(schema, fields, at, errors),
            Value::Array(items) => {
                let first = schema.get("prefixItems").map_or(&[][..], list);
                for (i, item) in items.iter().enumerate() {
                    let rule = first.get(i).or(schema.get("items"));
                    rule.into_iter().for_each(|rule| self.check(rule, item, &format!("{at}/{i}"), errors));
                }
            }
            _ => {}
        }
    }

    fn fields(&self, schema: &Map<String, Value>, fields: &Map<String, Value>, at: &str, errors: &mut Vec<String>) {
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        for (key, value) in fields {
            let at = format!("{at}/{key}");
            match known.and_then(|known| known.get(key)).or(others) {
                Some(rule) => self.check(rule, value, &at, errors),
                None if self.is_strict && known.is_some() => errors.push(format!("{at}: not in the schema")),
                None => {}
            }
        }
    }

    fn one_of(&self, choices: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
        let tried: Vec<Vec<String>> = list(choices)
            .iter()
            .map(|choice| {
                let mut errors = Vec::new();
                self.check(choice, value, at, &mut errors);
                errors
            })
            .collect();
        if !tried.iter().any(Vec::is_empty) {
            errors.extend(tried.into_iter().flatten());
        }
    }

    fn find(&self, path: &Value) -> &Value {
        let path = path.as_str().unwrap().trim_start_matches('#');
        self.root.pointer(path).unwrap_or_else(|| panic!("{path} is not in the schema"))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// Whether two numbers compare so; what is no number has no limits.
fn of_numbers(value: &Value, limit: &Value, compare: fn(&f64, &f64) -> bool) -> bool {
    value.as_f64().zip(limit.as_f64()).is_some_and(|(value, limit)| compare(&value, &limit))
}

/// Items of an array; null of anything else.
fn length(value: &Value) -> Value {
    value.as_array().map(Vec::len).into()
}

fn is_of_type(names: &Value, value: &Value) -> bool {
    list(names).iter().any(|name| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        name => panic!("{name} is no type"),
    })
}

fn matches(pattern: &Value, value: &Value) -> bool {
    let pattern = regex_lite::Regex::new(pattern.as_str().unwrap()).unwrap();
    value.as_str().is_none_or(|text| pattern.is_match(text))
}
