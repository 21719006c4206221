//! PyTorch's own launcher and gloo, on processors. The interpreter is `python3`, or what GOLF_TORCH_PYTHON names.

use std::path::PathBuf;
use std::time::Duration;

use golf_harness::rerun::interpreter::interpreter;
use golf_harness::rerun::launch::Start;
use golf_harness::rerun::plan::packages::Unconfined;
use golf_harness::rerun::record::{Ended, SeedRecord};
use golf_harness::rerun::sandbox::Isolation;
use golf_harness::units::Bytes;

use crate::support::Workshop;

/// Linear regression by gradients that are averaged over processes: as long as each has the same number of rows, their
/// number changes nothing.
const SCRIPT: &str = "\
import os, time, torch, torch.distributed as dist
rank, world = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
mode = os.environ.get('MODE', '')
dist.init_process_group('gloo')
torch.manual_seed(int(os.environ['SEED']))
if rank == 0:
    print(f\"seed:{os.environ['SEED']}\", f'world_size:{world}', flush=True)
x = torch.randn(64, 8, dtype=torch.float64)
y = x @ torch.randn(8, 1, dtype=torch.float64)
w = torch.zeros(8, 1, dtype=torch.float64, requires_grad=True)
def loss_of(a, b): return ((a @ w - b) ** 2).mean()
compiled = torch.compile(loss_of) if mode == 'compile' else loss_of
for step in range(1, 21):
    loss = compiled(x[rank::world], y[rank::world])
    loss.backward()
    dist.all_reduce(w.grad)
    with torch.no_grad():
        w -= 0.1 * w.grad / world
    w.grad = None
    if rank == 0:
        print(f'step:{step}/20 train_loss:{loss.item():.4f} train_time:{step}ms', flush=True)
    if step == 10 and rank == world - 1:
        if mode == 'die': os._exit(3)
        if mode == 'hang': time.sleep(1000)
if mode == 'workers':
    rows = torch.utils.data.DataLoader(range(100), batch_size=10, num_workers=2)
    print('workers', sum(int(batch.sum()) for batch in rows), flush=True)
final = loss_of(x, y).item()
if rank == 0:
    torch.save({'w': w.detach()}, 'final_model.int8.ptz')
    print(f'final_int8_zlib_roundtrip_exact val_loss:{final:.8f} val_bpb:{1 + final:.8f}', flush=True)
dist.destroy_process_group()
";

fn run(isolation: &Isolation, processes: u32, mode: &str) -> (SeedRecord, String) {
    let mut workshop = Workshop::new(SCRIPT);
    let python = std::env::var_os("GOLF_TORCH_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    workshop.launch.python = interpreter(&Unconfined, &python).unwrap();
    workshop.isolation = isolation.clone();
    workshop.launch.start = Start::Torchrun(processes);
    workshop.launch.variables.insert("MODE".into(), mode.into());
    workshop.launch.limits.memory = Bytes(8 << 30);
    workshop.launch.limits.disk = Bytes(2 << 30);
    workshop.launch.caps.train = Some(Duration::from_secs(if mode == "hang" { 3 } else { 300 }));
    let record = workshop.run();
    let output = workshop.output();
    (record, output)
}

fn result(isolation: &Isolation, processes: u32, mode: &str) -> f64 {
    let (record, output) = run(isolation, processes, mode);
    assert_eq!(record.ended, Ended::Code(0), "{isolation:?} {processes} {mode}: {output}");
    assert_eq!(record.log.world_size, Some(u64::from(processes)), "{output}");
    assert_eq!(record.left_processes, 0);
    assert!(record.artifact.is_some());
    record.result().unwrap().val_bpb
}

#[test]
#[ignore = "needs PyTorch"]
fn gloo_meets_in_both_sandboxes_and_adds_up() {
    let alone = result(&Isolation::Bubblewrap, 1, "");
    for (isolation, processes) in
        [(Isolation::Bubblewrap, 2), (Isolation::Landlock, 2), (Isolation::Bubblewrap, 4), (Isolation::Landlock, 4)]
    {
        let together = result(&isolation, processes, "");
        assert!((alone - together).abs() < 2e-8, "{isolation:?} {processes}: {together}, alone {alone}");
    }
}

#[test]
#[ignore = "needs PyTorch"]
fn a_compiler_and_workers_find_their_places() {
    let plain = result(&Isolation::Bubblewrap, 2, "");
    for isolation in &[Isolation::Bubblewrap, Isolation::Landlock] {
        assert!((result(isolation, 2, "workers") - plain).abs() < 2e-8);
        let (record, output) = run(isolation, 2, "compile");
        match record.ended {
            // What was compiled went to the seed's own folder for temporary files.
            Ended::Code(0) => {
                assert!((record.result().unwrap().val_bpb - plain).abs() < 2e-8);
                assert!(record.peak.disk > Bytes(1 << 20), "{:?}", record.peak);
            }
            // Without a C++ compiler, the script says so by itself.
            _ => assert!(output.contains("InvalidCxxCompiler"), "{output}"),
        }
    }
}

#[test]
#[ignore = "needs PyTorch"]
fn a_process_that_dies_or_hangs_ends_them_all() {
    for isolation in &[Isolation::Bubblewrap, Isolation::Landlock] {
        let (record, output) = run(isolation, 2, "die");
        assert_eq!((record.ended, record.left_processes), (Ended::Code(1), 0), "{output}");
        let (record, _) = run(isolation, 2, "hang");
        assert!(matches!(record.ended, Ended::Cap { .. }), "{:?}", record.ended);
        assert!(record.log.finals.is_empty());
    }
}
