//! The board: standing records, each with what is known of its runs.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{BytesPerToken, Reference, SeedRun, Summary};
use crate::manifest::Track;

/// The schema identifier every board starts with.
pub const BOARD_SCHEMA: &str = "golf-harness/board/v1";

/// Largest board read: a thousand times the shipped one.
pub const MAX_BOARD_BYTES: u64 = 4 << 20;

/// Standing records of a track, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Always `golf-harness/board/v1`.
    pub schema: String,
    /// Track the records belong to.
    pub track: Track,
    /// Last date for which the board is meant to be complete, `YYYY-MM-DD`.
    pub as_of: String,
    /// The records.
    pub records: Vec<BoardEntry>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardEntry {
    /// Pull request; the unchanged baseline has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pr: Option<u64>,
    /// Short title.
    pub title: String,
    /// Day of the claim, `YYYY-MM-DD`: claims of that day and later stand against it.
    pub date: String,
    /// Published mean, bits per byte.
    pub val_bpb: f64,
    /// Runs by seed, where published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<SeedRun>,
    /// Number of runs behind the mean, where `runs` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// Their sample standard deviation, where `runs` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
    /// Where the numbers are from.
    pub source: String,
    /// Remarks: ties, rulings, selected seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A board that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// Not readable.
    #[error("cannot read board {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too large to be a board.
    #[error("board {} is larger than {MAX_BOARD_BYTES} bytes; a board lists a few dozen records", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not the YAML of a board.
    #[error("board {}: {source}; see manifests/board.yaml for a valid one", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_yaml::Error,
    },
    /// Parses, but cannot be.
    #[error("board {}: records[{index}].{field}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Position in `records`, from 0.
        index: usize,
        /// Field.
        field: &'static str,
        /// Value found and value expected.
        message: String,
    },
    /// Another kind of file.
    #[error("board {}: schema is `{found}`, expected `{BOARD_SCHEMA}`", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The schema it names.
        found: String,
    },
}

/// Half a unit in the fifth decimal, to which means are usually published: how far a mean may lie from its runs.
const MEAN_ROUNDING: f64 = 5e-5;

impl Board {
    /// The board shipped with this crate.
    pub fn shipped() -> Result<Self, BoardError> {
        Self::parse(include_str!("../../manifests/board.yaml"), Path::new("manifests/board.yaml"))
    }

    /// Reads and checks a board.
    pub fn load(path: &Path) -> Result<Self, BoardError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            crate::regular_file::open(path)?.take(MAX_BOARD_BYTES + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| BoardError::Read { path: path.to_path_buf(), source })?;
        if bytes.len() as u64 > MAX_BOARD_BYTES {
            return Err(BoardError::TooLarge { path: path.to_path_buf() });
        }
        let text = String::from_utf8(bytes).map_err(|error| BoardError::Read {
            path: path.to_path_buf(),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        Self::parse(&text, path)
    }

    /// Parses and checks a board; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, BoardError> {
        let board: Board =
            serde_yaml::from_str(text).map_err(|source| BoardError::Parse { path: path.to_path_buf(), source })?;
        if board.schema != BOARD_SCHEMA {
            let found = board.schema.chars().take(80).collect();
            return Err(BoardError::Schema { path: path.to_path_buf(), found });
        }
        for (index, entry) in board.records.iter().enumerate() {
            entry.check().map_err(|(field, message)| BoardError::Invalid {
                path: path.to_path_buf(),
                index,
                field,
                message,
            })?;
        }
        Ok(board)
    }

    /// The record a claim has to beat: the lowest mean dated no later than `date` (the claim's own entry excluded).
    ///
    /// Without a date every record counts. Ties go to the earlier entry.
    pub fn standing(&self, date: Option<&str>, own_pr: Option<u64>) -> Option<&BoardEntry> {
        self.records
            .iter()
            .filter(|entry| date.is_none_or(|date| entry.date.as_str() <= date))
            .filter(|entry| match (entry.pr, own_pr) {
                // Pull requests are numbered in the order they were opened, so a later number is no predecessor.
                (Some(theirs), Some(ours)) => theirs < ours,
                _ => true,
            })
            .min_by(|a, b| a.val_bpb.total_cmp(&b.val_bpb))
    }

    /// The record of one pull request.
    pub fn entry(&self, pr: u64) -> Option<&BoardEntry> {
        self.records.iter().find(|entry| entry.pr == Some(pr))
    }
}

impl BoardEntry {
    /// What a test can use of this record.
    pub fn reference(&self) -> Reference {
        if self.runs.len() >= 2 {
            return Reference::Runs(self.runs.clone());
        }
        match (self.n, self.sd) {
            (Some(n), Some(sd)) => {
                Summary::published(n, self.val_bpb, sd).map_or(Reference::Mean(self.val_bpb), Reference::Published)
            }
            _ => Reference::Mean(self.val_bpb),
        }
    }

