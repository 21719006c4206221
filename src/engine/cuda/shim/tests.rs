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

/// A matrix in shared memory: where values lie by the canonical layouts of the PTX ISA (section "Canonical Layouts"), as
/// CuTe writes them, and the descriptor that says so.
#[derive(Clone, Copy)]
struct Canonical {
    /// Sizes and strides, in values, that a row or column goes through, and an inner index does.
    side: &'static [(usize, usize)],
    inner: &'static [(usize, usize)],
    /// Bits of `Swizzle<bits, 4, 3>`.
    swizzle_bits: u32,
    /// Leading and stride byte offsets, in values; mode of swizzling.
    leading: u64,
    stride: u64,
    mode: u64,
}

const fn canonical(
    side: &'static [(usize, usize)],
    inner: &'static [(usize, usize)],
    [leading, stride]: [u64; 2],
) -> Canonical {
    Canonical { side, inner, swizzle_bits: 0, leading, stride, mode: 0 }
}

impl Canonical {
    const fn swizzled(self, swizzle_bits: u32, mode: u64) -> Self {
        Canonical { swizzle_bits, mode, ..self }
    }

    /// Bytes from the start of shared memory, where the matrix begins at `start`.
    fn place(&self, start: usize, side: usize, inner: usize) -> usize {
        let along = |modes: &[(usize, usize)], index: usize| {
            modes.iter().fold((0, index), |(at, left), &(size, stride)| (at + left % size * stride, left / size)).0
        };
        let at = start + 2 * (along(self.side, side) + along(self.inner, inner));
        at ^ ((at >> 7) & ((1 << self.swizzle_bits) - 1)) << 4
    }

    fn descriptor(&self, start: u64) -> u64 {
        start >> 4 | (2 * self.leading) >> 4 << 16 | (2 * self.stride) >> 4 << 32 | self.mode << 62
    }
}

/// Rows or columns 0 to 63 and 16 inner values, without swizzling and with 32, 64 and 128 bytes of it: inner values are
/// neighbors.
const ALONG: [Canonical; 4] = [
    canonical(&[(8, 8), (8, 64)], &[(8, 1), (2, 512)], [512, 64]),
    canonical(&[(8, 16), (8, 128)], &[(8, 1), (2, 8)], [0, 128]).swizzled(1, 3),
    canonical(&[(8, 32), (8, 256)], &[(8, 1), (2, 8)], [0, 256]).swizzled(2, 2),
    canonical(&[(8, 64), (8, 512)], &[(8, 1), (2, 8)], [0, 512]).swizzled(3, 1),
];
/// The same where columns are neighbors.
const BY_COLUMNS: [Canonical; 4] = [
    canonical(&[(8, 1), (8, 64)], &[(8, 8), (2, 512)], [512, 64]),
    canonical(&[(8, 1), (2, 8), (4, 128)], &[(8, 16), (2, 512)], [128, 512]).swizzled(1, 3),
    canonical(&[(8, 1), (4, 8), (2, 256)], &[(8, 32), (2, 512)], [256, 512]).swizzled(2, 2),
    canonical(&[(8, 1), (8, 8)], &[(8, 64), (2, 512)], [0, 512]).swizzled(3, 1),
];

