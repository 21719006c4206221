//! Prints the JSON Schema of the manifest: `cargo run --no-default-features --example manifest_schema`.

fn main() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&golf_harness::manifest::json_schema())?);
    Ok(())
}
