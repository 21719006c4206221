//! The shim itself, and the way to the driver on a fake one.

use super::build::fake_cuda;
use super::*;

fn launch(kernel: &'static str, arguments: &[Argument]) -> Option<Result<(), DeviceError>> {
    let launch = Launch { kernel, grid: [2, 1], threads: 64, shared_bytes: 0, arguments };
    // SAFETY: these kernels use no memory.
    shim().map(|shim| unsafe { shim.launch(&launch) })
}

#[test]
fn a_divergent_barrier_stops_the_launch() {
    let Some(result) = launch("divergent", &[Argument::U32(64)]) else { return };
    result.unwrap();
    for (kernel, threads) in [("divergent", 63), ("divergent", 32), ("half_a_warp", 16), ("half_a_warp", 48)] {
        let error = launch(kernel, &[Argument::U32(threads)]).unwrap().unwrap_err();
        assert!(error.to_string().contains("divergent barrier"), "{error}");
    }
    // And the next launch is unharmed.
    launch("half_a_warp", &[Argument::U32(32)]).unwrap().unwrap();
}

#[test]
fn arguments_of_other_types_are_refused() {
    let Some(result) = launch("divergent", &[Argument::U64(64)]) else { return };
    assert!(result.unwrap_err().to_string().contains("divergent takes u and was given l"));
    assert!(launch("divergent", &[]).unwrap().is_err());
}

/// Fragments and matrices lie as the PTX ISA says: the product comes out as a loop in double precision has it.
#[test]
fn tensor_instructions_multiply() {
    const SIDE: usize = 16;
    let Some(shim) = shim() else { return };
    let value = |i: usize| ((i * 37 + 11) % 64) as f32 / 8.0 - 4.0;
    let bits = |from: usize| -> Vec<u32> {
        let half = |i: usize| u32::from(half::bf16::from_f32(value(from + i)).to_bits());
        (0..SIDE * SIDE / 2).map(|i| half(2 * i) | half(2 * i + 1) << 16).collect()
    };
    let memory = [512, 512, 1024].map(|bytes| shim.allocate(bytes).unwrap());
    let [a, b, d] = [0, 1, 2].map(|i| Shim::address(&memory[i]));
    // SAFETY: both are memory of so many bytes.
    unsafe {
        shim.write(a, &bits(0)).unwrap();
        shim.write(b, &bits(1000)).unwrap();
    }
    let run = |b_transposed: u32, waits: u32| {
        let flags = [b_transposed, waits].map(Argument::U32);
        let arguments = [&[a, b, d].map(|address| Argument::Address { address, bytes: 0 })[..], &flags].concat();
        let launch =
            Launch { kernel: "tensor_product", grid: [1, 1], threads: 32, shared_bytes: 1024, arguments: &arguments };
        // SAFETY: the three matrices have the kernel's dimensions.
        unsafe { shim.launch(&launch) }.unwrap();
        let mut found = [0.0; SIDE * SIDE];
        // SAFETY: it is memory of so many bytes.
        unsafe { shim.read(d, &mut found) }.unwrap();
        found
    };
    for b_transposed in [0, 1] {
        let found = run(b_transposed, 1);
        for (i, j) in (0..SIDE).flat_map(|i| (0..SIDE).map(move |j| (i, j))) {
            let b = |l: usize| if b_transposed == 1 { 1000 + j * SIDE + l } else { 1000 + l * SIDE + j };
            let sum: f64 = (0..SIDE).map(|l| f64::from(value(i * SIDE + l)) * f64::from(value(b(l)))).sum();
            assert_eq!(f64::from(found[i * SIDE + j]), sum, "row {i}, column {j}");
        }
        assert_ne!(found, run(b_transposed, 0), "copies that nobody waits for must not be seen");
    }
}

