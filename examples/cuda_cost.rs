//! What a training step and the scoring of a validation text cost on a GPU, by the engine's own list of operations and a
//! few assumptions about the card; needs no GPU (docs/cuda.md):
//! `cargo run --release --example cuda_cost -- [MANIFEST] [--json]`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use golf_harness::engine::Precision;
use golf_harness::engine::cuda_cost::{Account, Assumptions, Instruction, Row, Table, scored_group, training_step};
use golf_harness::eval::WindowPlan;
use golf_harness::manifest::{self, MICRO_BATCHES_PER_STEP};
use golf_harness::optim::FakeQuant;

/// Tokens of the challenge's validation text, as the sp1024 tokenizer has it.
const VALIDATION_TOKENS: u64 = 62_021_845;

/// Costs by kernel: calls, bytes, floating-point operations, and time at assumed rates
#[derive(Parser)]
#[command(name = "cuda_cost")]
struct Args {
    /// Manifest of the network and its recipe
    #[arg(default_value = "manifests/pr-286.yaml")]
    manifest: PathBuf,
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
    /// Activations and matrices in single precision instead of bfloat16
    #[arg(long)]
    f32: bool,
    /// Own kernels by mma.sync, as on a device before Hopper or with GOLF_HARNESS_WGMMA=0
    #[arg(long)]
    mma: bool,
    /// Weights rounded in training, as with late QAT
    #[arg(long)]
    fake_quant: bool,
    /// Rows of a micro-batch [default: the manifest's]
    #[arg(long)]
    rows: Option<usize>,
    /// Tokens of windows scored at once [default: the engine's]
    #[arg(long)]
    group: Option<usize>,
    /// Tokens of the scored text
    #[arg(long, default_value_t = VALIDATION_TOKENS)]
    tokens: u64,
    /// Rows of each table to print
    #[arg(long, default_value_t = 20)]
    top: usize,
    /// Device memory, TB/s
    #[arg(long, default_value_t = Assumptions::default().memory)]
    memory: f64,
    /// Second-level cache, TB/s
    #[arg(long, default_value_t = Assumptions::default().cache)]
    cache: f64,
    /// Tensor cores in bfloat16, TFLOP/s
    #[arg(long, default_value_t = Assumptions::default().tensor)]
    tensor: f64,
    /// Share of the tensor cores' rate that cuBLASLt's products reach
    #[arg(long, default_value_t = Assumptions::default().library)]
    library: f64,
    /// Share that the engine's own products reach by mma.sync
    #[arg(long, default_value_t = Assumptions::default().own)]
    own: f64,
    /// Share that they reach by wgmma
    #[arg(long, default_value_t = Assumptions::default().wgmma)]
    wgmma: f64,
    /// Share that attention reaches by mma.sync
    #[arg(long, default_value_t = Assumptions::default().attention)]
    attention: f64,
    /// Share that it reaches by wgmma
    #[arg(long, default_value_t = Assumptions::default().wgmma_attention)]
    wgmma_attention: f64,
    /// Share that attention's gradients reach
    #[arg(long, default_value_t = Assumptions::default().attention_grad)]
    attention_grad: f64,
    /// Single precision, TFLOP/s
    #[arg(long, default_value_t = Assumptions::default().single)]
    single: f64,
    /// Share of single precision's rate that products reach
    #[arg(long, default_value_t = Assumptions::default().single_product)]
    single_product: f64,
    /// Share of single precision's rate that attention reaches
    #[arg(long, default_value_t = Assumptions::default().single_attention)]
    single_attention: f64,
    /// Hyperbolic tangents and exponentials of the head, 10^12 a second
    #[arg(long, default_value_t = Assumptions::default().special)]
    special: f64,
    /// Copies between host and device, GB/s
    #[arg(long, default_value_t = Assumptions::default().host)]
    host: f64,
    /// From one kernel of a graph to the next, microseconds
    #[arg(long, default_value_t = Assumptions::default().launch)]
    launch: f64,
}

