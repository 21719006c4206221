//! From what each class of each group costs to the least damage that fits.
//!
//! Damages are taken to add up, and so are bytes. Then the settings that are best for *some* price of a byte form a
//! path: steps along the lower convex hull of every group's (bytes, damage), all groups merged in the order of damage
//! per byte saved. No setting at all has less predicted damage than a point of the path at that point's predicted size.
//! Between two points the step that does not quite fit is the gap: the damage chosen here exceeds the least possible
//! one by less than the damage of that single step. Part of the gap is filled by taking back one earlier step.

use crate::quant::TensorClass;

/// Classes a group may take, highest precision first.
pub const CLASSES: [TensorClass; 4] = [TensorClass::F16, TensorClass::Int8, TensorClass::Int6, TensorClass::Int5];

/// What holding one group in one class costs, everything else at the highest precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Compressed bytes of the group's values and scales.
    pub bytes: u64,
    /// Increase of the calibration loss, nats per token; never negative.
    pub damage: f64,
}

/// One group lowered from one class to the next on its hull.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The group.
    pub group: usize,
    /// Its class before, as an index into [`CLASSES`].
    pub from: usize,
    /// Its class after.
    pub to: usize,
    /// Bytes saved.
    pub saved: u64,
    /// Predicted damage added.
    pub damage: f64,
}

/// A class for every group, as indices into [`CLASSES`].
pub type Setting = Vec<usize>;

/// The steps from all groups in f16 to the smallest reachable setting, by rising damage per byte.
///
/// `costs[g][c]` is group g in class `CLASSES[c]`. Classes that some mixture of others beats are passed over.
pub fn path(costs: &[[Cost; CLASSES.len()]]) -> Vec<Step> {
    let mut steps: Vec<(f64, Step)> = Vec::new();
    for (group, costs) in costs.iter().enumerate() {
        let (mut from, mut steepest) = (0, 0.0f64);
        while let Some(step) = next_on_hull(group, costs, from) {
            // Slopes do not fall along a hull, save by rounding.
            steepest = steepest.max(slope(&step));
            steps.push((steepest, step));
            from = step.to;
        }
    }
    // Stable: a group's own steps stay in order.
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    steps.into_iter().map(|(_, step)| step).collect()
}

fn slope(step: &Step) -> f64 {
    step.damage / step.saved.max(1) as f64
}

/// The cheapest way down from a class, per byte; of equally cheap ones the shortest.
fn next_on_hull(group: usize, costs: &[Cost; CLASSES.len()], from: usize) -> Option<Step> {
    let start = costs[from];
    let lower = costs.iter().enumerate().filter(|(_, cost)| cost.bytes < start.bytes);
    let step = |(to, cost): (usize, &Cost)| Step {
        group,
        from,
        to,
        saved: start.bytes - cost.bytes,
        damage: cost.damage - start.damage,
    };
    lower.map(step).min_by(|a, b| slope(a).total_cmp(&slope(b)).then(a.saved.cmp(&b.saved)))
}

/// The setting after the first `taken` steps.
pub fn setting(groups: usize, steps: &[Step], taken: usize) -> Setting {
    let mut setting = vec![0; groups];
    for step in steps.iter().take(taken) {
        if let Some(class) = setting.get_mut(step.group) {
            *class = step.to;
        }
    }
    setting
}

/// A setting that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The classes.
    pub setting: Setting,
    /// Steps of the path taken.
    pub taken: usize,
    /// A step among them that was taken back again, by its place in the path.
    pub undone: Option<usize>,
    /// Predicted damage.
    pub damage: f64,
    /// Real size.
    pub bytes: u64,
}

