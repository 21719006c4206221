//! Several files in one text: what a packed script unpacks to may be a whole folder.

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundled {
    /// Its name, ending in `.py`.
    pub name: String,
    /// Line of the whole text before its first, 0-based.
    pub offset: u64,
    /// Its text.
    pub text: String,
}

/// Most files split off: a script with more parts is no script.
const MAX_FILES: usize = 64;

/// The files of a bundle: an object of texts by name, or parts behind lines that name them. Empty for one file.
pub fn split(source: &str) -> Vec<Bundled> {
    let files = by_object(source).unwrap_or_else(|| by_lines(source));
    if files.len() < 2 { Vec::new() } else { files }
}

/// `{"model.py": "import torch\\n...", "train.py": "..."}`.
fn by_object(source: &str) -> Option<Vec<Bundled>> {
    if !source.trim_start().starts_with('{') {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(source).ok()?;
    let files = object.into_iter().filter_map(|(name, text)| match text {
        serde_json::Value::String(text) if name.ends_with(".py") => Some(Bundled { name, offset: 0, text }),
        _ => None,
    });
    Some(files.take(MAX_FILES).collect())
}

/// Parts behind lines such as `# ==== model.py ====`, `### FILE: model.py` or `--- model.py ---`.
fn by_lines(source: &str) -> Vec<Bundled> {
    let mut files: Vec<Bundled> = Vec::new();
    for (number, line) in source.lines().enumerate() {
        match named(line) {
            Some(name) if files.len() < MAX_FILES => {
                files.push(Bundled { name: name.to_string(), offset: number as u64 + 1, text: String::new() });
            }
            _ => {
                // Code before the first name belongs to no part: then the lines are comments of one script.
                let Some(file) = files.last_mut() else {
                    if line.trim().is_empty() || line.trim_start().starts_with('#') {
                        continue;
                    }
                    return Vec::new();
                };
                file.text.push_str(line);
                file.text.push('\n');
            }
        }
    }
    files
}

/// The file a separating line names.
fn named(line: &str) -> Option<&str> {
    let rule = |c: char| matches!(c, '#' | '=' | '-' | '*' | '>' | '<' | '%' | '~') || c.is_whitespace();
    if !line.starts_with(['#', '=', '-', '%']) {
        return None;
    }
    let middle = line.trim_matches(rule);
    let name = middle.trim_start_matches("FILE:").trim_start_matches("file:").trim_start_matches("File:").trim();
    let marks = line.chars().filter(|c| matches!(c, '#' | '=' | '-' | '%')).count();
    let is_file = name.ends_with(".py") && !name.contains(char::is_whitespace) && name.len() > 3;
    (is_file && (marks >= 3 || middle.len() > name.len())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Vec<(String, u64)> {
        split(source).into_iter().map(|file| (file.name, file.offset)).collect()
    }

    #[test]
    fn bundles_are_told_from_scripts() {
        let lines = "# ==== model.py ====\nimport torch\n# ==== train.py ====\nfrom model import M\n";
        assert_eq!(names(lines), [("model.py".into(), 1), ("train.py".into(), 3)]);
        assert_eq!(split(lines)[1].text, "from model import M\n");
        assert_eq!(names("### FILE: a.py\nx = 1\n### FILE: b.py\ny = 2\n").len(), 2);
        assert_eq!(names("{\"a.py\": \"x = 1\", \"b.py\": \"y = 2\"}").len(), 2);
        // A comment that names a file, code before the first name, and a single part.
        assert_eq!(names("# see model.py\nimport torch\n# and train.py\n"), []);
        assert_eq!(names("import os\n# === a.py ===\nx = 1\n# === b.py ===\ny = 2\n"), []);
        assert_eq!(names("# === a.py ===\nx = 1\n"), []);
    }
}