    /// Bytes per token, where a run states both loss and bits per byte.
    pub fn bytes_per_token(&self) -> Option<BytesPerToken> {
        use crate::units::{BitsPerByte, Nats};
        self.runs.iter().find_map(|run| BytesPerToken::from_claim(Nats(run.val_loss?), BitsPerByte(run.val_bpb)))
    }

    /// `PR #1019 (2026-03-25)`.
    pub fn label(&self) -> String {
        match self.pr {
            Some(pr) => format!("PR #{pr} ({})", self.date),
            None => format!("{} ({})", self.title, self.date),
        }
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        // Range over every bits-per-byte value a model or a guess could have: 8 bits a byte and some room.
        let possible = |value: f64| value > 0.0 && value < 16.0;
        if !is_date(&self.date) {
            return Err(("date", format!("`{}` is not a date such as 2026-03-20", self.date)));
        }
        if let Some(bad) = self.runs.iter().map(|run| run.val_bpb).chain([self.val_bpb]).find(|v| !possible(*v)) {
            return Err(("val_bpb", format!("{bad} is not in (0, 16) bits per byte")));
        }
        if let Some(bad) = self.sd.filter(|sd| !sd.is_finite() || *sd < 0.0) {
            return Err(("sd", format!("{bad} is not a standard deviation")));
        }
        if !self.runs.is_empty() {
            let mean = self.runs.iter().map(|run| run.val_bpb).sum::<f64>() / self.runs.len() as f64;
            if (mean - self.val_bpb).abs() > MEAN_ROUNDING {
                return Err(("val_bpb", format!("{} is not the mean of its runs, {mean:.8}", self.val_bpb)));
            }
        }
        Ok(())
    }
}

