//! Prints the JSON Schema of the manifest: `cargo run -p golf-harness-tools --bin manifest_schema`.

fn main() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&golf_harness::manifest::json_schema())?);
    Ok(())
}
