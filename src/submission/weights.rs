//! What lies in a folder as weights: whole files, and files that were cut into parts.
//!
//! Content decides what is weights, names only which files belong together.

use std::collections::BTreeMap;

use super::nature::Nature;
use super::opened::{Opened, OpenedArtifact};
use super::{CodeText, FileKind, FoundFile, RecordFolder};
use crate::artifact::foreign::MAX_OPENED_BYTES;

/// One model as it lies in the folder: a file, or the parts of one.
#[derive(Clone, Debug)]
pub struct Whole<'a> {
    /// Its file, or its parts in order of their names.
    pub files: Vec<&'a FoundFile>,
    /// Bytes of all of them; of a Git LFS pointer, those of the file it stands for.
    pub bytes: u64,
    /// What opening a file told; `None` for parts, which are nothing by themselves.
    pub opened: Option<&'a OpenedArtifact>,
    /// The name with what tells alternatives apart, such as a seed, taken out.
    pub role: String,
}

impl Whole<'_> {
    /// Names for messages, such as `model.part0 to model.part2`.
    pub fn name(&self) -> String {
        match self.files.as_slice() {
            [one] => one.path.clone(),
            [first, .., last] => format!("{} parts, {} to {},", self.files.len(), first.path, last.path),
            [] => String::new(),
        }
    }

    /// Whether it opens as a model that is stored without compression in two bytes a value or more: what training
    /// leaves, not what fits a budget.
    pub fn is_raw(&self) -> bool {
        match self.opened.map(|opened| &opened.content) {
            Some(Opened::Model { description, values, .. }) => {
                let layers = description.split(" > ").count();
                layers <= 2 && self.bytes as f64 >= 1.9 * *values as f64
            }
            // Four times the budget and more: only a start was looked at.
            Some(Opened::Damaged(_)) => self
                .files
                .iter()
                .all(|file| file.bytes > MAX_OPENED_BYTES && matches!(file.head.as_slice(), [b'P', b'K', 3, 4, ..])),
            _ => false,
        }
    }

    /// Whether a number in a path is that of a seed: the path or a log says so.
    pub fn is_of_seed(&self, folder: &RecordFolder) -> bool {
        let logged = |seed: u64| folder.logs.iter().any(|log| log.seeds.iter().any(|noted| noted.value == seed));
        let says = |&(number, is_said): &(u64, bool)| is_said || logged(number);
        self.files.iter().any(|file| numbers(&file.path).iter().any(says))
    }

    /// Values of the model, if it opened as one.
    pub fn values(&self) -> Option<u64> {
        match self.opened?.content {
            Opened::Model { values, .. } => Some(values),
            _ => None,
        }
    }
}

/// The code that counts: the script and what it imports of the folder; without a script of the usual name, the only
/// Python file.
pub fn counted_code(folder: &RecordFolder) -> Vec<&CodeText> {
    let python = || folder.code.iter().filter(|code| code.path.ends_with(".py"));
    let counts = |code: &&CodeText| match folder.main_code() {
        Some(_) => code.is_main() || folder.survey.counted.contains(&code.path),
        None => python().count() == 1,
    };
    python().filter(counts).collect()
}

