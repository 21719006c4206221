//! Prints the JSON Schema of `rerun --plan --json`: `cargo run -p golf-harness-tools --bin rerun_plan_schema`.

fn main() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&golf_harness::rerun::plan::Plan::json_schema())?);
    Ok(())
}
