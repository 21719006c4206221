//! Is one line Python or the line of a log? Decided from the line alone, without parsing: listings are cut and damaged.

/// The quotes of a string over several lines that is open, if one is.
pub(super) type OpenQuote = Option<[u8; 3]>;

const DOUBLE: [u8; 3] = *b"\"\"\"";
const SINGLE: [u8; 3] = *b"'''";

/// The open quotes behind a line, given those before it.
pub(super) fn quotes_after(line: &str, before: OpenQuote) -> OpenQuote {
    let bytes = line.as_bytes();
    let mut open = before;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if let Some(quotes) = open {
            if rest.starts_with(&quotes) {
                open = None;
                at += 3;
            } else {
                at += if rest[0] == b'\\' { 2 } else { 1 };
            }
            continue;
        }
        match rest[0] {
            b'#' => return None,
            quote @ (b'"' | b'\'') => {
                let triple = if quote == b'"' { DOUBLE } else { SINGLE };
                if rest.starts_with(&triple) {
                    open = Some(triple);
                    at += 3;
                } else {
                    at += string_len(rest);
                }
            }
            _ => at += 1,
        }
    }
    open
}

/// Bytes of the string of one line that starts here, its quotes included.
fn string_len(bytes: &[u8]) -> usize {
    let quote = bytes[0];
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Number of `=` of a line that holds nothing else.
pub(super) fn rule_length(line: &str) -> usize {
    let line = line.trim();
    if line.bytes().all(|byte| byte == b'=') { line.len() } else { 0 }
}

/// A line without the mark of the rank that printed it (`[rank0]:`, `[default3]:`, `3: `) or of the logger (`[2026-04-02
/// 10:00:00] INFO: `), as launchers and loggers put them.
pub(super) fn without_mark(line: &str) -> &str {
    let all_digits = |text: &str| !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((_, rest)) = line.split_once(": ").filter(|(rank, _)| all_digits(rank)) {
        return rest;
    }
    let Some(inside) = line.strip_prefix('[') else { return line };
    if inside.starts_with(|c: char| c.is_ascii_digit())
        && let Some((_, rest)) = inside.split_once("] INFO: ")
    {
        return rest;
    }
    let Some((name, rest)) = inside.split_once("]:") else { return line };
    let digits = name.trim_start_matches("rank").trim_start_matches("default");
    if digits.len() < name.len() && all_digits(digits) { rest } else { line }
}

/// A comment, at any indentation.
pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Length of the dotted name at the start.
fn name_len(text: &str) -> usize {
    let is_start = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if is_start {
        text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(text.len())
    } else {
        0
    }
}

/// A line at the margin with which only a script starts, or a part of one.
pub(super) fn starts_script(line: &str) -> bool {
    let plain = line.trim_start_matches(['r', 'R', 'u', 'b']);
    if plain.starts_with("\"\"\"") || plain.starts_with("'''") || line.starts_with("#!/") || line.starts_with("# -*-") {
        return true;
    }
    if line.starts_with("if __name__ ==") || line.starts_with("if __name__==") {
        return true;
    }
    is_import(line) || is_definition(line) || is_decorator(line)
}

/// `import a, b as c` and `from a.b import c`, and nothing else that starts so.
fn is_import(line: &str) -> bool {
    if let Some(rest) = line.strip_prefix("from ") {
        let rest = rest.trim_start();
        let dots = rest.len() - rest.trim_start_matches('.').len();
        let name = dots + name_len(&rest[dots..]);
        return name > 0 && rest[name..].trim_start().starts_with("import ");
    }
    let Some(mut rest) = line.strip_prefix("import ") else { return false };
    loop {
        rest = rest.trim_start();
        let name = name_len(rest);
        if name == 0 {
            return false;
        }
        rest = rest[name..].trim_start();
        if let Some(alias) = rest.strip_prefix("as ") {
            let alias = alias.trim_start();
            rest = alias[name_len(alias)..].trim_start();
        }
        match rest.chars().next() {
            None | Some(';' | '#') => return true,
            Some(',') => rest = &rest[1..],
            Some(_) => return false,
        }
    }
}

fn is_definition(line: &str) -> bool {
    let line = line.strip_prefix("async ").unwrap_or(line);
    if let Some(rest) = line.strip_prefix("def ") {
        let name = name_len(rest);
        return name > 0 && rest[name..].starts_with('(');
    }
    let Some(rest) = line.strip_prefix("class ") else { return false };
    let name = name_len(rest);
    let after = rest[name..].trim_start();
    name > 0
        && (after.starts_with(':') && !after[1..].starts_with(' ') || after.starts_with('(') && after.contains("):"))
}

/// `@dataclass`, `@torch.no_grad()`.
fn is_decorator(line: &str) -> bool {
    let Some(rest) = line.strip_prefix('@') else { return false };
    let name = name_len(rest);
    let after = rest[name..].trim_end();
    name > 0 && (after.is_empty() || after.starts_with('(') && after.ends_with(')'))
}

/// A line that ends as statements end, and log lines seldom do.
pub(super) fn ends_like_code(line: &str) -> bool {
    let line = line.trim_end();
    ["):", "\")", "')", "(", ",", "[", "\\"].iter().any(|end| line.ends_with(end))
}

/// Code by what stands in it, at any indentation: the end of an old listing behind a shorter log.
pub(super) fn is_fragment(line: &str) -> bool {
    let text = line.trim_start();
    if is_json(text) {
        return false;
    }
    let calls = ["log0(", "log(", "print(", "print0(", "self.", "return self", "raise "];
    let is_call = calls.iter().any(|call| text.starts_with(call)) && !text.starts_with("raise ") || is_raise(text);
    is_call || text.contains("os.environ") || has_format_string(text) || has_template(text)
}

fn is_raise(text: &str) -> bool {
    text.strip_prefix("raise ").is_some_and(|rest| rest[name_len(rest)..].starts_with('('))
}

/// A whole JSON object on one line.
pub(super) fn is_json(text: &str) -> bool {
    text.starts_with("{\"") && text.trim_end().ends_with('}')
}

/// `f"` or `f'` that opens a string with a hole in it.
fn has_format_string(text: &str) -> bool {
    let bytes = text.as_bytes();
    let opens = |at: usize| {
        at == 0 || bytes.get(at - 1).is_some_and(|b| matches!(b, b'(' | b' ' | b'=' | b',' | b'+' | b'[' | b'\t'))
    };
    let found = |quote: &str| text.match_indices(quote).any(|(at, _)| opens(at) && text[at..].contains('{'));
    found("f\"") || found("f'")
}

/// `val_bpb:{bpb:.8f}`: what a format string leaves to be filled in.
fn has_template(text: &str) -> bool {
    text.match_indices('{').any(|(at, _)| {
        let inside = text[at + 1..].split('}').next().unwrap_or_default();
        let Some((name, format)) = inside.rsplit_once(':') else { return false };
        let format = format.trim_start_matches(['+', '>', '<', '^', ',']);
        let digits = format.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        name_len(name) > 0
            && digits.len() < format.len()
            && matches!(digits, "f" | "d" | "e" | "g" | "%" | "")
            && text[at + 1..].contains('}')
    })
}

/// Starts of lines that only a run prints, also where a listing was cut inside a string.
const LOG_STARTS: &[&str] = &["step:", "model_params:", "warmup_step:", "world_size:", "seed:", "tokens:"];

/// A line that no script holds: what every run prints about itself.
pub(super) fn is_certain_log(line: &str) -> bool {
    let has_number = |start: &str| {
        line.strip_prefix(start).is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()))
    };
    LOG_STARTS.iter().any(|start| has_number(start))
        || is_banner(line)
        || (line.starts_with("train_loader:") || line.starts_with("val_loader:")) && !line.contains('{')
}

