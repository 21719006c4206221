//! Orders and skips as the scripts of the named pull requests have them.

use super::*;
use crate::model::{ParallelResidual, ValueEmbedding};

fn order_of(graph: &Graph) -> Vec<usize> {
    graph.visits.iter().map(|visit| visit.block).collect()
}

fn skips_of(graph: &Graph) -> Vec<Option<(usize, usize)>> {
    graph.visits.iter().map(|visit| visit.skip.map(|skip| (skip.row, skip.from))).collect()
}

fn looped(first: usize, last: usize, from_fraction: &[f64]) -> ModelConfig {
    let recurrence = Recurrence::Loop { first, last, repeats: 2, from_fraction: from_fraction.to_vec() };
    ModelConfig { num_layers: 11, recurrence: Some(recurrence), ..Default::default() }
}

fn in_phase(config: &ModelConfig, phase: usize) -> Graph {
    let mut config = config.clone();
    config.run.phase = Some(phase);
    Graph::new(&config)
}

#[test]
fn the_default_is_a_u_net_of_ten_serial_blocks() {
    let graph = Graph::new(&ModelConfig::default());
    assert_eq!(order_of(&graph), (0..10).collect::<Vec<_>>());
    let decoder = [Some((0, 4)), Some((1, 3)), Some((2, 2)), Some((3, 1)), Some((4, 0))];
    assert_eq!(skips_of(&graph)[5..], decoder);
    let plain = |visit: &Visit| visit.recipe.residual == Residual::Serial && visit.recipe.norm_scale == 1.0;
    assert!(graph.visits.iter().all(plain));
    assert_eq!(graph.split(), None);
}

#[test]
fn with_an_odd_number_of_blocks_the_last_one_gets_no_skip() {
    let graph = Graph::new(&ModelConfig { num_layers: 5, ..Default::default() });
    assert_eq!(skips_of(&graph), [None, None, Some((0, 1)), Some((1, 0)), None]);
}

#[test]
fn loops_run_in_the_orders_of_1394_and_1493() {
    let of_1394 = Graph::new(&looped(4, 5, &[0.5]));
    assert_eq!(order_of(&of_1394), [0, 1, 2, 3, 4, 5, 4, 5, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!((of_1394.encoder, skip_rows(&looped(4, 5, &[0.5]))), (7, 7));
    let of_1493 = looped(3, 5, &[0.35]);
    let graph = Graph::new(&of_1493);
    assert_eq!(order_of(&graph), [0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!((graph.encoder, skip_rows(&of_1493)), (8, 8));
    assert_eq!(graph.visits[8].skip.map(|skip| skip.from), Some(7));
    // Off, the same weights serve the plain order: five of the eight rows.
    let off = in_phase(&of_1493, 0);
    assert_eq!(order_of(&off), (0..11).collect::<Vec<_>>());
    assert_eq!(skips_of(&off)[5..], [Some((0, 4)), Some((1, 3)), Some((2, 2)), Some((3, 1)), Some((4, 0)), None]);
}

#[test]
fn phases_add_one_repetition_each() {
    let of_1412 = looped(3, 5, &[0.5, 0.65]);
    assert_eq!(order_of(&in_phase(&of_1412, 1)), [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(in_phase(&of_1412, 2), Graph::new(&of_1412));
    assert_eq!(Graph::new(&of_1412), Graph::new(&looped(3, 5, &[0.35])));
}

#[test]
fn an_inserted_list_keeps_the_rows_of_the_plain_order() {
    let recurrence = Some(Recurrence::Insert { blocks: vec![4, 5], from_step: 3000 });
    let of_1334 = ModelConfig { num_layers: 11, recurrence, ..Default::default() };
    let graph = Graph::new(&of_1334);
    assert_eq!(order_of(&graph), [0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!((graph.encoder, skip_rows(&of_1334)), (6, 5));
    // The deepest outputs are taken first; the shallowest is never used.
    let taken = [Some((0, 5)), Some((1, 4)), Some((2, 3)), Some((3, 2)), Some((4, 1)), None, None];
    assert_eq!(skips_of(&graph)[6..], taken);
    assert!(!graph.is_kept(0) && graph.is_kept(1));
}

#[test]
fn two_lanes_begin_in_the_decoder_and_keep_or_lose_later_skips() {
    let two = |lanes| {
        let parallel_residual = Some(ParallelResidual { start: 4, lanes });
        Graph::new(&ModelConfig { num_layers: 6, parallel_residual, ..Default::default() })
    };
    assert_eq!(two(Lanes::Two).split(), Some(4));
    assert_eq!(skips_of(&two(Lanes::Two))[3..], [Some((0, 2)), Some((1, 1)), Some((2, 0))]);
    assert_eq!(skips_of(&two(Lanes::TwoSkipsLost))[3..], [Some((0, 2)), Some((1, 1)), None]);
    let one = two(Lanes::One);
    assert_eq!(one.visits.iter().filter(|visit| visit.recipe.residual == Residual::OneLane).count(), 2);
    assert_eq!((one.split(), skips_of(&one)[5]), (None, Some((2, 0))));
}

#[test]
fn recipes_follow_the_physical_block() {
    let value_embedding = Some(ValueEmbedding { dim: 128, blocks: vec![9, 5] });
    let config = ModelConfig { ln_scale: true, xsa_last_n: 4, value_embedding, ..looped(4, 5, &[0.5]) };
    for visit in &Graph::new(&config).visits {
        let expected = 1.0 / (visit.block as f64 + 1.0).sqrt();
        assert!((f64::from(visit.recipe.norm_scale) - expected).abs() < 1e-7);
        assert_eq!(visit.recipe.excludes_own_value, visit.block >= 7);
        let row = match visit.block {
            9 => Some(0),
            5 => Some(1),
            _ => None,
        };
        assert_eq!(visit.recipe.value_embedding, row);
    }
}
