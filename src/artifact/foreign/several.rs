//! Archives of several files: which of them are models.

use std::borrow::Cow;
use std::path::Path;

use super::follow::is_text;
use super::{Container, ForeignError, ListedModel, list_within};

/// Most models listed: a sweep of seeds has some.
const MAX_MODELS: usize = 256;

/// What an archive of these members is, in which no single model was found: a list of models, none, or something that
/// no reader knows.
pub(super) fn error<'a>(members: impl Iterator<Item = (String, Cow<'a, [u8]>)>, path: &Path, max: u64) -> ForeignError {
    let mut models = Vec::new();
    let mut unread = None;
    let mut left = max;
    for (name, content) in members {
        if models.len() >= MAX_MODELS {
            break;
        }
        match list_within(&content, Path::new(&name), left) {
            Ok(listing) => {
                let (bytes, description) = (content.len() as u64, listing.description);
                models.push(ListedModel { name, description, bytes, tensors: listing.tensors, values: listing.values });
            }
            Err(ForeignError::Several { models: inner, .. }) => {
                let within = |model: ListedModel| ListedModel { name: format!("{name} > {}", model.name), ..model };
                models.extend(inner.into_iter().map(within));
            }
            Err(ForeignError::PlainArchive { .. }) => {}
            Err(_) if content.is_empty() || is_text(&content) || is_picture(&content) => {}
            Err(_) => unread = unread.or(Some((name, content.len()))),
        }
        left = left.saturating_sub(content.len() as u64);
    }
    let path = path.to_path_buf();
    match (models.is_empty(), unread) {
        (false, _) => ForeignError::Several { path, models },
        (true, None) => ForeignError::PlainArchive { path },
        (true, Some((name, bytes))) => {
            let what = format!("`{name}` in it ({bytes} bytes) is in no format that is read");
            ForeignError::Damaged { path, container: Container::Archive, what }
        }
    }
}

/// Pictures and documents, by their first bytes.
fn is_picture(content: &[u8]) -> bool {
    [&b"\x89PNG\r\n"[..], b"\xff\xd8\xff", b"GIF8", b"%PDF-"].iter().any(|magic| content.starts_with(magic))
}