/// Blocks that wait for their turns do, whatever their order; without waiting an order shows; a turn that never comes stops
/// the launch.
#[test]
fn blocks_in_progress_at_once_take_turns() {
    const BLOCKS: u32 = 9;
    let run = |interleaving: Interleaving, last: u32, waits: u32| {
        let shim = interleaved_shim(interleaving)?;
        let memory = [8, 4].map(|bytes| shim.allocate(bytes).unwrap());
        let [counters, sum] = [0, 1].map(|i| Shim::address(&memory[i]));
        // SAFETY: both are memory of so many words.
        unsafe {
            shim.write(counters, &[0, 0]).unwrap();
            shim.write(sum, &[0]).unwrap();
        }
        let addresses = [counters, sum].map(|address| Argument::Address { address, bytes: 0 });
        let arguments = [&addresses[..], &[last, waits].map(Argument::U32)].concat();
        let launch =
            Launch { kernel: "turns", grid: [BLOCKS, 1], threads: 64, shared_bytes: 128, arguments: &arguments };
        let mut found = [0.0];
        // SAFETY: the memory has the words that the kernel uses.
        let ran = unsafe { shim.launch(&launch).map(|()| shim.read(sum, &mut found).unwrap()) };
        Some(ran.map(|()| found[0].to_bits()))
    };
    let expected = (0..BLOCKS).fold(0, |sum, ticket| 2 * sum + ticket);
    let Some(one_by_one) = run(Interleaving::default(), BLOCKS, 1) else { return };
    assert_eq!(one_by_one, Ok(expected));
    let seeds = 0..8;
    let orders = |waits| seeds.clone().map(move |seed| run(Interleaving { at_once: 4, seed }, BLOCKS, waits).unwrap());
    assert!(orders(1).all(|found| found == Ok(expected)));
    assert!(orders(0).any(|found| found != Ok(expected)), "no order shows that nobody waits");
    for interleaving in [Interleaving::default(), Interleaving { at_once: 4, seed: 1 }] {
        let error = run(interleaving, 5, 1).unwrap().unwrap_err();
        assert!(error.to_string().contains("waits for its turn"), "{error}");
    }
}

#[test]
fn writing_past_the_end_is_noticed() {
    let Some(own) = shim() else { return };
    let memory = own.allocate(64).unwrap();
    for (place, damaged) in [(15, 0), (16, 1)] {
        let arguments = [Argument::Address { address: Shim::address(&memory), bytes: 0 }, Argument::U32(place)];
        let launch = Launch { kernel: "beyond", grid: [1, 1], threads: 32, shared_bytes: 0, arguments: &arguments };
        // SAFETY: one value past the end, the guard lies there.
        unsafe { own.launch(&launch) }.unwrap();
        assert_eq!(own.damaged(), 0);
        if damaged == 1 {
            break;
        }
    }
    drop(memory);
    assert_eq!(own.damaged(), 1);
}

/// This program again, with a fake CUDA on the library path: everything between the backend and the driver runs.
#[test]
fn the_driver_layer_works_on_a_fake_driver() {
    let Some(shim) = shim() else { return };
    let folder = fake_cuda(&shim.kernels);
    let run = |passed: usize, tests: &[&str], variables: &[(&str, &str)]| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(tests.iter().map(|name| format!("on_a_gpu::{name}")))
            .args(["--nocapture", "--include-ignored"])
            .env("LD_LIBRARY_PATH", folder.path())
            .env("GOLF_HARNESS_CACHE", folder.path().join("cache"))
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains(&format!("{passed} passed")) && !said.contains("skipped"), "{said}");
    };
    let kernels = ["copies", "linears", "losses", "likelihoods", "gradients", "rows", "muon", "scales", "engines"];
    run(10, &kernels, &[]);
    // What does not fit is refused on this way, too.
    run(4, &["kernels_refuse", "products_refuse", "transfers_refuse", "row_numbers"], &[]);
    // Two kinds of values in one product, and recorded work.
    run(3, &["bfloat16", "the_work_is_recorded"], &[]);
    // What the library has chosen, and its other choices.
    run(1, &["the_library_says"], &[]);
    // Ranks are threads there, and the fake NCCL works between threads.
    let ranks = ("GOLF_FAKE_RANKS", "4");
    run(2, &["nccl_works", "nccl_ranks"], &[ranks]);
    run(1, &["nccl_is_given_up"], &[ranks, ("GOLF_FAKE_PATIENCE_MS", "200")]);
    assert_eq!(std::fs::read_dir(folder.path().join("cache")).unwrap().count(), 1, "one compiled image is kept");
}

/// Another thread's lock does not make this thread's work safe.
#[test]
fn a_strict_shim_wants_the_lock_of_the_thread_itself() {
    let Some(shim) = strict_shim() else { return };
    let allocate = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(shim.allocate(4).unwrap())));
    assert!(allocate().is_err(), "nobody holds the lock");
    let guard = shim.stream_lock().lock();
    allocate().unwrap();
    let elsewhere = std::thread::scope(|scope| scope.spawn(allocate).join().unwrap());
    assert!(elsewhere.is_err(), "this thread holds the lock, not the one that allocates");
    drop(guard);
}
