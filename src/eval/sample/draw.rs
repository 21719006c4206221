//! Which windows a sample holds.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Strata;
use crate::random::RandomStream;

/// The windows of a sample of `size`, ascending: those always taken, and from every stratum a simple random sample
/// without replacement.
///
/// Each stratum has one random order for each seed, and samples take its beginning. So a larger sample of the same
/// strata and seed contains the smaller one.
pub fn draw(strata: &Strata, seed: u64, size: u64) -> Vec<u64> {
    let size = size.min(strata.windows());
    let mut windows: Vec<u64> = (0..strata.certain().min(size)).collect();
    for (index, quota) in (0..).zip(strata.quotas(size)) {
        let range = strata.range(index);
        if quota == range.end - range.start {
            windows.extend(range);
        } else {
            let mut stream = RandomStream::new(seed, &format!("sample of windows, stratum {index}"));
            let from = windows.len();
            windows.extend(beginning(range, quota, &mut stream));
            windows[from..].sort_unstable();
        }
    }
    windows
}

/// The first `count` of a random order of `range`: Fisher and Yates's shuffle, of which only the places that were
/// swapped are kept.
fn beginning(range: Range<u64>, count: u64, stream: &mut RandomStream) -> Vec<u64> {
    let length = range.end - range.start;
    let mut moved = BTreeMap::new();
    (0..count.min(length))
        .map(|place| {
            let other = place + stream.below(length - place);
            let here = moved.get(&place).copied().unwrap_or(place);
            range.start + moved.insert(other, here).unwrap_or(other)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::WindowPlan;

    fn strata(windows: u64, first: u64) -> Strata {
        Strata::new(&WindowPlan::non_overlapping(windows * 4 + 1, 4).unwrap(), first)
    }

    #[test]
    fn samples_are_ascending_distinct_and_nested() {
        let plan = WindowPlan::sliding(10_000, 128, 8).unwrap();
        let strata = Strata::new(&plan, 50);
        let mut smaller: Vec<u64> = Vec::new();
        for size in [50, 51, 100, 399, 1000, plan.windows() - 1, plan.windows(), u64::MAX] {
            let sample = draw(&strata, 3, size);
            assert_eq!(sample.len() as u64, size.min(plan.windows()));
            assert!(sample.windows(2).all(|pair| pair[0] < pair[1]) && sample[0] == 0);
            assert!(smaller.iter().all(|window| sample.binary_search(window).is_ok()));
            smaller = sample;
        }
        assert_eq!(smaller, (0..plan.windows()).collect::<Vec<_>>());
        assert_ne!(draw(&strata, 3, 50), draw(&strata, 4, 50));
    }

    /// Every window is drawn with the probability that its stratum's quota gives it, and so is every pair.
    #[test]
    fn windows_and_pairs_are_drawn_as_often_as_they_should_be() {
        let strata = strata(7, 4); // one stratum of 7, 4 of them drawn
        let (draws, mut single, mut pair) = (20_000u32, [0u32; 7], [[0u32; 7]; 7]);
        for seed in 0..u64::from(draws) {
            let sample = draw(&strata, seed, 4);
            for &a in &sample {
                single[a as usize] += 1;
                sample.iter().for_each(|&b| pair[a as usize][b as usize] += 1);
            }
        }
        // Five standard deviations of a binomial count.
        let is_near = |count: u32, p: f64| {
            let (n, count) = (f64::from(draws), f64::from(count));
            (count - n * p).abs() < 5.0 * (n * p * (1.0 - p)).sqrt()
        };
        assert!(single.iter().all(|&count| is_near(count, 4.0 / 7.0)), "{single:?}");
        let pairs = (0..7).flat_map(|a| (0..a).map(move |b| (a, b)));
        assert!(pairs.into_iter().all(|(a, b)| is_near(pair[a][b], 4.0 * 3.0 / (7.0 * 6.0))), "{pair:?}");
    }

    #[test]
    fn nothing_can_be_drawn_from_nothing() {
        let empty = Strata::new(&WindowPlan::sliding(1, 4, 2).unwrap(), 40);
        assert!(draw(&empty, 1, 40).is_empty());
        assert!(draw(&strata(5, 40), 1, 0).is_empty());
        assert_eq!(draw(&strata(5, 40), 1, 40), [0, 1, 2, 3, 4]);
    }
}