/// Everything in the folder that may be weights, in order of the first file's path.
pub fn weights(folder: &RecordFolder) -> Vec<Whole<'_>> {
    let opened = |file: &FoundFile| folder.artifacts.iter().find(|artifact| artifact.path == file.path);
    let code = counted_code(folder);
    let is_code = |file: &FoundFile| code.iter().any(|code| code.path == file.path);
    let may_be = |file: &&FoundFile| !is_code(file) && may_be_weights(file, opened(file));
    let files: Vec<&FoundFile> = folder.files.iter().filter(may_be).collect();
    let mut by_stem: BTreeMap<(String, Series), Vec<&FoundFile>> = BTreeMap::new();
    for &file in &files {
        for key in series(&file.path) {
            by_stem.entry(key).or_default().push(file);
        }
    }
    let mut taken: Vec<&str> = Vec::new();
    let mut wholes = Vec::new();
    for ((stem, series), mut parts) in by_stem {
        parts.retain(|file| !taken.contains(&file.path.as_str()));
        // `model.ptz` beside `model.ptz.1`: the first part may go without a number.
        if series != Series::Number
            && series != Series::Letters
            && let Some(first) = files.iter().find(|file| file.path.to_ascii_lowercase() == stem)
            && !parts.iter().any(|part| part.path == first.path)
        {
            parts.insert(0, first);
        }
        if parts.len() < 2 || !are_parts(&parts, series, &opened) {
            continue;
        }
        taken.extend(parts.iter().map(|file| file.path.as_str()));
        let bytes = parts.iter().fold(0, |sum: u64, file| sum.saturating_add(size(file)));
        wholes.push(Whole { role: role(&parts[0].path), files: parts, bytes, opened: None });
    }
    for file in files.into_iter().filter(|file| !taken.contains(&file.path.as_str())) {
        wholes.push(Whole { role: role(&file.path), files: vec![file], bytes: size(file), opened: opened(file) });
    }
    wholes.sort_by(|a, b| a.files[0].path.cmp(&b.files[0].path));
    wholes
}

/// Bytes of a file; of a pointer, those of the file it stands for.
fn size(file: &FoundFile) -> u64 {
    match &file.nature {
        Nature::Pointer(pointer) => pointer.bytes.unwrap_or(file.bytes),
        _ => file.bytes,
    }
}

/// A pointer under any name counts from this size on.
const MIN_POINTED_BYTES: u64 = 1_000_000;

fn may_be_weights(file: &FoundFile, opened: Option<&OpenedArtifact>) -> bool {
    if file.bytes == 0 {
        return false;
    }
    match (&file.nature, opened.map(|opened| &opened.content)) {
        (Nature::Pointer(pointer), _) => {
            let large = pointer.bytes.is_some_and(|bytes| bytes >= MIN_POINTED_BYTES);
            file.kind == FileKind::Artifact || (large && file.kind == FileKind::Other && !is_picture(&file.path))
        }
        (
            _,
            Some(
                Opened::Model { .. }
                | Opened::Refused(_)
                | Opened::Ambiguous(..)
                | Opened::Several(_)
                | Opened::Damaged(_),
            ),
        ) => true,
        (_, Some(Opened::Other)) | (Nature::Known(_) | Nature::Text, _) => false,
        (Nature::Binary | Nature::Encoded, _) => true,
    }
}

fn is_picture(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    ["png", "jpg", "jpeg", "gif", "webp", "svg", "pdf", "mp4", "webm"].iter().any(|end| lower.ends_with(end))
}

/// How parts of one file are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Series {
    /// By a word such as `part`, or by `-of-`.
    Said,
    /// By an ending of digits only.
    Ending,
    /// By two or three letters at the end, from `aa` on, as `split` does.
    Letters,
    /// By the last number in the name, which may mean something else.
    Number,
}

/// Words in front of a part's number.
const PART_WORDS: [&str; 9] = ["part", "chunk", "piece", "split", "shard", "slice", "segment", "volume", "vol"];

