//! What enters the linear layers, and the Hessians that are summed over it, against the values that PyTorch has recorded
//! between the layers.

use std::collections::BTreeMap;

use golf_harness::engine::LayerInputs;
use golf_harness::model::LinearInput;
use golf_harness::quant::HessianSum;

use crate::model::{Set, sets};
use crate::support::{ReferenceSet, on_both_sets};
use crate::tensors::{self, Reference};

on_both_sets! {
    hessians_are_those_of_the_recorded_values,
}

/// Added to a mean square before its root is taken.
const RMS_EPSILON: f64 = f32::EPSILON as f64;

fn hessians_are_those_of_the_recorded_values(set: ReferenceSet) {
    let mut checked = 0;
    // Of the larger set's four blocks only the first has its attention recorded.
    let least = if set == ReferenceSet::Shipped { 18 } else { 15 };
    let is_recorded = |set: &&Set| {
        let file = set.file("probes_f64");
        file.exists() && tensors::read(&file).contains_key("final_norm_out")
    };
    for set in sets(set).iter().filter(is_recorded) {
        let expected = expected_inputs(set);
        let found = found_sums(set);
        assert_eq!(found.len(), LinearInput::all(&set.config).len());
        for (input, sum) in found {
            let channels = sum.channels();
            let Some(x) = expected.get(&input) else { continue };
            let batches = set.rows.len() as f64;
            let mut hessian = vec![0.0; channels * channels];
            for token in x.chunks(channels) {
                for (row, a) in hessian.chunks_mut(channels).zip(token) {
                    row.iter_mut().zip(token).for_each(|(h, b)| *h += a * b / batches);
                }
            }
            let expected = Reference { shape: vec![channels, channels], data: hessian };
            let error = expected.relative_distance(&sum.mean().unwrap());
            assert!(error < 2e-5, "{} {input:?}: off by {error:e}", set.tag);
            checked += 1;
        }
    }
    assert!(checked >= least, "{checked}");
}

/// Sums over the engine's inputs, each row a batch.
fn found_sums(set: &Set) -> BTreeMap<LinearInput, HessianSum> {
    let all = LinearInput::all(&set.config);
    let inputs = LayerInputs::new(&set.config, &set.weights, all.clone()).unwrap();
    let mut sums: BTreeMap<LinearInput, HessianSum> =
        all.into_iter().map(|input| (input, HessianSum::new(input.channels(&set.config)))).collect();
    for row in &set.rows {
        for (input, values) in inputs.of(&row[..row.len() - 1]).unwrap() {
            sums.get_mut(&input).unwrap().add(&values).unwrap();
        }
        sums.values_mut().for_each(HessianSum::end_batch);
    }
    sums
}

/// The inputs of the layers around which values are recorded: `[tokens, channels]`, all rows one after another.
fn expected_inputs(set: &Set) -> BTreeMap<LinearInput, Vec<f64>> {
    let probes = tensors::read(&set.file("probes_f64"));
    let weight = |name: String| -> Vec<f64> {
        set.weights.get(&name).unwrap_or_else(|| panic!("{name}")).data().iter().map(|&w| f64::from(w)).collect()
    };
    let (dim, hidden) = (set.config.model_dim, set.config.mlp_hidden());
    let mut inputs = BTreeMap::from([(LinearInput::Head, probes["final_norm_out"].data.clone())]);
    if let Some(ids) = probes.get("bigram_hash_ids") {
        let (table, width) = (weight("bigram.embed.weight".into()), set.config.bigram_dim);
        let rows = ids.data.iter().flat_map(|&id| table[id as usize * width..][..width].to_vec());
        inputs.insert(LinearInput::Bigram, rows.collect());
    }
    let x0 = &probes["x0_after_smear"].data;
    for i in 0..set.config.num_layers {
        let probe = |name: &str| &probes[&format!("block{i}.{name}")];
        let mix = weight(format!("blocks.{i}.resid_mix"));
        let stream = probe("in").data.iter().zip(x0).enumerate();
        let mixed: Vec<f64> = stream.map(|(at, (x, x0))| mix[at % dim] * x + mix[dim + at % dim] * x0).collect();
        inputs.insert(LinearInput::Attention(i), normalized(&mixed, dim));
        if let Some(average) = probes.get(&format!("block{i}.sdpa_out")) {
            inputs.insert(LinearInput::AttentionProjection(i), heads_side_by_side(average));
        }
        let scale = weight(format!("blocks.{i}.attn_scale"));
        let attended = mixed.iter().zip(&probe("attn_out").data).enumerate();
        let attended: Vec<f64> = attended.map(|(at, (x, a))| x + scale[at % dim] * a).collect();
        let normed = normalized(&attended, dim);
        let fc = weight(format!("blocks.{i}.mlp.fc.weight"));
        let squared = |token: &[f64]| -> Vec<f64> {
            let product = |row: &[f64]| row.iter().zip(token).map(|(w, x)| w * x).sum::<f64>().max(0.0).powi(2);
            fc.chunks(dim).map(product).collect()
        };
        let squares: Vec<f64> = normed.chunks(dim).flat_map(squared).collect();
        assert_eq!(squares.len(), normed.len() / dim * hidden);
        inputs.insert(LinearInput::MlpProjection(i), squares);
        inputs.insert(LinearInput::Mlp(i), normed);
    }
    inputs
}

fn normalized(values: &[f64], width: usize) -> Vec<f64> {
    let row = |row: &[f64]| -> Vec<f64> {
        let square = row.iter().map(|x| x * x).sum::<f64>() / width as f64;
        row.iter().map(|x| x / (square + RMS_EPSILON).sqrt()).collect()
    };
    values.chunks(width).flat_map(row).collect()
}

/// From `[rows, heads, tokens, d]` to `[rows, tokens, heads * d]`.
fn heads_side_by_side(values: &Reference) -> Vec<f64> {
    let [rows, heads, tokens, width] = values.shape[..] else { panic!("{:?}", values.shape) };
    let mut side_by_side = Vec::with_capacity(values.data.len());
    for row in 0..rows {
        for token in 0..tokens {
            for head in 0..heads {
                let from = ((row * heads + head) * tokens + token) * width;
                side_by_side.extend_from_slice(&values.data[from..from + width]);
            }
        }
    }
    side_by_side
}
