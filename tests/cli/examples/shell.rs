//! As much of a shell as examples use: quotes, comments, continued lines, variables in front, output to a file.

/// Programs whose lines are looked at.
const PROGRAMS: [&str; 7] = ["golf-harness", "train", "pack", "verify", "score", "reproduce", "rerun"];

/// A command as it is written somewhere.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where.
    pub place: String,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Nothing starts it and nothing is set for it.
    pub is_alone: bool,
}

/// Lines of the fenced blocks of a Markdown page.
pub fn fenced(page: &str) -> String {
    let mut is_inside = false;
    let mut text = String::new();
    for line in page.lines() {
        match line.starts_with("```") {
            true => is_inside = !is_inside,
            false if is_inside => text += &format!("{line}\n"),
            false => {}
        }
    }
    text
}

/// The commands in a text that start one of the programs.
pub fn lines(text: &str, place: &str) -> Vec<Line> {
    let joined = text.replace("\\\n", " ");
    joined.lines().filter_map(|line| command(line.trim().trim_start_matches("$ "), place)).collect()
}

fn command(line: &str, place: &str) -> Option<Line> {
    let mut words = words(line);
    // What a shell does with it afterwards.
    if let Some(end) = words.iter().position(|word| matches!(word.as_str(), ">" | ">>" | "|" | "&&")) {
        words.truncate(end);
    }
    // Settings that the page has put into a variable.
    words.retain(|word| !word.starts_with('$'));
    let is_setting = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
    };
    let settings = words.iter().take_while(|word| is_setting(word)).count();
    let first = words.get(settings)?.clone();
    let at = match first.as_str() {
        "cargo" => {
            let bin = words.iter().position(|word| word == "--bin")? + 1;
            let end = words.iter().position(|word| word == "--")?;
            words[end] = words.get(bin)?.clone();
            end
        }
        "torchrun" | "srun" => words.iter().position(|word| PROGRAMS.contains(&word.as_str()))?,
        _ => settings,
    };
    let words: Vec<String> = words[at..].to_vec();
    let is_ours = words.len() > 1 && PROGRAMS.contains(&words[0].as_str());
    is_ours.then(|| Line { place: place.into(), words, is_alone: at == 0 })
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            // What may be left out.
            (None, '[' | ']') => {}
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
