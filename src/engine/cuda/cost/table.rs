//! Operations of one name together.

use std::collections::BTreeMap;

use serde::Serialize;

use super::assumptions::Assumptions;
use super::operation::{Kind, Operation};

/// All operations of one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The kernel, or what is multiplied.
    pub name: String,
    /// What it is limited by.
    pub kind: Kind,
    /// How many.
    pub calls: u64,
    /// Bytes read, all calls together.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Floating-point operations of products.
    pub flops: u64,
    /// Seconds by the assumptions.
    pub seconds: f64,
}

/// Rows by falling time, and their sum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// One for each name.
    pub rows: Vec<Row>,
    /// Everything.
    pub sum: Row,
}

impl Row {
    fn new(name: &str, kind: Kind) -> Self {
        Row { name: name.into(), kind, calls: 0, read: 0, written: 0, flops: 0, seconds: 0.0 }
    }

    fn add(&mut self, operation: &Operation, assumptions: &Assumptions) {
        self.calls += 1;
        self.read += operation.read;
        self.written += operation.written;
        self.flops += operation.flops;
        self.seconds += assumptions.seconds(operation);
    }
}

impl Table {
    /// The table of some operations.
    pub fn new(operations: &[Operation], assumptions: &Assumptions) -> Self {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        let mut sum = Row::new("sum", Kind::Memory);
        for operation in operations {
            let row = rows.entry(&operation.name).or_insert_with(|| Row::new(&operation.name, operation.kind));
            row.add(operation, assumptions);
            sum.add(operation, assumptions);
        }
        let mut rows: Vec<Row> = rows.into_values().collect();
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then_with(|| a.name.cmp(&b.name)));
        Table { rows, sum }
    }
}
