//! The kinds of file that `pack` writes.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Level of `zlib.compress` in the challenge's baseline.
const ZLIB_LEVEL: u32 = 9;
/// Level of zstd in PR #286.
const ZSTD_LEVEL: u32 = 22;
/// Preset of `lzma.compress` in PR #549.
const XZ_PRESET: u32 = 6;

/// How the bytes of `torch.save` are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportCodec {
    /// Not at all.
    Plain,
    /// zlib, as `zlib.compress` (the challenge's baseline).
    Zlib {
        /// 0 to 9.
        level: u32,
    },
    /// One zstd frame (PRs #286 to #414).
    Zstd {
        /// 1 to 22.
        level: u32,
    },
    /// xz, as `lzma.compress(preset=...)`: 6 in PR #549, 9 in PR #1019.
    Xz {
        /// 0 to 9.
        preset: u32,
    },
    /// brotli at its best, of bytes shuffled before (PR #1218 and later).
    Brotli,
}

/// How a file of `torch.save` says what holds a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetaStyle {
    /// `{"type": "int6"}` and `"passthrough"` (PRs #286 to #1019).
    #[default]
    Types,
    /// `{"type": "int6", "method": "gptq"}` (PR #1218).
    Methods,
    /// `"gptq (int6)"` and `"passthrough (float16)"` (PR #1394 and later).
    Labels,
}

/// A file of `torch.save` that holds `{"w": tensors, "m": how each is held}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TorchExport {
    /// Compression around it.
    pub codec: ExportCodec,
    /// What `m` holds.
    pub meta: MetaStyle,
}

/// The kind of file that an artifact is. As text, in manifests and flags: `golf`, or `torch:CODEC/META`, such as
/// `torch:brotli/labels`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ArtifactContainer {
    /// This program's own, the smallest.
    #[default]
    Golf,
    /// What the challenge's scripts write and load.
    Torch(TorchExport),
}

impl ArtifactContainer {
    /// Names in a run folder: of this program's own, and of the other kind, which ends as the challenge's scripts end theirs.
    pub const FILE_NAMES: [&str; 2] = ["model.golf", "model.ptz"];

    /// Name of such a file in a run folder.
    pub fn file_name(self) -> &'static str {
        let [golf, torch] = Self::FILE_NAMES;
        match self {
            ArtifactContainer::Golf => golf,
            ArtifactContainer::Torch(_) => torch,
        }
    }
}

impl std::fmt::Display for ArtifactContainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ArtifactContainer::Torch(TorchExport { codec, meta }) = self else { return f.pad("golf") };
        match codec {
            ExportCodec::Plain => write!(f, "torch:none")?,
            ExportCodec::Zlib { level } => write!(f, "torch:zlib:{level}")?,
            ExportCodec::Zstd { level } => write!(f, "torch:zstd:{level}")?,
            ExportCodec::Xz { preset } => write!(f, "torch:xz:{preset}")?,
            ExportCodec::Brotli => write!(f, "torch:brotli")?,
        }
        match meta {
            MetaStyle::Types => Ok(()),
            MetaStyle::Methods => write!(f, "/methods"),
            MetaStyle::Labels => write!(f, "/labels"),
        }
    }
}

/// A text that names no container.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not golf, torch or torch:CODEC[/META] with CODEC none, zlib:0..9, zstd:1..22, xz:0..9 or brotli and META \
     types, methods or labels, such as `torch:brotli/labels`"
)]
pub struct ParseContainerError(String);

impl FromStr for ArtifactContainer {
    type Err = ParseContainerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseContainerError(text.to_string());
        if text == "golf" {
            return Ok(ArtifactContainer::Golf);
        }
        let (codec, meta) = text.split_once('/').unwrap_or((text, "types"));
        let meta = match meta {
            "types" => MetaStyle::Types,
            "methods" => MetaStyle::Methods,
            "labels" => MetaStyle::Labels,
            _ => return Err(error()),
        };
        let level = |text: &str, range: std::ops::RangeInclusive<u32>| {
            text.parse().ok().filter(|level| range.contains(level)).ok_or_else(error)
        };
        let codec = match codec.split(':').collect::<Vec<_>>()[..] {
            ["torch"] | ["torch", "zstd"] => ExportCodec::Zstd { level: ZSTD_LEVEL },
            ["torch", "zstd", text] => ExportCodec::Zstd { level: level(text, 1..=22)? },
            ["torch", "none"] => ExportCodec::Plain,
            ["torch", "zlib"] => ExportCodec::Zlib { level: ZLIB_LEVEL },
            ["torch", "zlib", text] => ExportCodec::Zlib { level: level(text, 0..=9)? },
            ["torch", "xz"] => ExportCodec::Xz { preset: XZ_PRESET },
            ["torch", "xz", text] => ExportCodec::Xz { preset: level(text, 0..=9)? },
            ["torch", "brotli"] => ExportCodec::Brotli,
            _ => return Err(error()),
        };
        Ok(ArtifactContainer::Torch(TorchExport { codec, meta }))
    }
}

impl From<ArtifactContainer> for String {
    fn from(container: ArtifactContainer) -> Self {
        container.to_string()
    }
}

impl TryFrom<String> for ArtifactContainer {
    type Error = ParseContainerError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl JsonSchema for ArtifactContainer {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ArtifactContainer".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The kind of file that an artifact is: golf, or what torch.save writes, compressed.",
            "type": "string",
            "pattern": "^(golf|torch(:(none|zlib(:[0-9])?|zstd(:([1-9]|1[0-9]|2[0-2]))?|xz(:[0-9])?|brotli))?(/(types|methods|labels))?)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_containers_and_come_back() {
        for (text, canonical) in [
            ("golf", "golf"),
            ("torch", "torch:zstd:22"),
            ("torch:zstd:3/labels", "torch:zstd:3/labels"),
            ("torch:zlib", "torch:zlib:9"),
            ("torch:xz", "torch:xz:6"),
            ("torch:xz:9/types", "torch:xz:9"),
            ("torch:brotli/methods", "torch:brotli/methods"),
            ("torch:none/labels", "torch:none/labels"),
        ] {
            let container: ArtifactContainer = text.parse().unwrap();
            assert_eq!(container.to_string(), canonical);
            let yaml = serde_yaml::to_string(&container).unwrap();
            assert_eq!(serde_yaml::from_str::<ArtifactContainer>(&yaml).unwrap(), container);
        }
        for text in
            ["", "zip", "torch:", "torch:xz:10", "torch:zstd:0", "torch:zstd:23", "torch/dicts", "torch:brotli:11"]
        {
            let error = text.parse::<ArtifactContainer>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is not golf, torch")), "{error}");
        }
    }
}
