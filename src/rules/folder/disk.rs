//! The budget by the bytes on disk: code and the model files that lie in the folder, whatever logs and claims say.

use super::DEFAULT;
use super::runs::sizes;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::SizeKind;
use crate::submission::{FoundFile, Nature, Opened, OpenedArtifact, RecordFolder, Whole, counted_code, weights};
use crate::units::{Bytes, group_digits};

pub(super) const RULES: &[Rule] = &[Rule {
    id: RuleId("artifact_size_not_logged"),
    statement: "A model file has another size than logs and submission.json give.",
    reference: "custom: what is handed in is what was measured",
    severity: Severity::Warning,
    why: "The results belong to another file than the one that lies here.",
    example: "final_model.ptz has 15,301,204 bytes; the log says \"Serialized model int6+zstd: 15299117 bytes\"",
    check: Check::Folder(not_logged),
    ..DEFAULT
}];

/// Files of no known format that are smaller than any checkpoint of a model that has to be compressed: twice the budget.
const MIN_RAW: u64 = 32_000_000;

/// Less data than this beside the weights is not worth a question: pictures and tokenizers come to that.
const MIN_BESIDE: u64 = 1_000_000;

/// The code that counts.
struct Code<'a> {
    files: Vec<&'a str>,
    bytes: u64,
}

impl<'a> Code<'a> {
    fn of(folder: &'a RecordFolder) -> Self {
        let files = counted_code(folder);
        let bytes = files.iter().fold(0, |sum: u64, code| sum.saturating_add(code.digest.bytes.0));
        Code { files: files.into_iter().map(|code| code.path.as_str()).collect(), bytes }
    }

    fn name(&self) -> String {
        match self.files.as_slice() {
            [] => String::new(),
            [one] => one.to_string(),
            many => format!("{} code files", many.len()),
        }
    }
}

/// The code and the weights of a folder.
pub(super) struct Disk<'a> {
    code: Code<'a>,
    /// Weights that count, each alone.
    weighed: Vec<Whole<'a>>,
    /// Weights as training left them, beside those that are handed in.
    set_aside: Vec<Whole<'a>>,
    /// Whether a log or a claim names the size of something that lies here.
    is_named: bool,
}

impl<'a> Disk<'a> {
    pub fn of(case: &FolderCase<'a>) -> Self {
        let code = Code::of(case.folder);
        let known = Known::of(case, &code);
        let all = weights(case.folder);
        // A checkpoint counts unless a log or a claim says that something smaller beside it is handed in.
        let is_named = |whole: &Whole| !known.is_raw(whole) && known.names(whole.bytes);
        let handed_in = all.iter().filter(|whole| is_named(whole)).map(|whole| whole.bytes).max();
        let (set_aside, weighed) = all
            .into_iter()
            .partition(|whole| known.is_raw(whole) && handed_in.is_some_and(|bytes| bytes < whole.bytes));
        Disk { code, weighed, set_aside, is_named: handed_in.is_some() }
    }

    /// Whether there is anything to weigh: without weights, logs and claims have to do.
    pub fn has_weights(&self) -> bool {
        !self.weighed.is_empty()
    }

    fn total(&self, whole: &Whole) -> u64 {
        self.code.bytes.saturating_add(whole.bytes)
    }

    /// `train_gpt.py 347 + final_model.ptz 15,301,204 = 15,301,551 bytes on disk`.
    fn sum(&self, whole: &Whole) -> String {
        let code = match self.code.bytes {
            0 => String::new(),
            bytes => format!("{} {} + ", self.code.name(), Bytes(bytes)),
        };
        let stands = match whole.files.as_slice() {
            [FoundFile { nature: Nature::Pointer(pointer), .. }] => {
                format!(" (what a Git LFS pointer stands for, {})", pointer.oid)
            }
            _ => String::new(),
        };
        let total = Bytes(self.total(whole));
        format!("{code}{} {}{stands} = {total} bytes on disk", whole.name(), Bytes(whole.bytes))
    }

    /// The largest that counts, in words.
    pub fn largest(&self) -> Option<(u64, String)> {
        let largest = self.weighed.iter().max_by_key(|whole| whole.bytes)?;
        let aside: Vec<String> = self.set_aside.iter().map(Whole::name).collect();
        let remark = match (aside.as_slice(), self.weighed.len()) {
            ([], 0 | 1) => String::new(),
            ([], n) => format!(" (largest of {n})"),
            (aside, _) => format!("; uncompressed beside it and not weighed: {}", aside.join(", ")),
        };
        Some((self.total(largest), format!("{}{remark}", self.sum(largest))))
    }

    /// Total and code of the largest that counts.
    pub fn largest_parts(&self) -> Option<(u64, u64)> {
        let largest = self.weighed.iter().max_by_key(|whole| whole.bytes)?;
        Some((self.total(largest), self.code.bytes))
    }

