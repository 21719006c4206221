//! Claims that the submission's own numbers contradict.

use super::super::forgery::{Kind, ToldBy};
use crate::story::{Story, replace};

pub const KINDS: &[Kind] = &[
    Kind {
        name: "claim better than its logs",
        what: "submission.json and README claim a val_bpb that no log reaches",
        told_by: ToldBy::Files,
        variants: 5,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let gain = [0.001, 0.003, 0.01, 0.05, 0.2][n % 5];
            let bpb = story.mean(|run| run.val_bpb()) - gain;
            story.claimed_bpb = Some(bpb);
            story.claimed_loss = Some(bpb * std::f64::consts::LN_2 * story.runs[0].bytes_per_token);
            story.into()
        },
    },
    Kind {
        name: "claim a little better than its logs",
        what: "the claim, to eight digits, is better than the mean of its logs by less than typing by hand explains",
        told_by: ToldBy::Reviewer,
        variants: 3,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let bpb = story.mean(|run| run.val_bpb()) - [0.0001, 0.0002, 0.0004][n % 3];
            story.claimed_bpb = Some(bpb);
            story.claimed_loss = Some(bpb * std::f64::consts::LN_2 * story.runs[0].bytes_per_token);
            story.into()
        },
    },
    Kind {
        name: "mean of selected seeds",
        what: "five runs are logged and listed, the claim is the mean of the best two or three, or the best run",
        told_by: ToldBy::Files,
        variants: 6,
        forge: |random, n| {
            let mut story = Story::honest(random);
            for (seed, spread) in [(7, 0.006), (11, 0.009)] {
                let mut run = story.runs[0].clone();
                run.seed = seed;
                run.val_loss += spread + 0.001 * random.uniform();
                run.step_ms += 0.1 * random.normal();
                story.runs.push(run);
            }
            let mut runs: Vec<(f64, f64)> = story.runs.iter().map(|run| (run.val_bpb(), run.val_loss)).collect();
            runs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let kept = &runs[..1 + n % 3];
            let mean = |of: fn(&(f64, f64)) -> f64| kept.iter().map(of).sum::<f64>() / kept.len() as f64;
            (story.claimed_bpb, story.claimed_loss) = (Some(mean(|run| run.0)), Some(mean(|run| run.1)));
            story.into()
        },
    },
    Kind {
        name: "selected seeds in a table on its side",
        what: "the README's table has a column a seed; the claim is the mean of the best three of five, whose logs are here",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let story = Story::honest(random);
            let mut files = story.files();
            let left_out = [7, 11].map(|seed| (seed, story.mean(|run| run.val_bpb()) + 0.004 + 0.001 * n as f64));
            let all: Vec<(u64, f64)> = story.runs.iter().map(|run| (run.seed, run.val_bpb())).chain(left_out).collect();
            let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
            let seed = |seed: u64| if n % 2 == 0 { format!("seed {seed}") } else { seed.to_string() };
            let head = if n % 2 == 0 { "metric" } else { "Seed" };
            let table = [
                row([head.to_string()].into_iter().chain(all.iter().map(|run| seed(run.0))).collect()),
                row(vec!["---".into(); all.len() + 1]),
                row(["val_bpb".to_string()].into_iter().chain(all.iter().map(|run| format!("{:.8}", run.1))).collect()),
            ];
            let readme = story.readme();
            let text = readme.split("| seed").next().unwrap_or_default();
            files.insert("README.md".into(), format!("{text}{}", table.concat()).into_bytes());
            let seeds: Vec<String> = all.iter().map(|run| run.0.to_string()).collect();
            replace(&mut files, "submission.json", "[42, 1337, 2024]", &format!("[{}]", seeds.join(", ")));
            files.into()
        },
    },
    Kind {
        name: "better of two seeds as the only one",
        what: "two runs are logged; submission.json and README are about the better one alone",
        told_by: ToldBy::Reviewer,
        variants: 3,
        forge: |random, n| {
            let mut story = Story::honest(random);
            story.runs.truncate(2);
            story.runs[0].val_loss += 0.002 * (1.0 + n as f64);
            let better = story.runs[1].clone();
            (story.claimed_bpb, story.claimed_loss) = (Some(better.val_bpb()), Some(better.val_loss));
            let mut files = story.files();
            replace(&mut files, "submission.json", "\"seeds\": [42, 1337]", "\"seed\": 1337");
            let other = &story.runs[0];
            let row = format!("| {} | {:.8} | {} |\n", other.seed, other.val_bpb(), other.artifact_bytes);
            replace(&mut files, "README.md", &row, "");
            files.into()
        },
    },
    Kind {
        name: "one seed, three names",
        what: "one log is handed in three times with another seed written into it",
        told_by: ToldBy::Files,
        variants: 6,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let first = story.runs[0].clone();
            for (k, run) in story.runs.iter_mut().enumerate().skip(1) {
                let seed = run.seed;
                *run = first.clone();
                run.seed = seed;
                // Cosmetic differences: another time of evaluation, another speed.
                run.eval_ms += (n as u64 % 3) * 1_000 * k as u64;
                run.step_ms += 0.3 * (n / 3) as f64 * k as f64;
            }
            story.into()
        },
    },
    Kind {
        name: "denominator too long",
        what: "bits per byte are divided by more bytes than the validation text has, in all files alike",
        told_by: ToldBy::Files,
        variants: 7,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let factor = [1.003, 1.0042, 1.0095, 1.041, 1.116, 1.36, 1.0 / std::f64::consts::LN_2][n % 7];
            story.runs.iter_mut().for_each(|run| run.bytes_per_token *= factor);
            story.into()
        },
    },
    Kind {
        name: "bits per byte edited, loss left",
        what: "the final val_bpb is lowered in log, submission.json and README; the loss beside it is not",
        told_by: ToldBy::Files,
        variants: 5,
        forge: |random, n| {
            let story = Story::honest(random);
            let gain = [0.004, 0.006, 0.01, 0.03, 0.1][n % 5];
            let mut better = story.clone();
            better.claimed_bpb = Some(story.mean(|run| run.val_bpb()) - gain);
            let mut files = better.files();
            for run in &story.runs {
                let log = crate::story::log_name(run.seed);
                let (old, new) = (run.val_bpb(), run.val_bpb() - gain);
                replace(&mut files, &log, &format!("_exact val_loss:{:.8} val_bpb:{old:.8}", run.val_loss), &{
                    format!("_exact val_loss:{:.8} val_bpb:{new:.8}", run.val_loss)
                });
                replace(
                    &mut files,
                    &log,
                    &format!("val_bpb:{old:.4} eval_time"),
                    &format!("val_bpb:{new:.4} eval_time"),
                );
                replace(&mut files, "README.md", &format!("{old:.8}"), &format!("{new:.8}"));
            }
            files.into()
        },
    },
    Kind {
        name: "scored on a part",
        what: "the log counts fewer tokens than the validation split has",
        told_by: ToldBy::Files,
        variants: 5,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let tokens = [61_865_984, 36_562_944, 31_010_816, 8_000_000, 1_048_576][n % 5];
            story.runs.iter_mut().for_each(|run| run.val_tokens = tokens);
            story.into()
        },
    },
];
