//! Pictures of one run as a file by itself: a page, or the pictures alone as SVG.

use std::fmt::Write;

use askama::Template;

use super::SiteError;
use super::line_chart::{HEIGHT, WIDTH};
use super::svg::Svg;
use super::whole::{self, PICTURE_STYLE, STYLE};
use crate::escape::xml;

/// Room for the name of a picture above it.
const HEADING: f64 = 34.0;
/// Space around the pictures of an SVG.
const MARGIN: f64 = 16.0;

/// What file a plot becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlotFormat {
    /// A page with numbers and tables.
    Html,
    /// The pictures alone.
    Svg,
}

/// Pictures with what is to be known about them. Made by `training_plot` and `loss_plot`.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What is shown, such as `Training`.
    pub(super) kind: &'static str,
    /// Of what: the recipe's name.
    pub(super) name: String,
    /// Numbers above all else: value and unit.
    pub(super) numbers: Vec<(String, &'static str)>,
    /// In the order of reading.
    pub(super) panels: Vec<Panel>,
    /// Rows of text below.
    pub(super) tables: Vec<Table>,
    /// What the pictures leave out or average.
    pub(super) notes: Vec<String>,
}

/// A picture with its name.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub title: &'static str,
    pub picture: Svg,
}

/// A table; columns of numbers are set to the right.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub title: &'static str,
    pub about: String,
    pub columns: Vec<(&'static str, bool)>,
    pub rows: Vec<Vec<String>>,
}

#[derive(Template)]
#[template(path = "site/plot.html")]
struct Page<'a> {
    title: String,
    mark: &'static str,
    policy: String,
    style: &'static str,
    plot: &'a Plot,
    harness: &'static str,
}

impl Plot {
    /// The file's content; the same plot gives the same bytes.
    ///
    /// # Errors
    ///
    /// If a template does not come to its end.
    pub fn render(&self, format: PlotFormat) -> Result<String, SiteError> {
        match format {
            PlotFormat::Html => self.page(),
            PlotFormat::Svg => Ok(self.svg()),
        }
    }

    fn title(&self) -> String {
        format!("{}: {}", self.kind, self.name)
    }

    fn page(&self) -> Result<String, SiteError> {
        let page = Page {
            title: self.title(),
            mark: whole::MARK,
            policy: whole::policy(),
            style: STYLE,
            plot: self,
            harness: concat!("golf-harness ", env!("CARGO_PKG_VERSION")),
        };
        page.render().map_err(|source| SiteError::Template { page: "plot".to_string(), source })
    }

    fn svg(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_svg(&mut out);
        out
    }

    fn write_svg(&self, out: &mut String) -> std::fmt::Result {
        let width = WIDTH + 2.0 * MARGIN;
        let height = HEADING + self.panels.len() as f64 * (HEADING + HEIGHT) + 2.0 * MARGIN;
        let title = xml::text(&self.title());
        writeln!(out, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">"#)?;
        writeln!(out, "<!-- {} -->", whole::MARK)?;
        writeln!(out, "<title>{title}</title><style>{PICTURE_STYLE}</style>")?;
        writeln!(out, r#"<rect width="{width}" height="{height}" fill="var(--paper)"/>"#)?;
        let heading = |size: f64, y: f64, words: &str| {
            format!(
                r#"<text x="{MARGIN}" y="{y}" fill="var(--ink)" font-family="var(--serif)" font-size="{size}" font-weight="600">{words}</text>"#
            )
        };
        let mut top = MARGIN;
        writeln!(out, "{}", heading(20.0, top + 18.0, &title))?;
        top += HEADING;
        for panel in &self.panels {
            writeln!(out, "{}", heading(15.0, top + 20.0, &xml::text(panel.title)))?;
            top += HEADING;
            writeln!(out, r#"<svg x="{MARGIN}" y="{top}" width="{WIDTH}" height="{HEIGHT}">{}</svg>"#, panel.picture)?;
            top += HEIGHT;
        }
        writeln!(out, "</svg>")
    }
}
