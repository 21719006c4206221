//! Sizes in a log, and what they are the sizes of.

use super::pairs::Pair;

/// What a logged size is the size of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SizeKind {
    /// Code plus compressed model.
    Total,
    /// Code plus the model as PyTorch saves it: nothing the budget counts.
    RawTotal,
    /// The compressed model.
    Model,
    /// The model as PyTorch saves it.
    RawModel,
    /// The code.
    Code,
    /// The code after the script compressed it.
    PackedCode,
}

/// A logged size.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedSize {
    /// 1-based line.
    pub line: u64,
    /// Of what.
    pub kind: SizeKind,
    /// Bytes.
    pub bytes: u64,
    /// The compressor its words name.
    pub codec: Option<&'static str>,
}

/// The size that a pair of line `line` states, if it states one. `known` are the sizes on earlier lines.
pub(super) fn logged(line: u64, pair: &Pair, known: &[LoggedSize]) -> Option<LoggedSize> {
    let key = pair.key.to_ascii_lowercase().replace('_', " ");
    let key = key.rsplit("] ").next().unwrap_or_default();
    let is_bytes = matches!(pair.unit, "bytes" | "B" | "");
    let bytes = pair.count().filter(|_| is_bytes)?;
    let kind = if let Some(kind) = total(key) {
        if kind == SizeKind::RawTotal && is_code_and_model(bytes, known) { SizeKind::Total } else { kind }
    } else if let Some(how) = key.strip_prefix("serialized model") {
        let how = how.trim();
        let raw = ["fp32", "bf16", "fp16", "float", ".pt", "raw", "uncompressed", "unquantized"];
        if how.is_empty() || raw.iter().any(|word| how.contains(word)) { SizeKind::RawModel } else { SizeKind::Model }
    } else if matches!(key, "code size" | "code size (uncompressed)" | "code bytes") {
        SizeKind::Code
    } else if key == "code size (compressed)" {
        SizeKind::PackedCode
    } else {
        return None;
    };
    let codec = ["zstd", "zlib", "lzma", "brotli"].into_iter().find(|codec| key.contains(codec));
    Some(LoggedSize { line, kind, bytes, codec })
}

/// `artifact: 15301551 bytes (model: 15301204 code: 347)`: a total with its parts, on one line.
pub(super) fn breakdown(line: u64, list: &[Pair]) -> Vec<LoggedSize> {
    let named = |names: &[&str]| {
        let is_named = |pair: &&Pair| names.contains(&pair.name().to_ascii_lowercase().as_str());
        list.iter().find(is_named).and_then(Pair::count)
    };
    let total = named(&["artifact", "submission", "artifact_bytes", "artifact_size"]);
    let model = named(&["model", "model_bytes", "weights"]);
    let code = named(&["code", "code_bytes"]);
    match (total, model, code) {
        (Some(total), Some(model), Some(code)) if model.checked_add(code) == Some(total) => {
            [(SizeKind::Model, model), (SizeKind::Code, code), (SizeKind::Total, total)]
                .map(|(kind, bytes)| LoggedSize { line, kind, bytes, codec: None })
                .to_vec()
        }
        _ => Vec::new(),
    }
}

/// Which total the words name: `Total submission size int8+zlib` and `total_submission_bytes` are what is submitted,
/// the bare `Total submission size` is what the challenge's script prints before it compresses the model.
fn total(key: &str) -> Option<SizeKind> {
    let mixed = key.contains("total mixed submission");
    let artifact = key.contains("total artifact");
    if !mixed && !artifact && !key.contains("total submission") {
        return None;
    }
    let how = key.split_once("size").map_or("", |(_, rest)| rest.trim());
    let packed = !how.is_empty() && !how.contains(".pt") && !how.contains("raw");
    let handed_in = packed || mixed || artifact || key.ends_with("zstd") || key.ends_with("total submission bytes");
    Some(if handed_in { SizeKind::Total } else { SizeKind::RawTotal })
}

/// Scripts that compress before they print anything call the sum of code and compressed model by the bare name too.
fn is_code_and_model(total: u64, known: &[LoggedSize]) -> bool {
    let of = |kinds: &'static [SizeKind]| known.iter().filter(|size| kinds.contains(&size.kind));
    of(&[SizeKind::Model]).any(|model| {
        of(&[SizeKind::Code, SizeKind::PackedCode]).any(|code| model.bytes.checked_add(code.bytes) == Some(total))
    })
}

#[cfg(test)]
mod tests {
    use super::super::LogScanner;
    use super::*;

    fn sizes(text: &str) -> Vec<(SizeKind, u64)> {
        let mut scanner = LogScanner::new("train.log".into());
        scanner.feed(text.as_bytes());
        scanner.finish(false).sizes.iter().map(|size| (size.kind, size.bytes)).collect()
    }

    #[test]
    fn a_bare_total_counts_when_it_is_code_and_compressed_model() {
        // PR #1999: 12,039,626 + 100,880 = 12,140,506.
        let text = "Serialized model ternary+zlib: 12039626 bytes\nCode size: 100880 bytes\n\
                    Total submission size: 12140506 bytes\n";
        let expected = [(SizeKind::Model, 12_039_626), (SizeKind::Code, 100_880), (SizeKind::Total, 12_140_506)];
        assert_eq!(sizes(text), expected);
        // The challenge's own script: the model as PyTorch saves it comes first.
        let text = "Serialized model: 96864555 bytes\nCode size: 56721 bytes\nTotal submission size: 96921276 bytes\n";
        assert_eq!(sizes(text)[2], (SizeKind::RawTotal, 96_921_276));
    }

    #[test]
    fn sizes_are_known_by_their_words() {
        for (line, expected) in [
            ("Serialized model: 5 bytes", Some((SizeKind::RawModel, 5))),
            ("Serialized model fp32: 5 bytes", Some((SizeKind::RawModel, 5))),
            ("Serialized model bf16: 5 bytes", Some((SizeKind::RawModel, 5))),
            ("Serialized model raw.pt: 5 bytes", Some((SizeKind::RawModel, 5))),
            ("Serialized model int6+zstd: 5 bytes", Some((SizeKind::Model, 5))),
            ("rank 0] Serialized model int8: 5 bytes", Some((SizeKind::Model, 5))),
            ("Code size: 1,234 bytes", Some((SizeKind::Code, 1234))),
            ("Code size (uncompressed): 5 B", Some((SizeKind::Code, 5))),
            ("code_bytes:5", Some((SizeKind::Code, 5))),
            ("Code size (compressed): 5 bytes", Some((SizeKind::PackedCode, 5))),
            ("Code size: 5 MB", None),
            ("Code size: 5.5 bytes", None),
            ("Other size: 5 bytes", None),
            ("Total submission size raw: 5 bytes", Some((SizeKind::RawTotal, 5))),
            ("Total submission zstd: 5 bytes", Some((SizeKind::Total, 5))),
        ] {
            assert_eq!(sizes(line), expected.into_iter().collect::<Vec<_>>(), "{line}");
        }
    }

    #[test]
    fn totals_are_spelled_in_many_ways() {
        for line in [
            "pipeline_done: total_s:588.643 over_budget:0 val_bpb:1.1919522 total_submission_bytes:15716141",
            "Total submission size mixed-int5int6: 15716141 bytes",
            "Total artifact: 15716141 bytes",
            "Total mixed submission: 15,716,141 bytes",
        ] {
            assert_eq!(sizes(line), [(SizeKind::Total, 15_716_141)], "{line}");
        }
        assert_eq!(sizes("Total submission size (fp32 .pt + code): 99 bytes"), [(SizeKind::RawTotal, 99)]);
    }
}