impl Args {
    fn assumptions(&self) -> Assumptions {
        Assumptions {
            memory: self.memory,
            cache: self.cache,
            tensor: self.tensor,
            single: self.single,
            library: self.library,
            own: self.own,
            wgmma: self.wgmma,
            attention: self.attention,
            wgmma_attention: self.wgmma_attention,
            attention_grad: self.attention_grad,
            single_product: self.single_product,
            single_attention: self.single_attention,
            special: self.special,
            host: self.host,
            launch: self.launch,
        }
    }
}

fn print(title: &str, account: &Account, table: &Table, top: usize) {
    let Account { tokens, peak_bytes, .. } = account;
    println!("{title}: {tokens} tokens, {:.2} GB of device memory", *peak_bytes as f64 / 1e9);
    println!("{:62} {:>6} {:>9} {:>9} {:>9} {:>9}  {:>5}", "", "calls", "GB read", "GB writ.", "TFLOP", "ms", "share");
    let line = |row: &Row| {
        let [read, written] = [row.read, row.written].map(|bytes| bytes as f64 / 1e9);
        let (name, calls, flops, ms) = (&row.name, row.calls, row.flops as f64 / 1e12, 1e3 * row.seconds);
        let share = 100.0 * row.seconds / table.sum.seconds;
        println!("{name:62} {calls:6} {read:9.3} {written:9.3} {flops:9.3} {ms:9.3} {share:5.1}%");
    };
    table.rows.iter().take(top).for_each(line);
    if let Some(rest) = table.rows.get(top..).filter(|rest| !rest.is_empty()) {
        let ms: f64 = rest.iter().map(|row| 1e3 * row.seconds).sum();
        println!("{:62} {:6} {:9} {:9} {:9} {ms:9.3}", format!("{} more (--top)", rest.len()), "", "", "", "");
    }
    line(&table.sum);
    println!();
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let recipe = manifest::load(&args.manifest)?;
    let (schedule, eval) = (&recipe.schedule, &recipe.eval);
    let seq_len = usize::try_from(schedule.train_seq_len)?;
    let own_rows = schedule.train_batch_tokens / MICRO_BATCHES_PER_STEP / schedule.train_seq_len.max(1);
    let rows = args.rows.unwrap_or(usize::try_from(own_rows)?);
    let precision = if args.f32 { Precision::F32 } else { Precision::Bf16 };
    let instruction = if args.mma { Instruction::Mma } else { Instruction::Wgmma };
    let fake_quant = if args.fake_quant { FakeQuant::On } else { FakeQuant::Off };
    let assumptions = args.assumptions();

    let step = training_step(&recipe.model, &recipe.optimizer, (rows, seq_len), (precision, instruction), fake_quant)?;
    let (window, stride) = (usize::try_from(eval.seq_len)?, usize::try_from(eval.stride)?);
    let (group, at_once) =
        scored_group(&recipe.scored_model(), (window, stride), args.group, (precision, instruction))?;
    let windows = WindowPlan::sliding(args.tokens, eval.seq_len, eval.stride)?.windows();
    let groups = windows.div_ceil(u64::try_from(at_once)?.max(1));
    let [of_step, of_group] = [&step, &group].map(|account| Table::new(&account.operations, &assumptions));
    let scoring = groups as f64 * of_group.sum.seconds;

    if args.json {
        let table = |account: &Account, table: &Table| serde_json::json!({"tokens": account.tokens, "peak_bytes": account.peak_bytes, "table": table});
        let document = serde_json::json!({
            "assumptions": assumptions,
            "own_kernels": if args.mma { "mma.sync" } else { "wgmma" },
            "training_step": table(&step, &of_step),
            "scored_group": table(&group, &of_group),
            "scoring": {
                "tokens": args.tokens, "windows": windows, "windows_a_group": at_once, "groups": groups,
                "seconds": scoring,
            },
        });
        println!("{}", serde_json::to_string_pretty(&document).context("JSON")?);
        return Ok(());
    }
    print("A training step", &step, &of_step, args.top);
    print("A group of scored windows", &group, &of_group, args.top);
    println!("a step of {} tokens: {:.0} ms", step.tokens, 1e3 * of_step.sum.seconds);
    println!(
        "{} tokens at stride {stride}: {windows} windows of {window}, {groups} groups of {at_once}: {scoring:.0} s",
        args.tokens
    );
    println!("Nothing of this is measured: times are those of the assumptions (--help).");
    Ok(())
}
