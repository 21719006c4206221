//! What commands write for programs has the shape that is published in `manifests/`.

mod validator;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use golf_harness::cli::documents::{Published, published};
use golf_harness::data::{Shard, write_shard};
use serde_json::{Value, json};
use validator::Schema;

use crate::support::{fixture, golf};

/// Described and not printed: what people write.
const READ: [&str; 1] = ["manifest"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(format!("{name}.schema.json"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    let mut names = BTreeSet::new();
    for Published { name, schema } in published() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(file(name), &text).unwrap();
        }
        let found = std::fs::read_to_string(file(name)).unwrap_or_default();
        let remedy = "run `UPDATE_DOCS=1 cargo test --test cli published`";
        assert!(found == text, "manifests/{name}.schema.json is stale; {remedy}");
        assert!(names.insert(format!("{name}.schema.json")), "{name} is there twice");
    }
    let folder = std::fs::read_dir(file("manifest").parent().unwrap()).unwrap();
    let found = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = found.filter(|name| name.ends_with(".schema.json")).collect();
    assert!(names.is_subset(&found));
    assert!(cfg!(not(feature = "engine")) || names == found, "{names:?} is not {found:?}");
}

#[test]
fn every_document_is_described_in_the_docs() {
    let page = std::fs::read_to_string(fixture("../docs/json.md")).unwrap();
    for Published { name, schema } in published() {
        assert!(page.contains(&format!("[{name}.schema.json](../manifests/{name}.schema.json)")), "{name}");
        // Of the document, or of each of its forms.
        let named = format!("\"const\":\"golf-harness/{name}/v1\"");
        assert!(READ.contains(&name) || schema.to_string().contains(&named), "{name}: {schema}");
        assert!(READ.contains(&name) || page.contains(&format!("`golf-harness/{name}/v1`")), "{name}");
    }
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let schema = Schema::new(json!({
        "type": "object",
        "properties": {
            "schema": { "const": "x/v1" },
            "count": { "type": "integer", "minimum": 0 },
            "state": { "$ref": "#/$defs/State" },
            "parts": { "type": ["array", "null"], "items": { "type": "string", "pattern": "^[0-9]+$" } },
        },
        "required": ["schema", "count"],
        "$defs": { "State": { "oneOf": [{ "const": "on" }, { "type": "object", "properties": {} }] } },
    }));
    let good = json!({ "schema": "x/v1", "count": 1, "state": "on", "parts": ["12"] });
    assert_eq!(schema.errors(&good), Vec::<String>::new());
    let damaged = [
        ("schema", json!("x/v2")),
        ("count", json!(-1)),
        ("count", json!(1.5)),
        ("state", json!("off")),
        ("state", json!({ "by": 1 })),
        ("parts", json!(["1", "a"])),
        ("parts", json!("1")),
        ("more", json!(1)),
    ];
    for (key, value) in damaged {
        let mut bad = good.clone();
        bad[key] = value;
        assert_ne!(schema.errors(&bad), Vec::<String>::new(), "{bad}");
    }
    assert_eq!(schema.errors(&json!({ "schema": "x/v1" })), ["/: \"count\" is missing".replace('/', "")]);
    assert_ne!(Schema::new(json!({ "not": {} })).errors(&json!(1)), Vec::<String>::new());
}

/// A folder to run commands in, and the kinds of documents they wrote.
struct Bench {
    folder: tempfile::TempDir,
    seen: BTreeSet<String>,
    told: Vec<Value>,
}

/// The network of `fixtures/reference/eval_weights.safetensors`, and a training of seconds.
const RECIPE: &str = "schema: golf-harness/manifest/v1\nname: tiny\n\
    model: { vocab_size: 1024, num_layers: 2, model_dim: 16, num_heads: 2, num_kv_heads: 1, mlp_mult: 2.0, \
    bigram_vocab_size: 64, bigram_dim: 8 }\n\
    schedule: { max_wallclock_seconds: 0, iterations: 3, warmup_steps: 0, train_batch_tokens: 128, train_seq_len: 16 }\n\
    quantization: { passthrough_max_elements: 100 }\n\
    eval: { seq_len: 64, stride: 32 }\n\
    claim: { metrics: { val_bpb: 1.5 } }\n\
    data: { path: data, tokenizer: { path: tokenizer.model } }\n";

