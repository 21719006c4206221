//! Logs that were written or edited by hand, or belong to something else.

use super::super::forgery::{Kind, ToldBy};
use crate::story::{Files, SCRIPT, Story, log_name, replace};

pub const KINDS: &[Kind] = &[
    Kind {
        name: "times that contradict the steps",
        what: "the last training time is edited down; steps times average step time still tell the real one",
        told_by: ToldBy::Files,
        variants: 5,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let factor = [1.03, 1.1, 1.3, 2.0, 4.0][n % 5];
            story.runs.iter_mut().for_each(|run| run.steps = (run.steps as f64 * factor) as u64);
            let mut files = story.files();
            for run in &story.runs {
                let log = log_name(run.seed);
                let text = String::from_utf8(files[&log].clone()).expect("text");
                let edited = text.replace(&format!("train_time:{:.0}ms", run.train_ms()), "train_time:599871ms");
                assert_ne!(text, edited);
                files.insert(log, edited.into_bytes());
            }
            files.into()
        },
    },
    Kind {
        name: "training over its cap",
        what: "the run took longer than 600 s, and only submission.json and README say otherwise",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let factor = [1.03, 1.1, 2.0, 6.0][n % 4];
            story.runs.iter_mut().for_each(|run| run.steps = (run.steps as f64 * factor) as u64);
            let mut files = story.files();
            replace(
                &mut files,
                "submission.json",
                "  \"hardware\"",
                "  \"train_time_seconds\": 599.8,\n  \"hardware\"",
            );
            files.into()
        },
    },
    Kind {
        name: "evaluation over its cap",
        what: "scoring took longer than 600 s",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let ms = [600_900, 688_000, 936_242, 7_457_100][n % 4];
            story.runs[n % 3].eval_ms = ms;
            story.into()
        },
    },
    Kind {
        name: "fewer accelerators",
        what: "logged on fewer GPUs than 8xH100, claimed as 8xH100",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let devices = [1, 2, 4, 7][n % 4];
            story.runs.iter_mut().for_each(|run| run.world_size = devices);
            story.into()
        },
    },
    Kind {
        name: "other accelerators",
        what: "logged on eight GPUs that are no H100, claimed as 8xH100",
        told_by: ToldBy::Reviewer,
        variants: 4,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let device = ["NVIDIA H200", "NVIDIA B200", "NVIDIA A100-SXM4-80GB", "NVIDIA GH200 480GB"][n % 4];
            story.runs.iter_mut().for_each(|run| run.device = device);
            story.into()
        },
    },
    Kind {
        name: "log of another script",
        what: "the script that the log prints at its top is not the one that is handed in",
        told_by: ToldBy::Reviewer,
        variants: 5,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let printed = story.script.clone();
            let cut = printed.find("def evaluate").expect("a function");
            let (head, tail) = printed.split_at(cut);
            story.script = match n % 5 {
                0 => format!("{head}EXTRA = 1\n{}", "# padding\n".repeat(12)) + tail,
                1 => printed.replace("args.stride", "args.seq_len").replace("torch.randint", "torch.arange"),
                2 => head.to_string() + "def main():\n    pass\n",
                3 => {
                    printed.replace("    ", "\t").replace("losses", "nll").replace("tokens", "ids").replace("args", "a")
                }
                _ => format!("{head}def helper(x):\n    y = x + 1\n    z = y * 2\n    return z - y\n\n\n{tail}"),
            };
            let mut files = story.files();
            for run in &story.runs {
                // Sizes as the script handed in has them.
                let log = story.log(run, &printed);
                let log = log
                    .replace(&format!("Code size: {}", printed.len()), &format!("Code size: {}", story.script.len()));
                let total = |code: usize| format!("int8+zlib: {} bytes\nfinal", run.artifact_bytes + code as u64);
                let log = log.replace(&total(printed.len()), &total(story.script.len()));
                files.insert(log_name(run.seed), log.into_bytes());
            }
            files.into()
        },
    },
    Kind {
        name: "logs that never finish",
        what: "two of three logs stop before the final metric; submission.json gives their numbers all the same",
        told_by: ToldBy::Reviewer,
        variants: 4,
        forge: |random, n| {
            let story = Story::honest(random);
            let mut files = story.files();
            for run in &story.runs[1..] {
                truncate(
                    &mut files,
                    &log_name(run.seed),
                    ["step:3000/", "step:500/", "stopping_early", "Serialized model"][n % 4],
                );
            }
            files.into()
        },
    },
    Kind {
        name: "result only in the listing",
        what: "the run died; its metrics stand in comments and strings of the script that the log prints",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let run = &story.runs[0];
            let line =
                format!("final_int8_zlib_roundtrip_exact val_loss:{:.8} val_bpb:{:.8}", run.val_loss, run.val_bpb());
            let hidden = match n % 4 {
                0 => format!("# {line}\n"),
                1 => format!("RESULT = \"{line}\"\n"),
                2 => format!("\"\"\"\n{line}\n\"\"\"\n"),
                _ => format!("print(f\"{line}\")\n"),
            };
            story.script = hidden + SCRIPT;
            let mut files = story.files();
            for run in &story.runs {
                truncate(&mut files, &log_name(run.seed), "stopping_early");
            }
            files.into()
        },
    },
    Kind {
        name: "seed written over",
        what: "a log's file name claims another seed than the run printed",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let story = Story::honest(random);
            let mut files = story.files();
            let run = &story.runs[n % 3];
            let log = files.remove(&log_name(run.seed)).expect("its log");
            files.insert(log_name(9_000 + n as u64), log);
            let seed = format!("{},", run.seed);
            let (from, to) = if n % 3 == 2 {
                (format!(", {}]", run.seed), format!(", {}]", 9_000 + n))
            } else {
                (seed, format!("{},", 9_000 + n))
            };
            replace(&mut files, "submission.json", &from, &to);
            files.into()
        },
    },
];

/// Cuts a file off before the first line that contains `mark` after the listing.
fn truncate(files: &mut Files, path: &str, mark: &str) {
    let file = files.get_mut(path).expect("its log");
    let text = String::from_utf8(std::mem::take(file)).expect("text");
    let listing = text.find("Running Python").expect("the end of the listing");
    let at = listing + text[listing..].find(mark).unwrap_or_else(|| panic!("no {mark}"));
    *file = text.as_bytes()[..at].to_vec();
}