    /// What is over the cap; `logged` is the total that logs give.
    pub fn over(&self, case: &FolderCase, cap: u64, logged: u64) -> Vec<Violation> {
        let excess = |total: u64| group_digits(i128::from(total) - i128::from(cap));
        let cite = |whole: &Whole| whole.files.iter().take(8).map(|file| found(file)).collect::<Vec<_>>();
        let mut violations: Vec<Violation> = self
            .weighed
            .iter()
            .filter(|whole| self.total(whole) > cap)
            .map(|whole| {
                let over = excess(self.total(whole));
                Violation::new(format!("{}, {over} over {}", self.sum(whole), Bytes(cap)), cite(whole))
            })
            .collect();
        let code = self.code.bytes;
        if code > cap && violations.is_empty() {
            let message =
                format!("{} alone is {} bytes, {} over {}", self.code.name(), Bytes(code), excess(code), Bytes(cap));
            violations.push(Violation::new(
                message,
                self.code.files.iter().take(8).map(|path| Evidence::file(*path)).collect(),
            ));
        }
        if violations.is_empty() {
            violations.extend(self.together(case, cap));
        }
        let weighs = |file: &FoundFile| self.weighed.iter().chain(&self.set_aside).any(|whole| holds(whole, file));
        let is_code = |file: &FoundFile| self.code.files.contains(&file.path.as_str());
        let is_log = |file: &FoundFile| case.folder.logs.iter().any(|log| log.path == file.path);
        for file in case.folder.files.iter().filter(|file| file.bytes > cap) {
            if !weighs(file) && !is_code(file) && !is_log(file) {
                let what = match file.nature {
                    Nature::Known(format) => format!("begins as {format}"),
                    _ => "looks like no model".to_string(),
                };
                let message = format!("{} {what}, and is {} bytes", file.path, Bytes(file.bytes));
                violations.push(Violation::new(message, vec![found(file)]).graded(Severity::Review));
            }
        }
        if violations.is_empty() && logged <= cap {
            violations.extend(self.beside(case, cap, logged));
        }
        violations
    }

    /// Data beside what counts, with which a submission would be over the cap: pictures, tokenizers, pointers, and text
    /// that hardly compresses, in as many files as it likes.
    fn beside(&self, case: &FolderCase, cap: u64, logged: u64) -> Option<Violation> {
        let counts = |file: &FoundFile| {
            self.weighed.iter().chain(&self.set_aside).any(|whole| holds(whole, file))
                || self.code.files.contains(&file.path.as_str())
        };
        let data = |file: &FoundFile| match &file.nature {
            Nature::Text => file.dense,
            Nature::Pointer(pointer) => pointer.bytes.unwrap_or(file.bytes),
            _ => file.bytes,
        };
        let others = case.folder.files.iter().filter(|file| !counts(file));
        let mut files: Vec<(u64, &FoundFile)> = others.map(|file| (data(file), file)).filter(|(n, _)| *n > 0).collect();
        files.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.path.cmp(&b.1.path)));
        let beside = files.iter().fold(0u64, |sum, (bytes, _)| sum.saturating_add(*bytes));
        let counted = self.weighed.iter().map(|whole| self.total(whole)).max().unwrap_or(self.code.bytes).max(logged);
        let total = counted.saturating_add(beside);
        if beside < MIN_BESIDE || total <= cap {
            return None;
        }
        let message = format!(
            "{} bytes of data in {} files lie beside the {} that count, {} together; does a script read them?",
            Bytes(beside),
            files.len(),
            Bytes(counted),
            Bytes(total)
        );
        let evidence = files.iter().take(8).map(|(_, file)| found(file)).collect();
        Some(Violation::new(message, evidence).graded(Severity::Review))
    }

    /// Weights that fit each alone and not together, and that are not one model each: files in different roles.
    fn together(&self, case: &FolderCase, cap: u64) -> Option<Violation> {
        let known = Known::of(case, &self.code);
        // Neither its bytes nor a log tells which model of which run it is. The name may, of a pointer to a file that
        // lies elsewhere; nobody spells the model of a seed in letters.
        let is_open = |whole: &Whole| {
            let is_of_seed = || whole.is_of_seed(case.folder);
            let spelled = |file: &&FoundFile| match file.nature {
                Nature::Pointer(_) => !is_of_seed(),
                Nature::Encoded => true,
                _ => false,
            };
            whole.files.iter().all(spelled) && !known.names(whole.bytes)
        };
        let mut roles: Vec<&Whole> = Vec::new();
        let mut by_size: Vec<&Whole> = self.weighed.iter().collect();
        by_size.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.files[0].path.cmp(&b.files[0].path)));
        for whole in by_size {
            let is_part = |other: &&Whole| is_open(other) && is_open(whole) && !is_same_file(other, whole);
            if !roles.iter().any(|other| is_alternative(other, whole) && !is_part(other)) {
                roles.push(whole);
            }
        }
        let bytes = roles.iter().fold(0u64, |sum, whole| sum.saturating_add(whole.bytes));
        let total = self.code.bytes.saturating_add(bytes);
        if roles.len() < 2 || total <= cap {
            return None;
        }
        let names: Vec<String> = roles.iter().map(|whole| whole.name()).collect();
        let evidence = roles.iter().flat_map(|whole| &whole.files).take(8).map(|file| found(file)).collect();
        // Files that no reader knows, and that neither log nor claim accounts for, may well be halves of one.
        let unread = roles.iter().all(|whole| whole.values().is_none());
        let severity = if unread && !self.is_named { Severity::Fail } else { Severity::Review };
        let message = format!(
            "{} and code come to {} bytes on disk, over {} together though not each alone",
            names.join(" + "),
            Bytes(total),
            Bytes(cap)
        );
        Some(Violation::new(message, evidence).graded(severity))
    }
}