impl Bench {
    fn new() -> Self {
        let bench = Bench { folder: tempfile::tempdir().unwrap(), seen: BTreeSet::new(), told: Vec::new() };
        let at = |name: &str| bench.folder.path().join(name);
        for split in ["train", "val"] {
            let mut tokens = Vec::new();
            let shard = fixture(&format!("smoke/smoke_{split}_000000.bin"));
            Shard::open(&shard).unwrap().read_into(0, 1000, &mut tokens).unwrap();
            write_shard(&at(&format!("data/fineweb_{split}_000000.bin")), &tokens).unwrap();
        }
        std::fs::copy(fixture("smoke/tokenizer.model"), at("tokenizer.model")).unwrap();
        std::fs::copy(fixture("reference/eval_weights.safetensors"), at("weights.safetensors")).unwrap();
        std::fs::write(at("recipe.yaml"), RECIPE).unwrap();
        bench
    }

    /// Runs a command, and holds every document it writes to the published schema: on stdout one, or one a line, on
    /// stderr one a line beside words for people. Gives the names of those on stdout.
    fn run(&mut self, code: i32, line: &str) -> Vec<String> {
        let fixtures = fixture("");
        let words = line.split_whitespace().map(|word| word.replace("FIXTURES", fixtures.to_str().unwrap()));
        let own = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.folder.path().join("programs")].into_iter().chain(std::env::split_paths(&own));
        let path = std::env::join_paths(path).unwrap();
        let mut command = golf("golf-harness");
        let output = command.current_dir(self.folder.path()).env("PATH", path).args(words).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(code), "`{line}`\n{out}{err}");
        let told: Vec<Value> = err.lines().filter(|line| line.starts_with('{')).map(parse).collect();
        told.iter().for_each(|document| drop(self.check(line, document)));
        self.told.extend(told);
        let result: Vec<Value> = match serde_json::from_str(&out) {
            Ok(document) => vec![document],
            Err(_) => out.lines().map(parse).collect(),
        };
        assert!(!result.is_empty(), "`{line}` wrote nothing");
        result.iter().map(|document| self.check(line, document)).collect()
    }

    /// What `--progress json` of a command tells of, one after the other.
    #[cfg(unix)]
    fn progress(&mut self, code: i32, line: &str) -> Vec<Value> {
        let told = self.told.len();
        self.run(code, &format!("{line} --progress json"));
        self.told.split_off(told)
    }

    /// A program that commands find on their path.
    #[cfg(unix)]
    fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("programs").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The same for a file.
    fn file(&mut self, name: &str) {
        let document = read(&self.folder.path().join(name));
        self.check(name, &document);
    }

    /// Scores with weights that learn, and checks the trace.
    #[cfg(feature = "engine")]
    fn learning(&mut self) {
        use golf_harness::manifest::{self, TttConfig};
        let at = |name: &str| self.folder.path().join(name);
        let mut manifest = manifest::load(&at("packed/manifest.yaml")).unwrap();
        manifest.eval.ttt = Some(TttConfig { chunk_tokens: 400, ..TttConfig::default() });
        manifest::save(&manifest, &at("packed/learning.yaml")).unwrap();
        self.run(0, "score packed/learning.yaml --ttt-trace trace.jsonl --json");
        let trace = std::fs::read_to_string(self.folder.path().join("trace.jsonl")).unwrap();
        trace.lines().for_each(|line| drop(self.check("trace.jsonl", &parse(line))));
        self.run(0, "score check-trace trace.jsonl --json");
    }

    fn check(&mut self, line: &str, document: &Value) -> String {
        let (first, schema) = document.as_object().unwrap().iter().next().unwrap();
        assert_eq!(first, "schema", "`{line}`: {document}");
        let name = schema.as_str().unwrap().strip_prefix("golf-harness/").and_then(|name| name.strip_suffix("/v1"));
        let name = name.unwrap_or_else(|| panic!("`{line}`: {schema}")).to_string();
        let errors = Schema::new(read(&file(&name))).errors(document);
        assert!(errors.is_empty(), "`{line}`: {errors:#?}\n{document:#}");
        self.seen.insert(name.clone());
        name
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

#[test]
fn every_document_of_every_command_has_its_published_shape() {
    let mut bench = Bench::new();
    for (code, line) in [
        (1, "verify --json --progress json FIXTURES/submissions"),
        (0, "verify --json recipe.yaml"),
        (1, "verify --format jsonl --allow over_budget FIXTURES/submissions"),
        (0, "pack recipe.yaml --checkpoint weights.safetensors --out packed --json --progress json"),
        (0, "pack recipe.yaml --checkpoint weights.safetensors --codec ans -o small.golf --json"),
        (0, "pack --inspect packed/model.golf --json"),
        (0, "pack --inspect FIXTURES/reference/export_model.ptz --json"),
        (0, "doctor --json"),
        (0, "doctor --json --python /no/such/python"),
        (2, "rerun FIXTURES/submissions/good --plan --json"),
    ] {
        bench.run(code, line);
    }
    #[cfg(feature = "engine")]
    compute(&mut bench);
    rerun(&mut bench);

    let known = published().into_iter().map(|published| published.name.to_string());
    let known: BTreeSet<String> = known.filter(|name| !READ.contains(&name.as_str())).collect();
    let unseen: Vec<&String> = known.difference(&bench.seen).collect();
    let is_beyond = |name: &&String| {
        let of_scores = cfg!(not(feature = "engine")) && name.starts_with("score");
        let of_runs = !can_rerun() && name.starts_with("rerun-re");
        of_scores || of_runs
    };
    assert!(unseen.iter().all(is_beyond), "no command wrote {unseen:?}");
}

#[cfg(feature = "engine")]
fn compute(bench: &mut Bench) {
    for (code, line) in [
        (0, "train recipe.yaml --out run --json --progress json"),
        (0, "train recipe.yaml --out again --replay run/trace.jsonl --json"),
        (
            0,
            "pack run/manifest.yaml --fit 16000000 --calibration-tokens 128 --fit-by layer -o fitted.golf --json --progress json",
        ),
        (0, "score packed/manifest.yaml --json --progress json"),
        (0, "score packed/manifest.yaml --json --max-tokens 100 --sliding"),
        (0, "score packed/manifest.yaml --json --shard 1/2 -o 1.json"),
        (0, "score packed/manifest.yaml --json --shard 2/2 -o 2.json"),
        (0, "score merge 1.json 2.json --json"),
        (0, "score packed/manifest.yaml --probe --json"),
        (1, "score packed/manifest.yaml --sample 30 --json"),
        (1, "score packed/manifest.yaml --until-decided 1.5 --sample 30 --json"),
        (0, "score packed/manifest.yaml --sample 30 --shard 1/1 -o sampled.json --json"),
        (0, "score packed/manifest.yaml --sliding --nll-out nll.f32 --json"),
        (0, "score packed/manifest.yaml --sliding --from-nll nll.f32 --plot losses.svg --json"),
        (0, "reproduce recipe.yaml --dry-run --estimate --out later --json"),
        (1, "reproduce recipe.yaml --out all --json --progress json"),
        (2, "reproduce recipe.yaml --out all --json"),
        (1, "reproduce recipe.yaml --seeds 1,2 --out seeds --json"),
        (2, "reproduce recipe.yaml --data-path no/such/shards --out none --json"),
    ] {
        bench.run(code, line);
    }
    bench.file("1.json");
    bench.file("sampled.json");
    bench.file("seeds/seeds.json");
    bench.learning();
}

/// Whether this machine runs the submission that this project ships, a script of Python's own library.
fn can_rerun() -> bool {
    cfg!(target_os = "linux") && std::process::Command::new("python3").arg("--version").output().is_ok()
}

/// Without a sandbox: the script is this project's own.
#[cfg(not(target_os = "linux"))]
fn rerun(_: &mut Bench) {}

#[cfg(target_os = "linux")]
fn rerun(bench: &mut Bench) {
    if !can_rerun() {
        eprintln!("skipped: no python3");
        return;
    }
    let run = "rerun FIXTURES/submissions/runnable --seeds 1 --no-sandbox --data-path FIXTURES/smoke \
               --tokenizer-path FIXTURES/smoke/tokenizer.model --json --out";
    let told = bench.progress(0, &format!("{run} rerun"));
    assert!(told.iter().all(|event| event["what"] == "seed 1"), "{told:?}");
    let (first, last) = (&told[0], &told[told.len() - 1]);
    assert_eq!((&first["event"], &last["event"]), (&json!("begin"), &json!("end")));
    // 600 iterations, as the submission's own script has them.
    assert_eq!((&last["done"], &last["total"]), (&json!(600), &json!(600)), "{last}");
    bench.file("rerun/report.json");
    bench.file("rerun/seed-1/record.json");

    bench.program("sbatch", "#!/bin/sh\necho 7\n");
    bench.program("squeue", "#!/bin/sh\nexit 1\n");
    assert_eq!(bench.run(0, &format!("{run} queued --launcher sbatch")), ["rerun-submitted"]);
    assert_eq!(bench.run(2, "rerun collect queued --json"), ["rerun-missing"]);
}
