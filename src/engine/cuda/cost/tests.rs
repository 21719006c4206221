use super::access::{ACCESS, base};
use super::*;
use crate::engine::cuda::device::{Device, Launch};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::gemm::GemmDesc;
use crate::engine::cuda::shim::{Shim, hopper_shim, shim};
use crate::engine::cuda::source::{FILES, KERNELS};
use crate::engine::cuda::stream_lock::StreamLock;
use crate::engine::network::tests::{family, plain_and_odd};
use crate::model::{ParamRole, layout};

/// What the engine runs on an H100.
const HOPPER: (Precision, Instruction) = (Precision::Bf16, Instruction::Wgmma);

/// The shim, and the kernels that it has run.
struct Counted {
    shim: Arc<Shim>,
    kernels: std::sync::Mutex<Vec<(&'static str, [u32; 2])>>,
}

impl Device for Counted {
    type Memory = <Shim as Device>::Memory;
    type Graph = <Shim as Device>::Graph;

    const EXACT: bool = Shim::EXACT;

    fn instruction(&self) -> Instruction {
        self.shim.instruction()
    }

    fn stream_lock(&self) -> &StreamLock {
        self.shim.stream_lock()
    }

    fn allocate(&self, bytes: usize) -> Result<Self::Memory, DeviceError> {
        self.shim.allocate(bytes)
    }

    fn address(memory: &Self::Memory) -> u64 {
        Shim::address(memory)
    }

    unsafe fn write(&self, address: u64, words: &[u32]) -> Result<(), DeviceError> {
        // SAFETY: passed on to the caller.
        unsafe { self.shim.write(address, words) }
    }

    unsafe fn read(&self, address: u64, words: &mut [f32]) -> Result<(), DeviceError> {
        // SAFETY: passed on to the caller.
        unsafe { self.shim.read(address, words) }
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: passed on to the caller.
        unsafe { self.shim.copy(from, to, bytes) }
    }

    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: passed on to the caller.
        unsafe { self.shim.clear(address, bytes) }
    }

    /// Refused, so that every launch is seen.
    fn begin_capture(&self) -> Result<(), DeviceError> {
        Err(DeviceError::new("cannot record", "here"))
    }

    fn end_capture(&self) -> Result<Self::Graph, DeviceError> {
        self.shim.end_capture()
    }

    unsafe fn replay(&self, graph: &Self::Graph) -> Result<(), DeviceError> {
        // SAFETY: passed on to the caller.
        unsafe { self.shim.replay(graph) }
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        self.kernels.lock().unwrap().push((launch.kernel, launch.grid));
        // SAFETY: passed on to the caller.
        unsafe { self.shim.launch(launch) }
    }

    unsafe fn gemm(&self, gemm: &GemmDesc<'_>) -> Result<bool, DeviceError> {
        // SAFETY: passed on to the caller.
        unsafe { self.shim.gemm(gemm) }
    }
}

/// Kernels by name, with their grids.
type Launched = Vec<(String, [u32; 2])>;

/// What the shim runs of some work, and what the ledger says of the same work once it is recorded.
fn both(
    precision: Precision,
    instruction: Instruction,
    work: impl Fn(&dyn Engine, usize, &mut dyn FnMut()),
) -> Option<[Launched; 2]> {
    let shim = if instruction == Instruction::Wgmma { hopper_shim()? } else { shim()? };
    let counted = Arc::new(Counted { shim, kernels: Default::default() });
    let engine = CudaEngine::with_groups(CudaKernels::new(Arc::clone(&counted), precision), 80, 40);
    work(&engine, 1, &mut || counted.kernels.lock().unwrap().clear());
    let ran = counted.kernels.lock().unwrap().iter().map(|&(kernel, grid)| (kernel.to_string(), grid)).collect();
    let ledger = Arc::new(Ledger::new(false, instruction));
    let engine = CudaEngine::with_groups(CudaKernels::new(Arc::clone(&ledger), precision), 80, 40);
    work(&engine, WARM_UP + 1, &mut || ledger.forget());
    let operations = ledger.account(0).operations.into_iter().filter(|operation| operation.grid != [0; 2]);
    let kernel = |operation: &Operation| operation.name.split(',').next().unwrap().to_string();
    Some([ran, operations.map(|operation| (kernel(&operation), operation.grid)).collect()])
}

fn small_networks() -> impl Iterator<Item = ModelConfig> {
    plain_and_odd().into_iter().chain(family())
}

/// In an order that gives either to either precision.
fn instructions() -> impl Iterator<Item = Instruction> {
    [Instruction::Wgmma, Instruction::Wgmma, Instruction::Mma, Instruction::Mma].into_iter().cycle()
}