fn found(file: &FoundFile) -> Evidence {
    Evidence::file(&file.path).found(format!("{} bytes", Bytes(file.bytes)))
}

fn holds(whole: &Whole, file: &FoundFile) -> bool {
    whole.files.iter().any(|part| part.path == file.path)
}

fn is_same_file(a: &Whole, b: &Whole) -> bool {
    let digest = |whole: &Whole| match whole.files.as_slice() {
        [one] => one.digest.map(|digest| digest.sha256),
        _ => None,
    };
    digest(a).is_some() && digest(a) == digest(b)
}

/// Whether two are the same model of two seeds, or in two encodings, of which one is loaded.
fn is_alternative(a: &Whole, b: &Whole) -> bool {
    let format = |whole: &Whole<'_>| whole.opened.map(|opened| opened.content.clone());
    a.role == b.role
        || is_same_file(a, b)
        || (a.values().is_some() && a.values() == b.values() && format(a) != format(b))
}

/// Sizes of models that logs and submission.json give.
struct Known {
    models: Vec<u64>,
    raw: Vec<u64>,
}

impl Known {
    fn of(case: &FolderCase, code: &Code) -> Self {
        let folder = case.folder;
        let of = |kind| sizes(folder, kind);
        let mut models = of(SizeKind::Model);
        let mut codes = [of(SizeKind::Code), of(SizeKind::PackedCode)].concat();
        codes.push(code.bytes);
        codes.extend(folder.main_code().map(|code| code.digest.bytes.0));
        let mut totals = of(SizeKind::Total);
        if let Some(json) = &folder.submission {
            let whole = |number: f64| (number.fract() == 0.0 && number > 0.0).then_some(number as u64);
            models.extend(json.models().iter().filter_map(|field| whole(field.number.value())));
            codes.extend(json.code().and_then(|field| whole(field.number.value())));
            totals.extend(json.total().and_then(|field| whole(field.number.value())));
            totals.extend(json.seed_results().iter().filter_map(|result| result.total));
        }
        codes.sort_unstable();
        codes.dedup();
        let models_of = |total: u64| codes.iter().filter_map(move |code| total.checked_sub(*code)).collect::<Vec<_>>();
        models.extend(totals.into_iter().flat_map(models_of));
        models.sort_unstable();
        models.dedup();
        Known { models, raw: of(SizeKind::RawModel) }
    }

    fn names(&self, bytes: u64) -> bool {
        self.models.binary_search(&bytes).is_ok()
    }

    /// As training leaves it: by what it holds, or because a log says so.
    fn is_raw(&self, whole: &Whole) -> bool {
        // A log's word is not enough for a file that can be looked at and is something else.
        let may_be = match whole.opened.map(|opened| &opened.content) {
            Some(Opened::Model { .. }) => false,
            _ => whole.bytes >= MIN_RAW || whole.opened.is_some_and(OpenedArtifact::is_noteworthy),
        };
        whole.is_raw() || (may_be && self.raw.contains(&whole.bytes) && !self.names(whole.bytes))
    }
}

fn not_logged(case: &FolderCase) -> Outcome {
    let disk = Disk::of(case);
    if !disk.has_weights() {
        return Outcome::NotApplicable;
    }
    let known = Known::of(case, &disk.code);
    // Sizes differ by the byte, so a claim that is rounded names none.
    let logged = sizes(case.folder, SizeKind::Model);
    if logged.is_empty() {
        return Outcome::unknown("no log gives the size of the model");
    }
    if disk.is_named {
        return Outcome::HOLDS;
    }
    let submitted = disk.weighed.iter().filter(|whole| !known.is_raw(whole));
    let Some(largest) = submitted.max_by_key(|whole| whole.bytes) else {
        return Outcome::unknown("only uncompressed weights are here");
    };
    let nearest = logged.iter().min_by_key(|size| size.abs_diff(largest.bytes)).copied().unwrap_or_default();
    let message = format!(
        "{} {} bytes on disk; the nearest size that logs or submission.json give is {}",
        largest.name(),
        Bytes(largest.bytes),
        Bytes(nearest)
    );
    Outcome::violated(message, largest.files.iter().take(8).map(|file| found(file)).collect())
}
