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

/// A table that is being read.
enum Table {
    /// A row a seed: the index of the seeds' column, and (index, place in the result) of each value.
    Down(usize, Vec<(usize, usize)>),
    /// A column a seed: indices of seeds, and of their mean.
    Across(Vec<(usize, u64)>, Option<usize>),
}

impl Readme {
    /// Bits per byte of all tables by seed, in order: of tables with a row a seed each column, of tables with a column a
    /// seed each row.
    pub fn seed_columns(&self) -> Vec<SeedColumn> {
        let mut columns: Vec<SeedColumn> = Vec::new();
        let mut open: Option<Table> = None;
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
                Some(Table::Down(seed_at, values)) => row(&cells, number, *seed_at, values, &mut columns),
                Some(Table::Across(seeds, mean_at)) => columns.extend(row_across(&cells, number, seeds, *mean_at)),
            }
            columns.truncate(MAX_COLUMNS);
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

/// Words of what is no score of the runs themselves.
const OTHER_SCORES: [&str; 11] = ["pre", "delta", "Δ", "δ", "gain", "gap", "step", "std", "baseline", "without", "vs"];

fn is_score(lower: &str) -> bool {
    lower.contains("bpb") && !OTHER_SCORES.iter().any(|word| lower.contains(word))
}

fn is_mean(lower: &str) -> bool {
    ["mean", "average", "avg"].iter().any(|word| lower.contains(word))
}

/// `42`, `seed 42` or `Seed_42`.
fn seed(cell: &str) -> Option<u64> {
    cell.trim_start_matches("seed").trim_start_matches("Seed").trim_start_matches(['_', ' ']).parse().ok()
}

fn head(cells: &[String], line: u64, columns: &mut Vec<SeedColumn>) -> Option<Table> {
    let lower: Vec<String> = cells.iter().map(|cell| cell.to_ascii_lowercase()).collect();
    let seed_at = lower.iter().position(|cell| cell.contains("seed"))?;
    // Rows that differ in more than the seed are runs of different things.
    let compares = ["setting", "config", "variant", "ablation", "model", "change", "version", "method", "experiment"];
    if lower.iter().any(|cell| compares.iter().any(|word| cell.contains(word))) {
        return None;
    }
    let across: Vec<(usize, u64)> =
        cells.iter().enumerate().skip(1).filter_map(|(at, cell)| Some((at, seed(cell)?))).collect();
    if across.len() >= 2 {
        return Some(Table::Across(across, lower.iter().skip(1).position(|cell| is_mean(cell)).map(|at| at + 1)));
    }
    let mut values = Vec::new();
    for (index, cell) in lower.iter().enumerate() {
        if is_score(cell) && columns.len() < MAX_COLUMNS {
            values.push((index, columns.len()));
            columns.push(SeedColumn { line, seeds: Vec::new(), mean: None });
        }
    }
    Some(Table::Down(seed_at, values))
}

/// A row of a table with a column a seed, if it is one of scores.
fn row_across(cells: &[String], line: u64, seeds: &[(usize, u64)], mean_at: Option<usize>) -> Option<SeedColumn> {
    let label = cells.first()?.to_ascii_lowercase();
    let value = |at: usize| cells.get(at).and_then(|cell| score(cell));
    let seeds = seeds.iter().filter_map(|(at, seed)| Some((*seed, value(*at)?, line))).collect();
    is_score(&label).then(|| SeedColumn { line, seeds, mean: mean_at.and_then(value).map(|mean| (mean, line)) })
}

fn row(cells: &[String], line: u64, seed_at: usize, values: &[(usize, usize)], columns: &mut [SeedColumn]) {
    let Some(name) = cells.get(seed_at) else { return };
    let seed = seed(name);
    let is_mean = is_mean(&name.to_ascii_lowercase());
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
        let across = "| Metric | Seed 42 | **seed 7** | mean |\n|-|-|-|-|\n| steps | 9 | 9 | |\n| pre-quant bpb | 1.2 | 1.2 | |\n\
                      | val_bpb | 1.1410 | 1.1430 | 1.1420 |\n\n| seed | 42 | 7 |\n|-|-|-|\n| val_bpb | 1.151 | x |\n";
        assert_eq!(columns(across), [(vec![(42, 1.141), (7, 1.143)], Some(1.142)), (vec![(42, 1.151)], None)]);
        let settings = "| seed | setting | val_bpb |\n|-|-|-|\n| 1 | lr 2 | 1.111 |\n| 1 | lr 3 | 1.121 |\n";
        assert_eq!(columns(settings), []);
        for nothing in ["", "| Seed |\n", "| Seed | bpb |\n|-|-|\n| x | 1.111 |\n", "| Seed | bpb |\n| 1 | 15.9 MB |\n"]
        {
            assert_eq!(columns(nothing), [], "{nothing}");
        }
    }
}