/// The series a name may belong to, with the name that its members share.
fn series(path: &str) -> Vec<(String, Series)> {
    let lower = path.to_ascii_lowercase();
    let (folder, name) = lower.rsplit_once('/').map_or(("", lower.as_str()), |(folder, name)| (folder, name));
    let stem = |before: &str, after: &str| {
        let before = before.trim_end_matches(['.', '_', '-']);
        if folder.is_empty() { format!("{before}{after}") } else { format!("{folder}/{before}{after}") }
    };
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut found = Vec::new();
    for word in PART_WORDS {
        if let Some(at) = name.find(word) {
            let rest = name[at + word.len()..].trim_start_matches(['.', '_', '-']);
            let rest = rest.strip_prefix(|c: char| c == 's').unwrap_or(rest);
            let number = digits(rest);
            // `part0`, `part_a`, `parta`.
            let length =
                if number > 0 { number } else { usize::from(rest.starts_with(|c: char| c.is_ascii_lowercase())) };
            if number > 0 || rest.len() <= 3 {
                found.push((stem(&name[..at], rest.get(length..).unwrap_or("")), Series::Said));
                return found;
            }
        }
    }
    if let Some((before, after)) = ["-of-", "_of_", "of"].iter().find_map(|of| {
        let (before, after) = name.rsplit_once(of)?;
        (before.ends_with(|c: char| c.is_ascii_digit()) && digits(after) > 0).then_some((before, after))
    }) {
        found.push((stem(before.trim_end_matches(|c: char| c.is_ascii_digit()), after), Series::Said));
        return found;
    }
    if let Some((before, ending)) = name.rsplit_once('.') {
        // `.001`, and `.z01` or `.r00` of archives in volumes.
        let number = ending.strip_prefix(['z', 'r']).unwrap_or(ending);
        if !number.is_empty() && digits(number) == number.len() {
            found.push((stem(before, ""), Series::Ending));
            return found;
        }
    }
    let letters = name.bytes().rev().take(2).filter(u8::is_ascii_lowercase).count();
    if letters == 2
        && let Some(before) = name.get(..name.len() - 2)
    {
        found.push((stem(before, ""), Series::Letters));
    }
    if let Some(end) = name.rfind(|c: char| c.is_ascii_digit()) {
        let before = name[..=end].trim_end_matches(|c: char| c.is_ascii_digit());
        found.push((stem(before, &format!("#{}", &name[end + 1..])), Series::Number));
    }
    found
}

/// Whether files whose names make a series are one file in parts, and not one file each.
fn are_parts<'a>(
    files: &[&'a FoundFile],
    series: Series,
    opened: &impl Fn(&'a FoundFile) -> Option<&'a OpenedArtifact>,
) -> bool {
    let ends = |end: &str| files.iter().any(|file| file.path.to_ascii_lowercase().ends_with(end));
    match series {
        Series::Said => true,
        Series::Letters => ends("aa") && ends("ab"),
        // The first may go without a number.
        Series::Ending => count_up(files.iter().filter_map(|file| last_number(file)).collect()),
        Series::Number => {
            // Seeds and steps are numbers too. Behind the first, parts are no files by themselves, while files of one
            // kind begin alike.
            let numbers: Option<Vec<u64>> = files.iter().map(|file| last_number(file)).collect();
            let is_model = |file: &&'a FoundFile| {
                matches!(opened(file), Some(OpenedArtifact { content: Opened::Model { .. }, .. }))
            };
            let alike = files.windows(2).all(|pair| pair[0].head.get(..4) == pair[1].head.get(..4));
            numbers.is_some_and(count_up) && !files.iter().all(is_model) && !alike
        }
    }
}

/// The last number of a file's name, unless the name says that it is a seed or a step.
fn last_number(file: &FoundFile) -> Option<u64> {
    let name = file.path.rsplit('/').next()?;
    numbers(name).pop().filter(|(_, is_said)| !is_said).map(|(number, _)| number)
}

/// The numbers in a path, and whether the word before says that it is a seed or a step.
fn numbers(path: &str) -> Vec<(u64, bool)> {
    let path = path.to_ascii_lowercase();
    let mut found = Vec::new();
    let mut rest = path.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        let said = before.trim_end_matches(['_', '-', '=', '.']);
        let is_said =
            ["seed", "step", "iter", "epoch"].iter().any(|word| said.ends_with(word)) || before.ends_with("_s");
        found.push((digits.parse().unwrap_or(u64::MAX), is_said));
        rest = after;
    }
    found
}

/// Whether numbers count from 0 or 1, with few left out.
fn count_up(mut numbers: Vec<u64>) -> bool {
    numbers.sort_unstable();
    let last = numbers.last().copied().unwrap_or(u64::MAX);
    numbers.first().is_some_and(|&first| first <= 1) && last <= 2 * numbers.len() as u64
}

/// A path with its numbers taken out: what files of several seeds have in common.
fn role(path: &str) -> String {
    let mut role = String::with_capacity(path.len());
    for c in path.to_ascii_lowercase().chars() {
        match c {
            '0'..='9' if role.ends_with('#') => {}
            '0'..='9' => role.push('#'),
            c => role.push(c),
        }
    }
    role
}