/// The least predicted damage among the path's points, and its points with one earlier step taken back, whose real
/// size is within `budget`; `None` when not even one fits.
///
/// `real[k]` is the real size after k steps; `pack` gives that of any setting. A step taken back is packed only where
/// the path's real size and the step's saving promise that it fits. What is chosen from grows with the budget and
/// depends on nothing else, so a larger budget never gives more predicted damage.
pub fn choose<E>(
    groups: usize,
    steps: &[Step],
    real: &[u64],
    budget: u64,
    mut pack: impl FnMut(&Setting) -> Result<u64, E>,
) -> Result<Option<Choice>, E> {
    let follower = |at: usize| (at + 1..steps.len()).find(|&later| steps[later].group == steps[at].group);
    let followers: Vec<usize> = (0..steps.len()).map(|at| follower(at).unwrap_or(usize::MAX)).collect();
    let mut candidates: Vec<(f64, usize, Option<usize>)> = Vec::new();
    let mut damage = 0.0;
    for taken in 0..=steps.len() {
        let size = real.get(taken).copied().unwrap_or(u64::MAX);
        if let Some(step) = taken.checked_sub(1).and_then(|last| steps.get(last)) {
            damage += step.damage;
        }
        if size <= budget {
            candidates.push((damage, taken, None));
        }
        for undone in 0..taken.saturating_sub(1) {
            // Only the latest step of a group can be taken back, and the very last one gives the point before.
            if followers[undone] >= taken && size.saturating_add(steps[undone].saved) <= budget {
                candidates.push((damage - steps[undone].damage, taken, Some(undone)));
            }
        }
    }
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    for (damage, taken, undone) in candidates {
        let mut setting = setting(groups, steps, taken);
        let bytes = match undone.and_then(|undone| steps.get(undone)) {
            None => real.get(taken).copied().unwrap_or(u64::MAX),
            Some(step) => {
                setting[step.group] = step.from;
                pack(&setting)?
            }
        };
        if bytes <= budget {
            return Ok(Some(Choice { setting, taken, undone, damage, bytes }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const TABLE: u64 = 40;

    fn size(costs: &[[Cost; 4]], setting: &Setting) -> u64 {
        TABLE + setting.iter().zip(costs).map(|(&class, costs)| costs[class].bytes).sum::<u64>()
    }

    fn damage(costs: &[[Cost; 4]], setting: &Setting) -> f64 {
        setting.iter().zip(costs).map(|(&class, costs)| costs[class].damage).sum()
    }

    fn search(costs: &[[Cost; 4]], budget: u64) -> (Vec<Step>, Option<Choice>) {
        let steps = path(costs);
        let real: Vec<u64> = (0..=steps.len()).map(|taken| size(costs, &setting(costs.len(), &steps, taken))).collect();
        let choice = choose(costs.len(), &steps, &real, budget, |setting| Ok::<_, Infallible>(size(costs, setting)));
        (steps, choice.unwrap_or_default())
    }

    fn settings(groups: usize) -> impl Iterator<Item = Setting> {
        (0..4usize.pow(groups as u32)).map(move |n| (0..groups).map(|group| n / 4usize.pow(group as u32) % 4).collect())
    }

    fn cost((bytes, damage): (u64, u32)) -> Cost {
        Cost { bytes, damage: f64::from(damage) }
    }

    #[test]
    fn a_class_that_others_beat_is_passed_over() {
        // int8 is larger than int6 and worse, as PR #286's floor makes it for small weights.
        let costs =
            [[(160, 0), (90, 50), (60, 10), (50, 100)].map(cost), [(80, 0), (40, 0), (30, 0), (20, 40)].map(cost)];
        let steps: Vec<_> = path(&costs).iter().map(|step| (step.group, step.from, step.to)).collect();
        assert_eq!(steps, [(1, 0, 1), (1, 1, 2), (0, 0, 2), (1, 2, 3), (0, 2, 3)]);
    }

    proptest! {
        #[test]
        fn the_gap_to_brute_force_is_less_than_one_step(
            raw in prop::collection::vec(prop::collection::vec((1u64..100, 0u32..1000), 3), 1..5),
            budget in 0u64..1000,
            more in 0u64..200,
        ) {
            // f16 is the largest and has no damage; the others are as they fall.
            let costs: Vec<[Cost; 4]> =
                raw.iter().map(|c| [cost((200, 0)), cost(c[0]), cost(c[1]), cost(c[2])]).collect();
            let best = settings(costs.len())
                .filter(|setting| size(&costs, setting) <= budget)
                .map(|setting| damage(&costs, &setting))
                .min_by(f64::total_cmp);
            let (steps, found) = search(&costs, budget);
            prop_assert_eq!(best.is_some(), found.is_some());
            if let (Some(best), Some(found)) = (best, &found) {
                prop_assert_eq!(found.bytes, size(&costs, &found.setting));
                prop_assert!(found.bytes <= budget);
                prop_assert!((found.damage - damage(&costs, &found.setting)).abs() < 1e-9);
                // The step that straddles the budget.
                let gap = (0..steps.len())
                    .find(|&taken| size(&costs, &setting(costs.len(), &steps, taken + 1)) <= budget)
                    .map_or(0.0, |taken| steps[taken].damage);
                prop_assert!(found.damage - best <= gap + 1e-9, "{} {} {}", found.damage, best, gap);
                let (_, larger) = search(&costs, budget + more);
                prop_assert!(larger.is_some_and(|larger| larger.damage <= found.damage));
            }
        }

        #[test]
        fn points_of_the_path_are_the_best_of_their_size(
            raw in prop::collection::vec(prop::collection::vec((1u64..100, 0u32..1000), 3), 1..4),
        ) {
            let costs: Vec<[Cost; 4]> =
                raw.iter().map(|c| [cost((200, 0)), cost(c[0]), cost(c[1]), cost(c[2])]).collect();
            let steps = path(&costs);
            for taken in 0..=steps.len() {
                let point = setting(costs.len(), &steps, taken);
                let rivals = settings(costs.len()).filter(|rival| size(&costs, rival) <= size(&costs, &point));
                let best = rivals.map(|rival| damage(&costs, &rival)).fold(f64::INFINITY, f64::min);
                prop_assert!(damage(&costs, &point) <= best + 1e-9);
            }
        }
    }
}
