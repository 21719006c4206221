//! Reading and writing manifests, with errors that name file, line, field and remedy.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::checks::check_recipe;
use super::locate::line_of;
use super::ranges::check_ranges;
use super::{MANIFEST_SCHEMA, Manifest};

/// A manifest describes a run; one larger than this is something else (bounded before reading).
const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// Most brackets open at a time.
const MAX_BRACKETS: usize = 1_000;

/// Why a manifest was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read manifest {}: {source}", path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any manifest.
    #[error("{} is larger than {MAX_MANIFEST_BYTES} bytes: not a manifest", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not UTF-8.
    #[error("{} is not UTF-8 text (first bad byte at offset {offset})", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Offset of the first invalid byte.
        offset: usize,
    },
    /// YAML that does not parse or does not fit the schema.
    #[error("{}{}: {message}{}", path.display(), location(*line), hint(suggestion))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// 1-based line, where known.
        line: Option<usize>,
        /// What is wrong.
        message: String,
        /// The known key that was probably meant.
        suggestion: Option<String>,
    },
    /// Values that parse but contradict one another or the mathematics.
    #[error("{}{}: {field}: {message}", path.display(), location(*line))]
    Impossible {
        /// The file.
        path: PathBuf,
        /// 1-based line of the field, or of the section it is missing in, where there is one.
        line: Option<usize>,
        /// Dotted path of the field.
        field: String,
        /// What is wrong and what would be right.
        message: String,
    },
}

fn location(line: Option<usize>) -> String {
    line.map_or(String::new(), |line| format!(":{line}"))
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or(String::new(), |known| format!("; did you mean `{known}`?"))
}

/// Reads, parses and checks the manifest at `path`.
///
/// ```
/// use std::path::Path;
///
/// use golf_harness::manifest;
///
/// let smoke = manifest::load(Path::new("manifests/smoke.yaml"))?;
/// assert_eq!((smoke.model.num_layers, smoke.model.model_dim), (4, 96));
/// // What a manifest leaves out is as in PR #286.
/// assert_eq!(smoke.model.mlp_mult, 3.0);
/// # Ok::<(), manifest::LoadError>(())
/// ```
pub fn load(path: &Path) -> Result<Manifest, LoadError> {
    let read = |source| LoadError::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = crate::regular_file::open(path).map_err(read)?;
    file.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(LoadError::TooLarge { path: path.to_path_buf() });
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| LoadError::NotText { path: path.to_path_buf(), offset: e.utf8_error().valid_up_to() })?;
    parse(&text, path)
}

/// Parses and checks manifest text, with or without a byte-order mark; `path` appears in errors only.
pub fn parse(text: &str, path: &Path) -> Result<Manifest, LoadError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(line) = too_deep(text) {
        let message = format!("nested more than {MAX_BRACKETS} brackets deep");
        return Err(LoadError::Invalid { path: path.to_path_buf(), line: Some(line), message, suggestion: None });
    }
    let manifest: Manifest = serde_yaml::from_str(text).map_err(|e| invalid(&e, path))?;
    check(&manifest, path, text)?;
    Ok(manifest)
}

/// 1-based line where more brackets are open than any manifest has: YAML's scanner takes time that grows with the
/// square of their number. Brackets in text count as well, and are closed there.
fn too_deep(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (index, line) in text.lines().enumerate() {
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > MAX_BRACKETS {
                return Some(index + 1);
            }
        }
    }
    None
}

/// [`parse`] of a text that nobody has seen, whose lines therefore mean nothing.
pub(super) fn parse_unseen(text: &str, path: &Path) -> Result<Manifest, LoadError> {
    parse(text, path).map_err(|mut error| {
        if let LoadError::Invalid { line, .. } | LoadError::Impossible { line, .. } = &mut error {
            *line = None;
        }
        error
    })
}

fn invalid(error: &serde_yaml::Error, path: &Path) -> LoadError {
    let line = error.location().map(|location| location.line());
    let text = error.to_string();
    // serde_yaml ends its messages with " at line L column C"; the line is printed in front instead.
    let message = match text.rfind(" at line ") {
        Some(end) if line.is_some() => text[..end].to_string(),
        _ => text,
    };
    let suggestion = closest_of_expected(&message);
    LoadError::Invalid { path: path.to_path_buf(), line, message, suggestion }
}

