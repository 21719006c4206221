//! Code blocks of a README that hold shell commands.

/// Most commands in running text that are read.
const MAX_SPANS: usize = 256;

/// A code block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// 1-based line of its first line.
    pub line: u64,
    /// Its text, prompts removed.
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Shell,
    PowerShell,
    Other,
}

impl Language {
    fn of(info: &str) -> Language {
        let word: String = info.trim().trim_start_matches('{').trim_start_matches('.').to_ascii_lowercase();
        match word.split(|c: char| c.is_whitespace() || matches!(c, '}' | ',')).next().unwrap_or("") {
            "" | "bash" | "sh" | "shell" | "zsh" | "console" | "shellsession" | "shell-session" | "text"
            | "terminal" => Language::Shell,
            "powershell" | "pwsh" | "ps1" => Language::PowerShell,
            _ => Language::Other,
        }
    }
}

struct Open {
    fence: String,
    /// `>` of a quotation around the block.
    quotation: bool,
    language: Language,
    line: u64,
    text: String,
}

/// The fenced blocks that look like shell, or say no language. PowerShell's `$env:NAME = value` is read as `export`.
/// A README's length is bounded by who reads it.
pub fn blocks(readme: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut block: Option<Open> = None;
    for (index, line) in readme.lines().enumerate() {
        let unquoted = line.trim_start().strip_prefix('>').map(|rest| rest.strip_prefix(' ').unwrap_or(rest));
        let line = match &block {
            Some(open) if open.quotation => unquoted.unwrap_or(line),
            Some(_) => line,
            None => unquoted.unwrap_or(line),
        };
        let trimmed = line.trim_start();
        let marker = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'));
        let fence: String = trimmed.chars().take_while(|c| Some(*c) == marker).collect();
        match &mut block {
            None if fence.len() >= 3 => {
                let language = Language::of(&trimmed[fence.len()..]);
                let (quotation, line) = (unquoted.is_some(), index as u64 + 2);
                block = Some(Open { fence, quotation, language, line, text: String::new() });
            }
            Some(open) if trimmed.starts_with(open.fence.as_str()) && trimmed.trim() == fence => {
                if open.language != Language::Other {
                    found.push(Block { line: open.line, text: std::mem::take(&mut open.text) });
                }
                block = None;
            }
            Some(open) => {
                match open.language {
                    Language::PowerShell => open.text.push_str(&from_powershell(line)),
                    _ => open.text.push_str(without_prompt(line)),
                }
                open.text.push('\n');
            }
            None => {}
        }
    }
    found
}

/// Commands in `code spans` of running text that start with a launcher or a variable: line and text.
pub fn inline_commands(readme: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in readme.lines().enumerate() {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            fenced = !fenced;
            continue;
        }
        if fenced || found.len() >= MAX_SPANS {
            continue;
        }
        for span in line.split('`').skip(1).step_by(2) {
            let starts = span.split_whitespace().any(|word| matches!(word, "torchrun" | "python" | "python3" | "srun"));
            // A single word names a program; a command has arguments.
            if starts && span.split_whitespace().count() > 1 {
                found.push(Block { line: index as u64 + 1, text: span.to_string() });
            }
        }
    }
    found
}

/// Blocks that are indented by four blanks or a tab instead of fenced, and that start something.
pub fn indented_blocks(readme: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    let mut fenced = false;
    for (index, line) in readme.lines().chain([""]).enumerate() {
        let is_fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        fenced ^= is_fence;
        let is_code = !fenced && !is_fence && (line.starts_with("    ") || line.starts_with('\t'));
        match (&mut open, is_code) {
            (Some(block), true) => {
                block.text.push_str(without_prompt(line));
                block.text.push('\n');
            }
            (None, true) => open = Some(Block { line: index as u64 + 1, text: format!("{}\n", without_prompt(line)) }),
            (_, false) => found.extend(open.take()),
        }
    }
    found.retain(|block| {
        block.text.contains("torchrun ") || block.text.contains("python") && block.text.contains(".py")
    });
    found.truncate(MAX_SPANS);
    found
}

/// A line without the `$ ` of a terminal or the `!` of a notebook.
fn without_prompt(line: &str) -> &str {
    let trimmed = line.trim_start();
    match trimmed.strip_prefix("$ ").or_else(|| trimmed.strip_prefix('!')) {
        Some(rest) if !rest.starts_with('[') => rest,
        _ => line,
    }
}

fn from_powershell(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 16);
    let mut rest = line;
    while let Some(at) = rest.find("$env:") {
        out.push_str(&rest[..at]);
        let after = &rest[at + "$env:".len()..];
        let name = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, tail) = after.split_at(name);
        match tail.trim_start().strip_prefix('=') {
            Some(value) => {
                out.push_str(&format!("export {name}="));
                rest = value.trim_start();
            }
            None => {
                out.push_str(&format!("${name}"));
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    match out.trim_end().strip_suffix('`') {
        Some(continued) => format!("{continued}\\"),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(readme: &str) -> Vec<(u64, String)> {
        blocks(readme).into_iter().map(|block| (block.line, block.text)).collect()
    }

    #[test]
    fn shell_is_told_from_other_languages() {
        let readme = "a\n```bash\n$ x\n```\n```python\ny\n```\n~~~\nz\n~~~\n```{.sh}\nw\n```\n";
        assert_eq!(texts(readme), [(3, "x\n".into()), (9, "z\n".into()), (12, "w\n".into())]);
        assert_eq!(texts("````\n```\n````\n```\nx\n```\n"), [(2, "```\n".into()), (5, "x\n".into())]);
        assert!(texts("```bash\nopen\n").is_empty());
    }

    #[test]
    fn blocks_in_quotations_lists_and_powershell() {
        assert_eq!(texts("> ```sh\n> A=1 torchrun t.py\n> ```\n"), [(2, "A=1 torchrun t.py\n".into())]);
        assert_eq!(texts("- x\n  ```\n  a > b\n  ```\n"), [(3, "  a > b\n".into())]);
        let powershell = "```powershell\n$env:A=\"0\"; $env:B = \"x\"; python `\n t.py $env:A\n```\n";
        assert_eq!(texts(powershell), [(2, "export A=\"0\"; export B=\"x\"; python \\\n t.py $A\n".into())]);
    }

    #[test]
    fn spans_and_indented_lines() {
        let readme = "Run `SEED=1 torchrun t.py` (`torchrun` is needed).\n\n    A=1\n    $ torchrun x.py\n```\n    \
                      `torchrun y.py`\n```\n    text";
        let pairs =
            |blocks: Vec<Block>| -> Vec<(u64, String)> { blocks.into_iter().map(|b| (b.line, b.text)).collect() };
        assert_eq!(pairs(inline_commands(readme)), [(1, "SEED=1 torchrun t.py".into())]);
        assert_eq!(pairs(indented_blocks(readme)), [(3, "    A=1\ntorchrun x.py\n".into())]);
    }
}
