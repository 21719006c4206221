//! Prints the JSON Schema of `verify`'s JSON report: `cargo run -p golf-harness-tools --bin audit_schema`.

fn main() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&golf_harness::report::Audit::json_schema())?);
    Ok(())
}
