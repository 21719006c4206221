//! What decides the trained bytes: two runs of equal recipes differ only in what the clock said.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::digest::{ContentDigest, Digest};
use crate::manifest::{LoaderOrder, Manifest};

/// Model, optimizer, schedule, training tokens and engine, without what only changes the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe(Value);

/// Fields of the schedule that change no weight.
const LOGGING_FIELDS: [&str; 2] = ["val_loss_every", "train_log_every"];

/// A field in which two recipes differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Dotted path.
    pub field: String,
    /// Value of the recipe asked.
    pub ours: String,
    /// Value of the other recipe.
    pub theirs: String,
}

impl Recipe {
    /// The recipe of a manifest on these training shards, in reading order.
    pub fn new<'a>(
        manifest: &Manifest,
        engine: impl std::fmt::Display,
        shards: impl IntoIterator<Item = (&'a Path, &'a ContentDigest)>,
    ) -> Self {
        // Plain structs of numbers, strings and enums always have a JSON form.
        let section = |value: Result<Value, serde_json::Error>| value.unwrap_or(Value::Null);
        let mut schedule = section(serde_json::to_value(&manifest.schedule));
        if let Value::Object(fields) = &mut schedule {
            LOGGING_FIELDS.iter().for_each(|field| drop(fields.shift_remove(*field)));
        }
        let shard = |(path, digest): (&Path, &ContentDigest)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            json!({ "file": name, "sha256": digest.sha256.to_string() })
        };
        let mut recipe = json!({
            "engine": engine.to_string(),
            "model": section(serde_json::to_value(&manifest.model)),
            "optimizer": section(serde_json::to_value(&manifest.optimizer)),
            "schedule": schedule,
            "shards": shards.into_iter().map(shard).collect::<Vec<Value>>(),
        });
        // Left out where it rests, so that digests of earlier traces stay what they were.
        if manifest.data.loader != LoaderOrder::Sequential {
            recipe["loader"] = json!({ "order": manifest.data.loader, "seed": manifest.data.loader_seed });
        }
        Recipe(recipe)
    }

    /// A recipe read back from a file.
    pub fn from_json(value: Value) -> Self {
        Recipe(value)
    }

    /// The recipe as a JSON object.
    pub fn to_json(&self) -> &Value {
        &self.0
    }

    /// SHA-256 of the JSON text.
    pub fn digest(&self) -> Digest {
        ContentDigest::of(self.0.to_string().as_bytes()).sha256
    }

    /// The first field in which the other recipe differs, if any.
    pub fn difference(&self, other: &Recipe) -> Option<Difference> {
        self.differences(other).into_iter().next()
    }

    /// Every field in which the other recipe differs.
    pub fn differences(&self, other: &Recipe) -> Vec<Difference> {
        let mut found = Vec::new();
        compare("", &self.0, &other.0, &mut found);
        found
    }
}

fn compare(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<Difference>) {
    let below = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    let at = |map: &Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or(Value::Null);
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => a
            .keys()
            .chain(b.keys().filter(|key| !a.contains_key(*key)))
            .for_each(|key| compare(&below(key), &at(a, key), &at(b, key), found)),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| compare(&below(&i.to_string()), a, b, found));
        }
        (Value::Array(a), Value::Array(b)) => found.push(Difference {
            field: path.to_string(),
            ours: format!("{} entries", a.len()),
            theirs: format!("{} entries", b.len()),
        }),
        _ if ours == theirs => {}
        _ => {
            found.push(Difference { field: path.to_string(), ours: ours.to_string(), theirs: theirs.to_string() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineKind;

    fn manifest() -> Manifest {
        crate::manifest::parse("schema: golf-harness/manifest/v1\nname: t\n", Path::new("t.yaml")).unwrap()
    }

    fn recipe(manifest: &Manifest, shard: &[u8]) -> Recipe {
        let digest = ContentDigest::of(shard);
        Recipe::new(manifest, EngineKind::Dfdx, [(Path::new("/data/a.bin"), &digest)])
    }

    #[test]
    fn only_what_decides_the_weights_counts() {
        let ours = recipe(&manifest(), b"x");
        let mut same = manifest();
        (same.name, same.schedule.train_log_every, same.eval.stride) = ("other".into(), 7, 1);
        assert_eq!(ours.difference(&recipe(&same, b"x")), None);
        assert_eq!(ours.digest(), recipe(&same, b"x").digest());

        let mut other = manifest();
        other.schedule.swa.every = 51;
        let found = ours.difference(&recipe(&other, b"x")).unwrap();
        assert_eq!(
            (found.field.as_str(), found.ours.as_str(), found.theirs.as_str()),
            ("schedule.swa.every", "50", "51")
        );
        assert_eq!(ours.difference(&recipe(&manifest(), b"y")).unwrap().field, "shards.0.sha256");
        let mut shuffled = manifest();
        shuffled.data.loader_seed = 1;
        assert_eq!(ours.difference(&recipe(&shuffled, b"x")), None);
        shuffled.data.loader = LoaderOrder::Shuffled;
        let found = ours.difference(&recipe(&shuffled, b"x")).unwrap();
        assert_eq!((found.field.as_str(), found.theirs.as_str()), ("loader", r#"{"order":"shuffled","seed":1}"#));
    }
}
