//! Prints the JSON Schema of `golf-harness doctor --json`: `cargo run -p golf-harness-tools --bin doctor_schema`.

fn main() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&golf_harness::cli::doctor::Diagnosis::json_schema())?);
    Ok(())
}