/// `YYYY-MM-DD` with digits in the right places; such texts sort as the dates do.
fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_board_is_valid_and_in_order_of_time() {
        let board = Board::shipped().unwrap();
        assert!(board.records.len() >= 10);
        assert!(board.records.windows(2).all(|pair| pair[0].date <= pair[1].date));
        assert!(board.records.iter().all(|entry| entry.date <= board.as_of));
    }

    #[test]
    fn a_claim_stands_against_the_best_record_of_its_day() {
        let board = Board::shipped().unwrap();
        let standing = |date, pr| board.standing(Some(date), pr).and_then(|entry| entry.pr);
        assert_eq!(standing("2026-03-24", None), Some(549));
        assert_eq!(standing("2026-04-05", None), Some(1019));
        assert_eq!(standing("2026-03-25", Some(1019)), Some(549));
        // PR 287 has the better mean of that day, and came after 286.
        assert_eq!(standing("2026-03-20", Some(286)), Some(180));
        assert_eq!(standing("2026-03-20", None), Some(287));
        assert_eq!(standing("2026-01-01", None), None);
    }

    /// A board of one record with these fields besides date, title and source.
    fn one(fields: &str) -> Result<Board, String> {
        let text = format!(
            "schema: golf-harness/board/v1\ntrack: 10min_16mb\nas_of: 2026-05-01\nrecords:\n  - {{title: a, date: \
             '2026-03-20', source: s, {fields}}}\n"
        );
        Board::parse(&text, Path::new("b.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn scores_spreads_and_means_have_bounds() {
        for (fields, holds) in [
            ("val_bpb: 15.99", true),
            ("val_bpb: 16", false),
            ("val_bpb: 0.01", true),
            ("val_bpb: 0", false),
            ("val_bpb: 1, sd: 0", true),
            ("val_bpb: 1, sd: .inf", false),
            ("val_bpb: 1, sd: .nan", false),
            // Means are published to four decimals at least: 1.1 and 1.2 have 1.15.
            ("val_bpb: 1.15004, runs: [{val_bpb: 1.1}, {val_bpb: 1.2}]", true),
            ("val_bpb: 1.15006, runs: [{val_bpb: 1.1}, {val_bpb: 1.2}]", false),
            ("val_bpb: 1.14994, runs: [{val_bpb: 1.1}, {val_bpb: 1.2}]", false),
            ("val_bpb: 1.15, runs: [{val_bpb: -13.7}, {val_bpb: 16}]", false),
        ] {
            assert_eq!(one(fields).is_ok(), holds, "{fields}");
        }
        assert!(
            one("val_bpb: 1.2, runs: [{val_bpb: 1.1}, {val_bpb: 1.2}]")
                .unwrap_err()
                .contains("1.2 is not the mean of its runs, 1.15000000")
        );
    }

    #[test]
    fn days_are_ten_characters_in_their_places() {
        assert!(is_date("2026-03-20"));
        for text in
            ["2026-03-2", "2026-03-200", "2026/03/20", "2026-03/20", "20260-3-20", "2026-0a-20", "a026-03-20", ""]
        {
            assert!(!is_date(text), "{text}");
        }
    }

    #[test]
    fn a_record_gives_the_best_reference_it_can() {
        let entry = |fields: &str| one(fields).unwrap().records.remove(0);
        let runs = entry("val_bpb: 1.15, n: 9, sd: 0.1, runs: [{seed: 1, val_bpb: 1.1}, {seed: 2, val_bpb: 1.2}]");
        assert_eq!(runs.reference(), Reference::Runs(vec![SeedRun::of(1, 1.1), SeedRun::of(2, 1.2)]));
        let published = Reference::Published(Summary::published(3, 1.1, 0.002).unwrap());
        assert_eq!(entry("val_bpb: 1.1, n: 3, sd: 0.002").reference(), published);
        // One run is no sample, and one number of two tells nothing.
        assert_eq!(entry("val_bpb: 1.1, n: 3, sd: 0.002, runs: [{val_bpb: 1.1}]").reference(), published);
        for fields in ["val_bpb: 1.1", "val_bpb: 1.1, n: 3", "val_bpb: 1.1, sd: 0.1", "val_bpb: 1.1, n: 1, sd: 0.1"] {
            assert_eq!(entry(fields).reference(), Reference::Mean(1.1), "{fields}");
        }
        assert_eq!(
            (entry("val_bpb: 1.1").label(), entry("pr: 7, val_bpb: 1.1").label()),
            ("a (2026-03-20)".into(), "PR #7 (2026-03-20)".into())
        );
        // 2.0794415 / (ln 2 x 1.0) = 3 bytes a token, from the run that states a loss.
        let losses = "val_bpb: 1.0, runs: [{val_bpb: 1.0}, {val_bpb: 1.0, val_loss: 2.0794415416798357}]";
        assert!((entry(losses).bytes_per_token().unwrap().value() - 3.0).abs() < 1e-12);
        assert!(entry("val_bpb: 1.1").bytes_per_token().is_none());
        let board = one("pr: 7, val_bpb: 1.1").unwrap();
        assert_eq!((board.entry(7).is_some(), board.entry(8).is_some()), (true, false));
    }

    #[test]
    fn ties_go_to_the_earlier_record_and_the_day_itself_counts() {
        let text = "schema: golf-harness/board/v1\ntrack: 10min_16mb\nas_of: 2026-05-01\nrecords:\n\
                    - {title: baseline, date: '2026-03-18', val_bpb: 1.2, source: s}\n\
                    - {pr: 10, title: a, date: '2026-03-20', val_bpb: 1.1, source: s}\n\
                    - {pr: 20, title: b, date: '2026-03-21', val_bpb: 1.1, source: s}\n";
        let board = Board::parse(text, Path::new("b.yaml")).unwrap();
        let title = |date, pr| board.standing(date, pr).map(|entry| entry.title.as_str());
        assert_eq!(title(None, None), Some("a"));
        assert_eq!(title(Some("2026-03-20"), None), Some("a"));
        assert_eq!(title(Some("2026-03-19"), None), Some("baseline"));
        // A record does not stand against itself or what came before it; an unnumbered one stands against all.
        assert_eq!(
            (title(None, Some(20)), title(None, Some(10)), title(None, Some(11))),
            (Some("a"), Some("baseline"), Some("a"))
        );
    }

    #[test]
    fn four_mebibytes_are_read_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board.yaml");
        let shipped = include_str!("../../manifests/board.yaml");
        let padded = |bytes: usize| format!("{shipped}#{}", "x".repeat(bytes - shipped.len() - 1));
        std::fs::write(&path, padded(4 * 1024 * 1024)).unwrap();
        assert_eq!(Board::load(&path).unwrap(), Board::shipped().unwrap());
        std::fs::write(&path, padded(4 * 1024 * 1024 + 1)).unwrap();
        assert!(matches!(Board::load(&path), Err(BoardError::TooLarge { .. })));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(Board::load(&path), Err(BoardError::Read { .. })));
        assert!(matches!(Board::load(&folder.path().join("absent")), Err(BoardError::Read { .. })));
    }

    #[test]
    fn damage_is_named() {
        let good = "schema: golf-harness/board/v1\ntrack: 10min_16mb\nas_of: 2026-05-01\nrecords:\n  - {pr: 1, \
                    title: a, date: '2026-03-20', val_bpb: 1.1, source: s}\n";
        let parse = |text: &str| Board::parse(text, Path::new("b.yaml")).map_err(|e| e.to_string());
        assert!(parse(good).is_ok());
        for (from, to, message) in [
            ("val_bpb: 1.1", "val_bpb: .nan", "records[0].val_bpb"),
            ("val_bpb: 1.1", "val_bpb: 116", "bits per byte"),
            ("2026-03-20", "20 March", "is not a date"),
            ("source: s", "source: s, runs: [{seed: 1, val_bpb: 1.2}]", "not the mean of its runs"),
            ("source: s", "source: s, sd: -1", "standard deviation"),
            ("source: s", "source: s, color: red", "unknown field `color`"),
            ("board/v1", "board/v9", "expected `golf-harness/board/v1`"),
        ] {
            let error = parse(&good.replace(from, to)).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
