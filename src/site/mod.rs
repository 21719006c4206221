//! An audit as pages: an overview, a page for each subject, the rules in words.
//!
//! Everything is a pure function of the audit: the same audit gives the same bytes. Pages work from `file://`, load
//! nothing from elsewhere, and hold strangers' text in two ways only: escaped by the templates, or as JSON in a block
//! that no browser runs (`data.rs`); the scripts put it into the page as text, never as markup.

mod bytes_page;
mod data;
mod earlier;
mod line_chart;
#[cfg(feature = "engine")]
mod loss_plot;
mod names;
mod overview;
#[cfg(feature = "engine")]
mod plot;
mod rulebook;
mod run_report;
mod seed_strip;
mod subject;
mod svg;
#[cfg(feature = "engine")]
mod training_plot;
mod whole;

use std::path::PathBuf;

use askama::Template;
use rayon::prelude::*;

pub use bytes_page::bytes_page;
pub use earlier::{Earlier, EarlierError};
#[cfg(feature = "engine")]
pub use loss_plot::loss_plot;
#[cfg(feature = "engine")]
pub use plot::{Plot, PlotFormat};
pub use run_report::{Compared, RunReport, Seeds};
#[cfg(feature = "engine")]
pub use training_plot::training_plot;
pub use whole::MARK as PAGE_MARK;

use crate::report::{Audit, Level};
use crate::stats::Board;
use names::Names;
use whole::STYLE;

/// How every file of a site begins, behind what its format asks for first: earlier ones are known by it.
pub const MARK: &str = "golf-harness site";

/// Folder of the pages of subjects.
pub const PAGES: &str = "s";
/// Folder of style and script.
pub const ASSETS: &str = "assets";

/// The ladder of assurance.
const LEVELS: [Level; 6] =
    [Level::Unreadable, Level::Documented, Level::Sealed, Level::Rescored, Level::Retrained, Level::Record];
const SCRIPT: &str = concat!(
    "/* golf-harness site */\n",
    include_str!("assets/base.js"),
    include_str!("assets/chart.js"),
    include_str!("assets/scatter.js"),
    include_str!("assets/filters.js"),
    include_str!("assets/overview.js"),
    include_str!("assets/curves.js"),
    include_str!("assets/subject.js"),
);

/// A file of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteFile {
    /// Path in the site's folder.
    pub path: PathBuf,
    /// Its content.
    pub content: String,
}

impl SiteFile {
    fn new(path: impl Into<PathBuf>, content: impl Into<String>) -> Self {
        SiteFile { path: path.into(), content: content.into() }
    }
}

/// A page that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A template did not come to its end.
    #[error("cannot make the page {page}: {source}")]
    Template {
        /// Which.
        page: String,
        /// Why.
        source: askama::Error,
    },
    /// The data of a page is no JSON.
    #[error("cannot write the data of the page {page}: {source}")]
    Data {
        /// Which.
        page: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// What pages are made of.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The audit.
    pub audit: &'a Audit,
    /// Standing records, for the picture of claims over time.
    pub board: Option<&'a Board>,
    /// An audit to compare with.
    pub earlier: Option<&'a Earlier>,
}

impl Site<'_> {
    /// All files of the site, the overview last: a site without it is none.
    pub fn files(&self) -> Result<Vec<SiteFile>, SiteError> {
        let names = Names::of(&self.audit.reports);
        let changes = self.earlier.map(|earlier| earlier.changes(&self.audit.reports));
        let pages = (0..self.audit.reports.len()).into_par_iter();
        let mut files = pages
            .map(|index| {
                let change = changes.as_ref().and_then(|changes| changes.of.get(index));
                subject::page(self.audit, &names, index, change)
            })
            .collect::<Result<Vec<_>, _>>()?;
        files.push(SiteFile::new(format!("{ASSETS}/site.css"), STYLE));
        files.push(SiteFile::new(format!("{ASSETS}/site.js"), SCRIPT));
        files.push(rulebook::page(self.audit)?);
        files.push(overview::page(self, &names, changes.as_ref())?);
        Ok(files)
    }
}

fn render(page: &str, template: &impl Template) -> Result<SiteFile, SiteError> {
    let content = template.render().map_err(|source| SiteError::Template { page: page.to_string(), source })?;
    Ok(SiteFile::new(page, content))
}
