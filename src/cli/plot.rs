//! `--plot`: where a picture of a run goes, and in which format.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::previous::Kind;
use crate::atomic_write;
use crate::site::{Plot, PlotFormat};

/// A file for a plot; its ending says which format.
#[derive(Clone, Debug)]
pub struct PlotFile {
    path: PathBuf,
    format: PlotFormat,
}

impl FromStr for PlotFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let format = match ending.as_deref() {
            Some("html" | "htm") => PlotFormat::Html,
            Some("svg") => PlotFormat::Svg,
            _ => return Err("must end in .html or .svg".to_string()),
        };
        Ok(PlotFile { path, format })
    }
}

impl PlotFile {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How an earlier one is known.
    pub fn kind(&self) -> Kind {
        match self.format {
            PlotFormat::Html => Kind::Page,
            PlotFormat::Svg => Kind::Svg,
        }
    }

    /// Writes the plot.
    pub fn write(&self, plot: &Plot) -> anyhow::Result<()> {
        Ok(atomic_write::write(&self.path, plot.render(self.format)?.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_format() {
        let kind = |text: &str| text.parse::<PlotFile>().map(|file| file.kind());
        assert_eq!((kind("a/b.html"), kind("x.SVG")), (Ok(Kind::Page), Ok(Kind::Svg)));
        for other in ["plot.png", "plot", ".svg", ""] {
            assert!(kind(other).is_err(), "{other}");
        }
    }
}