/// The ledger names the very launches that the backend makes, in their order, with their grids.
#[test]
fn a_step_launches_what_its_account_says() {
    for ((config, precision), instruction) in
        small_networks().zip([Precision::Bf16, Precision::F32].into_iter().cycle()).zip(instructions())
    {
        let recipe = OptimizerConfig::default();
        let step = |engine: &dyn Engine, steps: usize, begin: &mut dyn FnMut()| {
            train(engine, (&config, &recipe), (2, 20), FakeQuant::On, steps, begin).unwrap();
        };
        let Some([ran, accounted]) = both(precision, instruction, step) else { return };
        assert!(ran.len() > 100);
        assert_eq!(ran, accounted);
    }
}

#[test]
fn a_group_of_windows_launches_what_its_account_says() {
    for ((config, precision), instruction) in
        small_networks().zip([Precision::F32, Precision::Bf16].into_iter().cycle()).zip(instructions())
    {
        let group = |engine: &dyn Engine, groups: usize, begin: &mut dyn FnMut()| {
            score(engine, &config, (20, 7), groups, begin).unwrap();
        };
        let Some([ran, accounted]) = both(precision, instruction, group) else { return };
        assert!(ran.len() > 20);
        assert_eq!(ran, accounted);
    }
}

/// By the text of the kernels: what is declared `const` is read and nothing else, and every kernel is known.
#[test]
fn access_is_that_of_the_declarations() {
    let text: String = FILES.iter().map(|(_, text)| *text).collect();
    let declaration = r#"extern "C" __global__ void[^{;]*?(\w+)(?:##\w+)*\(((?:const )?\w+\*[^)]*)\)[\s\\]*\{"#;
    let mut declared = Vec::new();
    for found in regex_lite::Regex::new(declaration).unwrap().captures_iter(&text) {
        let pointers = found[2].split(',').filter(|parameter| parameter.contains('*'));
        let is_const: Vec<bool> = pointers.map(|pointer| pointer.contains("const ")).collect();
        match found[1].ends_with('_') {
            true => declared.extend([32, 64, 128].map(|width| (format!("{}{width}", &found[1]), is_const.clone()))),
            false => declared.push((found[1].to_string(), is_const)),
        }
    }
    declared.retain(|(name, _)| !name.contains("gemm_"));
    declared.sort();
    let own = |access: &str| access.chars().map(|access| "rs".contains(access)).collect();
    let mut known: Vec<(String, Vec<bool>)> =
        ACCESS.iter().map(|(name, access)| (name.to_string(), own(access))).collect();
    known.sort();
    for (declared, known) in declared.iter().zip(&known) {
        assert_eq!(declared, known);
    }
    assert_eq!(declared.len(), known.len());
    for kernel in KERNELS.iter().filter(|kernel| !kernel.contains("gemm_")) {
        assert!(ACCESS.iter().any(|(name, _)| *name == base(kernel)), "{kernel}");
    }
}

/// Products of the weights and attention by hand, for the network and the batches of PR 286.
#[test]
fn the_flops_of_pr_286_are_those_counted_by_hand() {
    let config = ModelConfig::default();
    let (rows, seq_len) = (48, 2048);
    let width = config.head_dim() as u64;
    let matrices: Vec<[u64; 2]> = layout(&config)
        .iter()
        .filter(|spec| spec.role == ParamRole::Matrix)
        .map(|spec| [spec.shape[0] as u64, spec.shape[1] as u64])
        .collect();
    let weights: u64 = matrices.iter().map(|[rows, columns]| rows * columns).sum();
    let head = (config.vocab_size * config.model_dim) as u64;
    let pairs = |rows: u64| (config.num_layers * config.num_heads) as u64 * rows * 2048 * 2049 / 2;
    let flops = |account: &Account| account.operations.iter().map(|operation| operation.flops).sum::<u64>();

    let recipe = OptimizerConfig::default();
    let step = training_step(&config, &recipe, (rows, seq_len), HOPPER, FakeQuant::Off).unwrap();
    let tokens = 8 * (rows * seq_len) as u64;
    let muon: u64 = matrices
        .iter()
        .map(|[rows, columns]| {
            let (short, long) = (rows.min(columns), rows.max(columns));
            u64::from(recipe.muon.newton_schulz_steps) * 2 * (2 * short * short * long + short * short * short)
        })
        .sum();
    // Two products forward and five backward.
    let attention = 2 * 7 * width * pairs(8 * rows as u64);
    assert_eq!(flops(&step), 6 * tokens * (weights + head) + attention + muon);
    assert_eq!(step.tokens as u64, tokens);
}

