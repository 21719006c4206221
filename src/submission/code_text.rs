//! A code file as text; what can be said about it lives in `submission/code`.

use crate::digest::ContentDigest;

/// A code file of the folder. Its text is never executed.
#[derive(Clone, Debug)]
pub struct CodeText {
    /// Relative path with `/` between parts.
    pub path: String,
    /// Size and digests.
    pub digest: ContentDigest,
    /// The text, if it is text of a size a script can have.
    pub text: Option<String>,
}

impl CodeText {
    /// Whether it is the script the challenge runs.
    pub fn is_main(&self) -> bool {
        self.path == "train_gpt.py"
    }
}