/// For "unknown field `x`, expected one of `a`, `b`": the expected name closest to x, if it is close.
pub fn closest_of_expected(message: &str) -> Option<String> {
    let mut quoted = message.split("unknown ").nth(1)?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 3)
        .min()
        .map(|(_, known)| known.to_string())
}

fn check(manifest: &Manifest, path: &Path, text: &str) -> Result<(), LoadError> {
    let fail = |field: &str, message: String| {
        Err(LoadError::Impossible {
            path: path.to_path_buf(),
            line: line_of(text, field),
            field: field.into(),
            message,
        })
    };
    if manifest.schema != MANIFEST_SCHEMA {
        return fail(
            "schema",
            format!("`{}` is not supported; this version reads `{MANIFEST_SCHEMA}`", manifest.schema),
        );
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if manifest.name.is_empty() || !manifest.name.chars().all(is_plain) || manifest.name.starts_with('.') {
        return fail(
            "name",
            format!("`{}` must be letters, digits, `-`, `_` and `.`, and not start with a dot", manifest.name),
        );
    }
    if let Err(e) = manifest.model.check() {
        return fail(&format!("model.{}", e.field), e.message);
    }
    let run = || manifest.run.as_ref().map_or(Ok(()), super::run::check_run);
    check_recipe(manifest)
        .and_then(|()| run())
        .and_then(|()| check_ranges(manifest))
        .or_else(|(field, message)| fail(&field, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::canonical_yaml;

    const HEAD: &str = "schema: golf-harness/manifest/v1\nname: test\n";

    fn error_of(text: &str) -> String {
        parse(text, Path::new("m.yaml")).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_file_line_field_and_remedy() {
        let cases = [
            format!("{HEAD}schedule:\n  iteratons: 5\n"),
            format!("{HEAD}color: red\n"),
            format!("{HEAD}schedule:\n  iterations: many\n"),
            format!("{HEAD}schedule:\n  world_size: 3\n"),
            format!("{HEAD}schedule:\n  train_batch_tokens: 1000\n"),
            format!("{HEAD}model:\n  num_kv_heads: 3\n"),
            format!("{HEAD}eval:\n  stride: 0\n"),
            format!("{HEAD}optimizer:\n  matrix_lr: .nan\n"),
            format!("{HEAD}claim:\n  metrics:\n    val_bpb: tbd\n"),
            "schema: golf-harness/manifest/v2\nname: test\n".to_string(),
            "schema: golf-harness/manifest/v1\nname: ../escape\n".to_string(),
            "name: test\n".to_string(),
            String::new(),
            "{".to_string(),
        ];
        let errors: Vec<String> = cases.iter().map(|text| error_of(text)).collect();
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
        let text = include_str!("../../manifests/pr-286.yaml");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.yaml");
        std::fs::write(&path, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
        assert_eq!(load(&path).unwrap(), parse(text, &path).unwrap());
    }

    #[test]
    fn files_that_are_no_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.yaml");
        assert!(matches!(load(&path), Err(LoadError::Read { .. })));
        std::fs::write(&path, b"name: \xff").unwrap();
        assert!(matches!(load(&path), Err(LoadError::NotText { offset: 6, .. })));
        std::fs::File::create(&path).unwrap().set_len(MAX_MANIFEST_BYTES + 1).unwrap();
        assert!(matches!(load(&path), Err(LoadError::TooLarge { .. })));
    }

    #[test]
    fn saving_and_loading_is_the_identity() {
        let manifest = parse(include_str!("../../manifests/pr-286.yaml"), Path::new("pr-286.yaml")).unwrap();
        assert_eq!(manifest.claim.metrics.val_bpb.as_ref().unwrap().text(), "1.16282670");
        let canonical = canonical_yaml(&manifest);
        let back = parse(&canonical, Path::new("canonical.yaml")).unwrap();
        assert_eq!(back, manifest);
        assert_eq!(canonical_yaml(&back), canonical);
    }

    #[test]
    fn pr_286_is_the_default_recipe() {
        let manifest = parse(include_str!("../../manifests/pr-286.yaml"), Path::new("pr-286.yaml")).unwrap();
        let defaults = parse(HEAD, Path::new("m.yaml")).unwrap();
        assert_eq!(manifest.model, defaults.model);
        assert_eq!(manifest.optimizer, defaults.optimizer);
        assert_eq!(manifest.schedule, defaults.schedule);
        assert_eq!(manifest.quantization, defaults.quantization);
        assert_eq!(manifest.eval, defaults.eval);
    }
}
