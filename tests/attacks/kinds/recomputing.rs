//! Lies whose files agree with one another. Each is shown with what would tell it.

use super::super::forgery::{Kind, ToldBy};
use crate::story::Story;

pub const KINDS: &[Kind] = &[
    Kind {
        name: "loss and bits per byte edited together",
        what: "every log is rewritten with a lower loss and the val_bpb that follows from it",
        told_by: ToldBy::Recomputing("logs are text; scoring the artifact gives the real number"),
        variants: 5,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let gain = [0.005, 0.01, 0.02, 0.05, 0.1][n % 5];
            story.runs.iter_mut().for_each(|run| run.val_loss -= gain);
            story.into()
        },
    },
    Kind {
        name: "invented run",
        what: "logs, papers and a random artifact of the right shape are generated; nothing was trained",
        told_by: ToldBy::Recomputing("all agrees by construction; scoring the artifact or a rerun tells"),
        variants: 5,
        forge: |random, _| Story::honest(random).into(),
    },
    Kind {
        name: "seeds chosen in silence",
        what: "many runs were made, the best three are handed in as if they were all",
        told_by: ToldBy::Recomputing("the other runs are not in the folder; a rerun with other seeds tells"),
        variants: 5,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let selected = 0.0008 * (1.0 + n as f64 / 4.0);
            story.runs.iter_mut().for_each(|run| run.val_loss -= selected);
            story.into()
        },
    },
];