/// A warpgroup multiplies what descriptors say, and nothing that it must not see yet is a number to it.
#[test]
fn warpgroups_multiply() {
    const ALL_STEPS: u32 = 7;
    const HALF: usize = 8192;
    let Some(shim) = shim() else { return };
    let value = |i: usize| half::bf16::from_f32(((i * 37 + 11) % 64) as f32 / 8.0 - 4.0);
    let (a, b) = (|row: usize, l: usize| value(row * 16 + l), |l: usize, column: usize| value(5000 + 64 * l + column));
    let words = |bytes: &[u8]| -> Vec<u32> {
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    };
    let plain: Vec<u8> = (0..64 * 16).flat_map(|i| a(i / 16, i % 16).to_le_bytes()).collect();
    let memory = [2 * HALF, plain.len(), 64 * 64 * 4].map(|bytes| shim.allocate(bytes).unwrap());
    let [image, rows, d] = [0, 1, 2].map(|i| Shim::address(&memory[i]));
    let run = |layouts: [Canonical; 2], descriptors: [u64; 2], [by_columns, in_registers]: [bool; 2], steps: u32| {
        let mut bytes = vec![0; 2 * HALF];
        for i in 0..64 * 16 {
            let (side, inner) = (i / 16, i % 16);
            for (place, value) in [
                (layouts[0].place(0, side, inner), a(side, inner)),
                (layouts[1].place(HALF, side, inner), b(inner, side)),
            ] {
                bytes[place..place + 2].copy_from_slice(&value.to_le_bytes());
            }
        }
        // SAFETY: both are memory of so many bytes.
        unsafe {
            shim.write(image, &words(&bytes)).unwrap();
            shim.write(rows, &words(&plain)).unwrap();
        }
        let addresses = [image, rows, d].map(|address| Argument::Address { address, bytes: 0 });
        let flags = [u32::from(by_columns), u32::from(in_registers), steps].map(Argument::U32);
        let arguments = [&addresses[..], &descriptors.map(Argument::U64), &flags].concat();
        let launch = Launch {
            kernel: "warpgroup_product",
            grid: [1, 1],
            threads: 128,
            shared_bytes: 16384,
            arguments: &arguments,
        };
        // SAFETY: the matrices have the kernel's dimensions.
        unsafe { shim.launch(&launch) }.unwrap();
        let mut found = vec![0.0f32; 64 * 64];
        // SAFETY: it is memory of so many bytes.
        unsafe { shim.read(d, &mut found) }.unwrap();
        found
    };
    let expected: Vec<f32> =
        (0..64 * 64).map(|i| (0..16).map(|l| 2.0 * a(i / 64, l).to_f32() * b(l, i % 64).to_f32()).sum()).collect();
    for by_columns in [false, true] {
        for (left, right) in ALONG.into_iter().zip(if by_columns { BY_COLUMNS } else { ALONG }) {
            let descriptors = [left.descriptor(0), right.descriptor(HALF as u64)];
            for in_registers in [false, true] {
                let kinds = [by_columns, in_registers];
                // Sums of a few eighths and sixty-fourths are exact.
                assert_eq!(run([left, right], descriptors, kinds, ALL_STEPS), expected, "{} {kinds:?}", left.mode);
            }
            // Another layout of `b`, parts further apart, another mode of swizzling.
            for changed in [1 << 32, 1 << 62, 1 << 4] {
                let found =
                    run([left, right], [descriptors[0], descriptors[1] ^ changed], [by_columns, true], ALL_STEPS);
                assert_ne!(found, expected, "{changed:x} {by_columns}");
            }
            let found = run([left, right], descriptors, [!by_columns, true], ALL_STEPS);
            assert_ne!(found, expected, "the other order of b");
        }
    }
    let (left, right) = (ALONG[3], BY_COLUMNS[3]);
    let descriptors = [left.descriptor(0), right.descriptor(HALF as u64)];
    for missing in [1, 2] {
        let found = run([left, right], descriptors, [true, false], ALL_STEPS & !missing);
        assert!(found.iter().all(|value| value.is_nan()), "without step {missing}");
    }
    assert!(run([left, right], descriptors, [true, false], 3).iter().all(|&value| value == 7.0), "without waiting");
}

/// The first block's copies come as late as they may, the second's as early.
#[test]
fn copies_come_late_in_one_block_and_early_in_the_next() {
    const THREADS: usize = 32;
    let Some(shim) = shim() else { return };
    let memory = [2 * THREADS * 16, 2 * THREADS * 4].map(|bytes| shim.allocate(bytes).unwrap());
    let [from, to] = [0, 1].map(|i| Shim::address(&memory[i]));
    let words: Vec<u32> = (0..2 * THREADS as u32 * 4).map(|i| (i as f32).to_bits()).collect();
    let arguments = [from, to].map(|address| Argument::Address { address, bytes: 0 });
    let launch =
        Launch { kernel: "refilled_too_soon", grid: [2, 1], threads: 32, shared_bytes: 512, arguments: &arguments };
    let mut found = [0.0; 2 * THREADS];
    // SAFETY: each thread reads two chunks of 16 bytes and writes one number.
    unsafe {
        shim.write(from, &words).unwrap();
        shim.launch(&launch).unwrap();
        shim.read(to, &mut found).unwrap();
    }
    // Threads of the second block ask for the same two copies.
    let expected: Vec<f32> = (0..2 * THREADS).map(|i| 4.0 * i as f32).collect();
    assert_eq!(found[..], expected[..]);
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
    let start = |module: &str, tests: &[&str], variables: &[(&str, &str)]| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(tests.iter().map(|name| format!("{module}::{name}")))
            .args(["--nocapture", "--include-ignored"])
            .env("LD_LIBRARY_PATH", folder.path())
            .env("GOLF_HARNESS_CACHE", folder.path().join("cache"))
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said.into_owned())
    };
    let run = |passed: usize, tests: &[&str], variables: &[(&str, &str)]| {
        let (succeeded, said) = start("on_a_gpu", tests, variables);
        assert!(succeeded, "{said}");
        assert!(said.contains(&format!("{passed} passed")) && !said.contains("skipped"), "{said}");
    };
    let kernels = ["copies", "linears", "losses", "likelihoods", "gradients", "rows", "muon", "scales", "engines"];
    run(10, &kernels, &[]);
    // What does not fit is refused on this way, too.
    run(4, &["kernels_refuse", "products_refuse", "transfers_refuse", "row_numbers"], &[]);
    // Two kinds of values in one product, and recorded work.
    run(3, &["bfloat16", "the_work_is_recorded"], &[]);
    // It is a Hopper device, whose own kernels are used unless that is turned off.
    let of_hopper = ["either_instruction_makes", "heads_in_pairs"];
    let (succeeded, said) = start("on_a_hopper_gpu", &of_hopper, &[]);
    assert!(succeeded && said.contains("2 passed"), "{said}");
    let (succeeded, said) = start("on_a_hopper_gpu", &of_hopper[..1], &[("GOLF_HARNESS_WGMMA", "0")]);
    assert!(!succeeded && said.contains("GOLF_HARNESS_WGMMA other than 0"), "{said}");
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
