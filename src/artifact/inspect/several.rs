//! An archive of several models: each by name, to be inspected by itself.

use std::path::Path;

use crate::artifact::foreign::ListedModel;
use crate::escape::visible;
use crate::units::{Bytes, group_digits};

/// A line a model.
pub fn several_text(path: &Path, models: &[ListedModel]) -> String {
    let mut text = format!("file      {}\nholds     {} models\n\n", visible(&path.display().to_string()), models.len());
    for model in models {
        let values = group_digits(i128::from(model.values));
        text.push_str(&format!(
            "{}\n  {} bytes, {}, {} tensors, {values} values\n",
            visible(&model.name),
            Bytes(model.bytes),
            model.description,
            model.tensors
        ));
    }
    text.push_str("\nunpack the archive to inspect one of them\n");
    text
}
