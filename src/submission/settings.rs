//! Settings of the recipe that a folder gives away: defaults in its script, shapes in its artifact.

use super::Opened;
use super::RecordFolder;
use crate::artifact::inspect;
use crate::manifest::{ENVIRONMENT, Override};

/// What was found, as changes of the schema's defaults, one a field and in the order of [`ENVIRONMENT`].
pub(super) fn settings(folder: &RecordFolder) -> Vec<Override> {
    let script = main_script(folder);
    let shapes = embedding(folder);
    let of_field = |&(variable, field): &(&'static str, &str)| {
        let stored = match field {
            "model.vocab_size" => shapes.map(|(rows, _)| rows.to_string()),
            "model.model_dim" => shapes.map(|(_, columns)| columns.to_string()),
            _ => None,
        };
        if let Some(value) = stored {
            return Some(Override::flag("the artifact", field, value));
        }
        let value = default_in(script?, variable)?;
        Some(Override::flag("train_gpt.py", field, value))
    };
    ENVIRONMENT.iter().filter(|(variable, _)| *variable != "RUN_ID").filter_map(of_field).collect()
}

/// The text that the challenge would run, out of its packing.
fn main_script(folder: &RecordFolder) -> Option<&str> {
    if let Some(Ok(packed)) = folder.survey.main().and_then(|main| main.packed.as_ref()) {
        return Some(&packed.source);
    }
    folder.code.iter().find(|code| code.is_main())?.text.as_deref()
}

/// Rows and columns of the token embedding, where an artifact names it.
fn embedding(folder: &RecordFolder) -> Option<(u64, u64)> {
    folder.artifacts.iter().find_map(|artifact| {
        if !matches!(artifact.content, Opened::Model { .. }) {
            return None;
        }
        let found = inspect::inspect(&folder.root.join(&artifact.path)).ok()?;
        let is_table = |name: &str| name == "tok_emb.weight" || name.ends_with(".tok_emb.weight");
        match found.tensors.iter().find(|tensor| is_table(&tensor.name))?.shape.as_slice() {
            &[rows, columns] => Some((rows as u64, columns as u64)),
            _ => None,
        }
    })
}

/// The default that a script gives a variable: `os.environ.get("NAME", DEFAULT)` and calls like it. Only literals count.
fn default_in(script: &str, variable: &str) -> Option<String> {
    let code = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    code.filter_map(|line| {
        let at = line.find(variable)?;
        let (before, after) = (&line[..at], &line[at + variable.len()..]);
        let quote = before.chars().next_back().filter(|c| matches!(c, '"' | '\''))?;
        let opens = before[..before.len() - 1].trim_end().ends_with('(');
        let rest = after.strip_prefix(quote)?.trim_start().strip_prefix(',')?.trim_start();
        if opens { literal(rest) } else { None }
    })
    .next()
}

/// A number, a switch or a quoted text at the beginning, which a bracket or a comma must end.
fn literal(text: &str) -> Option<String> {
    let text = text.strip_prefix("default=").unwrap_or(text);
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = text[1..].split(quote).next()?;
        return (!inner.is_empty() && !inner.contains('{')).then(|| inner.to_string());
    }
    let word = text.split([')', ',']).next()?.trim();
    match word {
        "True" => return Some("1".into()),
        "False" => return Some("0".into()),
        _ => {}
    }
    let plain = word.replace('_', "");
    plain.parse::<f64>().ok().filter(|value| value.is_finite()).map(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_defaults_are_found_and_nothing_else() {
        let script = "# os.environ.get(\"VOCAB_SIZE\", 1)\n\
                      vocab_size = int(os.environ.get(\"VOCAB_SIZE\", 8192))\n\
                      num_layers = int(os.getenv('NUM_LAYERS', '11'))\n\
                      batch = int(os.environ.get(\"TRAIN_BATCH_TOKENS\", 786_432))\n\
                      tie = bool(int(os.environ.get(\"TIE_EMBEDDINGS\", \"1\")))\n\
                      qat = env(\"QAT_ENABLED\", False)\n\
                      dim = int(os.environ.get(\"MODEL_DIM\", str(width)))\n\
                      print(\"NUM_HEADS\", 8)\nx = \"ROPE_BASE\"\n";
        for (variable, expected) in [
            ("VOCAB_SIZE", Some("8192")),
            ("NUM_LAYERS", Some("11")),
            ("TRAIN_BATCH_TOKENS", Some("786432")),
            ("TIE_EMBEDDINGS", Some("1")),
            ("QAT_ENABLED", Some("0")),
            ("MODEL_DIM", None),
            ("ROPE_BASE", None),
            ("NUM_KV_HEADS", None),
        ] {
            assert_eq!(default_in(script, variable).as_deref(), expected, "{variable}");
        }
    }
}
