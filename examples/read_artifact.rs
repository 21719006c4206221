//! Reads an artifact and lists its tensors with their sizes:
//! `cargo run --example read_artifact -- fixtures/fuzz/artifact/zstd.golf`.
//!
//! Takes the formats of other submissions, too (.ptz, .pt, .safetensors, .npz); no code in them is executed.

use std::path::Path;

use golf_harness::artifact::inspect;
use golf_harness::escape::visible;

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "fixtures/fuzz/artifact/zstd.golf".into());

    // `artifact::read` gives the weights themselves, `inspect` says what each tensor takes of the file.
    let artifact = inspect::inspect(Path::new(&path))?;

    println!("{:<28} {:<6} {:>12} {:>9} {:>9}", "tensor", "class", "shape", "values", "bytes");
    for tensor in &artifact.tensors {
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        let (name, shape) = (visible(&tensor.name), shape.join("x"));
        println!("{name:<28} {:<6} {shape:>12} {:>9} {:>9}", tensor.kind, tensor.values, tensor.in_file.0);
    }
    let rest: u64 = artifact.rest.iter().map(|line| line.in_file.0).sum();
    println!("{} bytes, {rest} of them no tensor's (scales, table, header)", artifact.file.bytes.0);
    Ok(())
}
