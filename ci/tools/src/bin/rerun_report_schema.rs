//! Prints the JSON Schema of the report of `rerun`: `cargo run -p golf-harness-tools --bin rerun_report_schema`.

fn main() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&golf_harness::rerun::judge::Judgement::json_schema())?);
    Ok(())
}
