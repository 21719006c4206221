//! What is known of every window without running the model.

use super::estimate::AUXILIARIES;
use super::ngram;
use crate::data::TargetBytes;
use crate::eval::WindowPlan;

/// Auxiliary variables of all windows of one plan, and their totals.
#[derive(Clone, Debug)]
pub struct Auxiliary {
    windows: Vec<[f64; AUXILIARIES]>,
    /// Sums over all windows.
    pub totals: [f64; AUXILIARIES],
    /// Bytes of text that all windows score.
    pub bytes: u64,
}

impl Auxiliary {
    /// One pass over the tokens, 32 bytes a window.
    pub fn of<'a>(tokens: &[u16], bytes: impl Into<TargetBytes<'a>>, plan: &WindowPlan) -> Self {
        let count = bytes.into();
        let nats = ngram::window_nats(tokens, plan);
        let mut auxiliary = Auxiliary { windows: Vec::with_capacity(nats.len()), totals: [0.0; AUXILIARIES], bytes: 0 };
        for (span, nats) in plan.iter(0..plan.windows()).zip(nats) {
            let bytes = count.of_all(tokens, span.first_scored as usize + 1..span.end as usize + 1);
            let [single, pair, four] = nats;
            let window = [single, pair, four, bytes as f64];
            auxiliary.bytes += bytes;
            auxiliary.windows.push(window);
            auxiliary.totals.iter_mut().zip(window).for_each(|(total, value)| *total += value);
        }
        auxiliary
    }

    /// Those of one window; zeros past the last.
    pub fn window(&self, index: u64) -> [f64; AUXILIARIES] {
        usize::try_from(index).ok().and_then(|index| self.windows.get(index)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ByteTable, TokenBytes};

    #[test]
    fn bytes_of_windows_add_up_to_those_of_the_text() {
        let entry = |id: u16| TokenBytes { base_bytes: id % 5, leading_marker: id % 2 == 1, boundary: id == 0 };
        let table = ByteTable::new((0..13).map(entry).collect());
        let tokens: Vec<u16> = (0..700u32).map(|i| (i * i % 13) as u16).collect();
        for plan in [WindowPlan::sliding(700, 64, 9).unwrap(), WindowPlan::non_overlapping(700, 64).unwrap()] {
            let found = Auxiliary::of(&tokens, &table, &plan);
            assert_eq!(found.bytes, table.bytes_of_targets(&tokens[..=plan.scored() as usize]));
            assert_eq!(found.totals[3], found.bytes as f64);
            let second = plan.window(1).unwrap().scored();
            let expected: u64 = second.map(|i| table.bytes_of(tokens[i as usize], tokens[i as usize + 1])).sum();
            assert_eq!((found.window(1)[3], found.window(plan.windows())), (expected as f64, [0.0; AUXILIARIES]));
        }
    }
}