/// A row of the table of a group of windows, and its time by the rates.
#[test]
fn bytes_and_times_of_a_group_are_those_counted_by_hand() {
    let (group, windows) = scored_group(&ModelConfig::default(), (2048, 64), None, HOPPER).unwrap();
    assert_eq!((windows, group.tokens), (32, 65_536));
    let assumptions = Assumptions { memory: 2.0, library: 0.5, tensor: 1000.0, launch: 3.0, ..Default::default() };
    let table = Table::new(&group.operations, &assumptions);
    // Queries, keys and values of nine blocks; of the last block the scored positions have queries, 64 of 2,048.
    let row = table.rows.iter().find(|row| row.name == "cuBLASLt nt, 65536 x 512 x 1024, bf16 to bf16").unwrap();
    let (read, written) = (2 * (65_536 * 512 + 1024 * 512), 2 * 65_536 * 1024);
    assert_eq!((row.calls, row.read, row.written), (9, 9 * read, 9 * written));
    assert_eq!(row.flops, 9 * 2 * 65_536 * 512 * 1024);
    let (moved, made) = ((read + written) as f64 / 2e12, 2.0 * 65_536.0 * 512.0 * 1024.0 / 500e12);
    assert!((row.seconds - 9.0 * (moved.max(made) + 3e-6)).abs() < 1e-12);
    let seconds: f64 = table.rows.iter().map(|row| row.seconds).sum();
    assert!((seconds - table.sum.seconds).abs() < 1e-9);
    assert_eq!(table.sum.calls, group.operations.len() as u64);
}

/// The bytes of attention's gradients, and what it reads and writes again, for one head of a short row.
#[test]
fn bytes_of_attentions_gradients_are_those_counted_by_hand() {
    let config = ModelConfig {
        model_dim: 64,
        num_heads: 1,
        num_kv_heads: 1,
        num_layers: 1,
        vocab_size: 16,
        bigram_vocab_size: 0,
        ..Default::default()
    };
    let recipe = OptimizerConfig::default();
    let step = training_step(&config, &recipe, (3, 300), (Precision::Bf16, Instruction::Mma), FakeQuant::Off).unwrap();
    let of = |name: &str| step.operations.iter().find(|operation| operation.name == name).unwrap();
    let gradients = of("tensor_attention_grad_64");
    // Queries, keys, values and the output's gradient in two bytes; a shift, a delta and 64 sums for each of 320 padded
    // queries, a ticket and a turn for every 32 of them.
    let (values, counters) = (3 * 300 * 64 * 2, 4 * (1 + 3 * 320 / 32));
    assert_eq!(gradients.read, 4 * values + 3 * 320 * 2 * 4 + counters);
    assert_eq!(gradients.written, 2 * values + 3 * 320 * 64 * 4 + counters);
    // 128 queries see a second block of keys before the first, 44 a third and a second.
    assert_eq!(gradients.cached, 2 * 3 * (128 + 2 * 44) * 64 * 4);
    assert_eq!(gradients.flops, 3 * 5 * 2 * 64 * 300 * 301 / 2);
    assert_eq!(gradients.kind, Kind::AttentionGrad);
}

/// Own products and the attention of a step's forward pass by either instruction: the same work, counted by its own share.
#[test]
fn either_instruction_does_the_same_work() {
    let (config, recipe) = (ModelConfig::default(), OptimizerConfig::default());
    let step = |instruction| {
        training_step(&config, &recipe, (2, 128), (Precision::Bf16, instruction), FakeQuant::Off).unwrap().operations
    };
    let of_kinds = |operations: &[Operation], kinds: [Kind; 2]| {
        let of_kind = |kind: Kind| {
            let of_it = operations.iter().filter(|operation| operation.kind == kind);
            of_it.fold([0; 3], |[calls, flops, bytes], it| [calls + 1, flops + it.flops, bytes + it.read + it.written])
        };
        kinds.map(of_kind)
    };
    let [warps, warpgroups] = [Instruction::Mma, Instruction::Wgmma].map(step);
    let [own, by_wgmma] = [[Kind::OwnProduct, Kind::Attention], [Kind::WgmmaProduct, Kind::WgmmaAttention]];
    let found = of_kinds(&warpgroups, by_wgmma);
    assert_eq!(found, of_kinds(&warps, own));
    let layers = 8 * config.num_layers;
    assert_eq!(found[1][0], layers as u64);
    for what in [", squared", ", gradient of the square"] {
        let is_it = |it: &&Operation| it.kind == Kind::WgmmaProduct && it.name.ends_with(what);
        assert_eq!(warpgroups.iter().filter(is_it).count(), layers, "{what}");
    }
    assert_eq!((of_kinds(&warpgroups, own), of_kinds(&warps, by_wgmma)), ([[0; 3]; 2], [[0; 3]; 2]));
    let assumptions =
        Assumptions { wgmma: 0.25, wgmma_attention: 0.125, tensor: 100.0, launch: 0.0, ..Default::default() };
    let rates = [(Kind::WgmmaProduct, 25e12), (Kind::WgmmaAttention, 12.5e12)];
    for (kind, rate) in rates {
        let operation = Operation { flops: 1 << 50, ..warpgroups.iter().find(|it| it.kind == kind).unwrap().clone() };
        assert!((assumptions.seconds(&operation) / ((1u64 << 50) as f64 / rate) - 1.0).abs() < 1e-12);
    }
}
