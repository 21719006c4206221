//! Tables of results by seed in a README: `| Seed | val_bpb |`, a row a seed, perhaps one with the mean.

use super::Readme;
use crate::manifest::ClaimedNumber;

/// One column of bits per byte in a table by seed.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedColumn {
    /// 1-based line of the table's head.
    pub line: u64,
    /// Seed, value and 1-based line, a row each.
    pub seeds: Vec<(u64, ClaimedNumber, u64)>,
    /// The row called mean or average, with its line.
    pub mean: Option<(ClaimedNumber, u64)>,
}

/// More tables are not read.
const MAX_COLUMNS: usize = 32;

impl Readme {
    /// Columns of bits per byte of all tables that have a column of seeds, in order.
    pub fn seed_columns(&self) -> Vec<SeedColumn> {
        let mut columns: Vec<SeedColumn> = Vec::new();
        // Columns of the table that is open: index of the seeds, and (index, place in `columns`) of each value.
        let mut open: Option<(usize, Vec<(usize, usize)>)> = None;
        for (at, line) in self.text.lines().enumerate() {
            let number = at as u64 + 1;
            let Some(cells) = cells(line) else {
                open = None;
                continue;
            };
            let is_rule = |cell: &&str| !cell.is_empty() && cell.bytes().all(|b| matches!(b, b'-' | b':'));
            match &open {
                _ if cells.iter().all(|cell| is_rule(&cell.as_str())) => {}
                None => open = head(&cells, number, &mut columns),
                Some((seed_at, values)) => row(&cells, number, *seed_at, values, &mut columns),
            }
        }
        columns.retain(|column| !column.seeds.is_empty());
        columns
    }
}

/// Cells of a table's row, without emphasis; `None` for other lines.
fn cells(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    if line.matches('|').count() < 2 {
        return None;
    }
    let inner = line.strip_prefix('|').unwrap_or(line);
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    Some(inner.split('|').map(|cell| cell.trim().trim_matches(['*', '`', '_', '~']).trim().to_string()).collect())
}

fn head(cells: &[String], line: u64, columns: &mut Vec<SeedColumn>) -> Option<(usize, Vec<(usize, usize)>)> {
    let lower: Vec<String> = cells.iter().map(|cell| cell.to_ascii_lowercase()).collect();
    let seed_at = lower.iter().position(|cell| cell.contains("seed"))?;
    // Rows that differ in more than the seed are runs of different things.
    let compares = ["setting", "config", "variant", "ablation", "model", "change", "version", "method", "experiment"];
    if lower.iter().any(|cell| compares.iter().any(|word| cell.contains(word))) {
        return None;
    }
    let is_score = |cell: &str| {
        let other = ["pre", "delta", "Δ", "δ", "gain", "gap", "step", "std", "baseline", "without", "vs"];
        cell.contains("bpb") && !other.iter().any(|word| cell.contains(word))
    };
    let mut values = Vec::new();
    for (index, cell) in lower.iter().enumerate() {
        if is_score(cell) && columns.len() < MAX_COLUMNS {
            values.push((index, columns.len()));
            columns.push(SeedColumn { line, seeds: Vec::new(), mean: None });
        }
    }
    Some((seed_at, values))
}

fn row(cells: &[String], line: u64, seed_at: usize, values: &[(usize, usize)], columns: &mut [SeedColumn]) {
    let Some(name) = cells.get(seed_at) else { return };
    let seed = name.trim_start_matches("seed").trim_start_matches("Seed").trim_start_matches(['_', ' ']).parse().ok();
    let lower = name.to_ascii_lowercase();
    let is_mean = ["mean", "average", "avg"].iter().any(|word| lower.contains(word));
    for (index, place) in values {
        let Some(number) = cells.get(*index).and_then(|cell| score(cell)) else { continue };
        let Some(column) = columns.get_mut(*place) else { continue };
        match seed {
            Some(seed) => column.seeds.push((seed, number, line)),
            None if is_mean => column.mean = Some((number, line)),
            None => {}
        }
    }
}

/// The number a cell starts with.
fn score(cell: &str) -> Option<ClaimedNumber> {
    let digits: String = cell.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let number = ClaimedNumber::parse(&digits).ok()?;
    (number.value() > 0.0 && number.decimals() >= 3).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values by seed, and the mean.
    type Read = (Vec<(u64, f64)>, Option<f64>);

    fn columns(text: &str) -> Vec<Read> {
        let readme = Readme { path: "README.md".into(), bytes: 0, text: text.into() };
        let values = |column: SeedColumn| {
            let seeds = column.seeds.iter().map(|(seed, number, _)| (*seed, number.value())).collect();
            (seeds, column.mean.map(|(number, _)| number.value()))
        };
        readme.seed_columns().into_iter().map(values).collect()
    }

    #[test]
    fn tables_by_seed_are_read() {
        let text = "x\n| Seed | Steps | **val_bpb** | pre-quant bpb |\n|---|:--:|---|---|\n| 42 | 9 | 1.1410 | 1.2 |\n\
                    | **1337** | 9 | **1.1430** | 1.2 |\n| Mean | | 1.1420 ± 0.001 | |\n\n| A | bpb |\n|---|---|\n| 1 | 1.111 |\n";
        assert_eq!(columns(text), [(vec![(42, 1.141), (1337, 1.143)], Some(1.142))]);
        let two = "seed | sliding BPB | TTT BPB\n--- | --- | ---\n7 | 1.141 | 1.131\n";
        assert_eq!(columns(two), [(vec![(7, 1.141)], None), (vec![(7, 1.131)], None)]);
        let settings = "| seed | setting | val_bpb |\n|-|-|-|\n| 1 | lr 2 | 1.111 |\n| 1 | lr 3 | 1.121 |\n";
        assert_eq!(columns(settings), []);
        for nothing in ["", "| Seed |\n", "| Seed | bpb |\n|-|-|\n| x | 1.111 |\n", "| Seed | bpb |\n| 1 | 15.9 MB |\n"]
        {
            assert_eq!(columns(nothing), [], "{nothing}");
        }
    }
}
