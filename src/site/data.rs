//! Data inside pages.

use serde::Serialize;

use super::SiteError;

/// JSON for a block `<script type="application/json">`: nothing in it ends the block or begins markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptData(String);

impl ScriptData {
    /// The value as compact JSON, with escapes for what means something to HTML.
    pub fn of(page: &str, value: &impl Serialize) -> Result<Self, SiteError> {
        let json = serde_json::to_string(value).map_err(|source| SiteError::Data { page: page.to_string(), source })?;
        let mut safe = String::with_capacity(json.len());
        for c in json.chars() {
            match c {
                // Outside of strings JSON has none of these.
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => safe.push(c),
            }
        }
        Ok(ScriptData(safe))
    }
}

impl std::fmt::Display for ScriptData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for ScriptData {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_block_and_all_of_it_comes_back() {
        let hostile = "</script><!--<script>&amp;\u{2028}\u{2029}\"\\";
        let data = ScriptData::of("page", &[hostile]).unwrap().to_string();
        assert!(!data.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{data}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&data).unwrap(), [hostile]);
    }
}