/// What stands behind a listing: versions, the table of `nvidia-smi`, an error.
pub(super) fn is_banner(line: &str) -> bool {
    ["Running Python ", "Running PyTorch ", "| NVIDIA-SMI", "+-----", "Traceback (most recent call last)"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// Words that begin a statement.
const KEYWORDS: &[&str] = &[
    "if", "elif", "else", "for", "while", "try", "except", "finally", "with", "async", "return", "raise", "assert",
    "del", "global", "pass", "match", "case", "yield", "await", "import", "from", "def", "class", "type",
];

/// Whether a line at the margin can be Python, inside a listing. Lines of the shape `key:value key=value` are not.
pub(super) fn is_code_at_margin(line: &str) -> bool {
    // Logs begin lines with opening brackets, scripts end statements with closing ones.
    if line.starts_with(['#', '@', '"', '\'', ')', ']', '}']) {
        return true;
    }
    if starts_script(line) {
        return true;
    }
    let name = name_len(line);
    if name == 0 {
        return false;
    }
    if let Some(rest) = KEYWORDS.iter().find_map(|word| line.strip_prefix(word)).filter(|rest| !starts_name(rest)) {
        return rest.is_empty() || rest.trim_end().ends_with([':', ',', '(', '\\']) || rest.contains(['(', ':', '=']);
    }
    let rest = line[name..].trim_start();
    let rest = behind_subscript(rest).trim_start();
    match rest.chars().next() {
        Some('(' | ';') => true,
        Some('=') => !is_pair_list(rest),
        Some(',') => rest.contains('='),
        Some(':') => is_annotation(rest[1..].trim_start()),
        Some('+' | '-' | '*' | '/' | '|' | '&' | '%' | '@') => {
            rest[1..].trim_start_matches(['*', '/']).starts_with('=')
        }
        _ => false,
    }
}

fn starts_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Behind `[...]`, where the text starts with it.
fn behind_subscript(text: &str) -> &str {
    match text.starts_with('[') {
        true => text.find(']').map_or(text, |end| &text[end + 1..]),
        false => text,
    }
}

/// `=8 grad_accum_steps=1`: several pairs behind one another are no assignment.
fn is_pair_list(rest: &str) -> bool {
    let mut depth = 0i32;
    let mut words = 0;
    let mut at = 0;
    let bytes = rest.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\'' => at += string_len(&bytes[at..]) - 1,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b' ' if depth == 0 => {
                let next = &rest[at + 1..];
                let name = name_len(next);
                words +=
                    usize::from(name > 0 && next[name..].starts_with(['=', ':']) && !next[name..].starts_with("=="));
            }
            _ => {}
        }
        at += 1;
    }
    words > 0
}

/// What may stand behind `name:`: a type, alone or with a value.
fn is_annotation(text: &str) -> bool {
    let name = name_len(text.trim_start_matches(['"', '\'']));
    if name == 0 {
        return false;
    }
    let rest = behind_subscript(&text[name..]).trim_start();
    rest.is_empty() && !text.contains('/') || rest.starts_with(['=', '|'])
}

#[cfg(test)]
mod tests;
