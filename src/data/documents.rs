//! Documents out of text files: what separates one from the next.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What stands between two documents of a plain text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// One or more empty lines.
    EmptyLine,
    /// A line that says only `<|endoftext|>`, as in TinyStories.
    EndOfText,
}

impl Separator {
    fn is(self, line: &str) -> bool {
        match self {
            Separator::EmptyLine => line.is_empty(),
            Separator::EndOfText => line == END_OF_TEXT,
        }
    }
}

const END_OF_TEXT: &str = "<|endoftext|>";
/// Longer documents are refused rather than held in memory.
const MAX_DOCUMENT_BYTES: usize = 1 << 30;

/// A text file that could not be read as documents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The system refused.
    #[error("cannot read text {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not UTF-8.
    #[error("{}:{line}: not UTF-8 text; convert the file first", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// 1-based line.
        line: u64,
    },
    /// A line that is not an object with a text.
    #[error("{}:{line}: expected a JSON object with a string `text`: {problem}", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// 1-based line.
        line: u64,
        /// What the parser said.
        problem: String,
    },
    /// One document larger than any.
    #[error(
        "{}:{line}: a document of more than {MAX_DOCUMENT_BYTES} bytes; check what separates the documents",
        path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// 1-based line.
        line: u64,
    },
}

/// The documents of one file, one at a time.
///
/// A `.jsonl` file holds one a line, in the field `text`, as the challenge's `docs_selected.jsonl`. Any other
/// file is plain text; newlines inside a document stay, those around it do not.
pub struct Documents {
    path: PathBuf,
    lines: BufReader<File>,
    line: u64,
    /// Plain text is cut at these; JSON lines are not.
    separator: Option<Separator>,
    ended: bool,
}

#[derive(serde::Deserialize)]
struct JsonDocument {
    text: String,
}

impl Documents {
    /// Opens a file; `separator` matters for plain text.
    pub fn open(path: &Path, separator: Separator) -> Result<Self, DocumentError> {
        let file = crate::regular_file::open(path)
            .map_err(|source| DocumentError::Read { path: path.to_path_buf(), source })?;
        let separator = path.extension().is_none_or(|extension| extension != "jsonl").then_some(separator);
        Ok(Documents { path: path.to_path_buf(), lines: BufReader::new(file), line: 0, separator, ended: false })
    }

    /// The next line without its newline, `None` at the end.
    fn next_line(&mut self) -> Result<Option<String>, DocumentError> {
        let mut bytes = Vec::new();
        self.line += 1;
        // One byte more than allowed tells a line that is too long from one that just fits.
        let limit = MAX_DOCUMENT_BYTES as u64 + 1;
        let read = std::io::Read::take(&mut self.lines, limit).read_until(b'\n', &mut bytes);
        let read = read.map_err(|source| DocumentError::Read { path: self.path.clone(), source })?;
        if read == 0 {
            return Ok(None);
        }
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLong { path: self.path.clone(), line: self.line });
        }
        let mut text = String::from_utf8(bytes)
            .map_err(|_| DocumentError::NotText { path: self.path.clone(), line: self.line })?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(Some(text))
    }

    fn next_json(&mut self) -> Result<Option<String>, DocumentError> {
        while let Some(line) = self.next_line()? {
            if !line.trim().is_empty() {
                let document: Result<JsonDocument, _> = serde_json::from_str(&line);
                return document.map(|document| Some(document.text)).map_err(|e| DocumentError::NotJson {
                    path: self.path.clone(),
                    line: self.line,
                    problem: e.to_string(),
                });
            }
        }
        Ok(None)
    }

    fn next_plain(&mut self, separator: Separator) -> Result<Option<String>, DocumentError> {
        let mut document = String::new();
        loop {
            match self.next_line()? {
                Some(line) if separator.is(&line) => {
                    if !document.trim().is_empty() {
                        break;
                    }
                    document.clear();
                }
                Some(line) => {
                    document.push_str(&line);
                    document.push('\n');
                    if document.len() > MAX_DOCUMENT_BYTES {
                        return Err(DocumentError::TooLong { path: self.path.clone(), line: self.line });
                    }
                }
                None if document.trim().is_empty() => return Ok(None),
                None => break,
            }
        }
        Ok(Some(document.trim_matches('\n').to_string()))
    }
}

impl Iterator for Documents {
    type Item = Result<String, DocumentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match self.separator {
            None => self.next_json(),
            Some(separator) => self.next_plain(separator),
        };
        let next = next.transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(name: &str, content: &[u8]) -> Result<Vec<String>, String> {
        separated(name, content, Separator::EndOfText)
    }

    fn separated(name: &str, content: &[u8], separator: Separator) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let shorten = |error: DocumentError| error.to_string().replace(&format!("{}/", folder.path().display()), "");
        Documents::open(&path, separator).unwrap().collect::<Result<_, _>>().map_err(shorten)
    }

    #[test]
    fn plain_text_is_cut_at_separator_lines() {
        let text = b"one\r\nmore\n\n<|endoftext|>\n<|endoftext|>\n\n two <|endoftext|>\n<|endoftext|>\n";
        assert_eq!(documents("a.txt", text).unwrap(), ["one\nmore", " two <|endoftext|>"]);
        let text = b"\none\nmore\n\n\n two <|endoftext|>\n";
        assert_eq!(separated("a.txt", text, Separator::EmptyLine).unwrap(), ["one\nmore", " two <|endoftext|>"]);
        assert_eq!(documents("a.txt", b"only").unwrap(), ["only"]);
        assert!(documents("a.txt", b"\n").unwrap().is_empty());
        assert_eq!(documents("a.txt", b"ok\n\xff\n").unwrap_err(), "a.txt:2: not UTF-8 text; convert the file first");
    }

    #[test]
    fn json_lines_hold_a_text_each() {
        let text = b"{\"text\": \"a\\nb\", \"id\": 3}\n\n{\"text\": \"\"}\n";
        assert_eq!(documents("a.jsonl", text).unwrap(), ["a\nb", ""]);
        let message = documents("a.jsonl", b"{\"text\": \"a\"}\n{\"body\": 1}\n").unwrap_err();
        assert!(message.starts_with("a.jsonl:2: expected a JSON object with a string `text`: missing"), "{message}");
    }
}
