//! The control variate: what a cheap model of the text pays for every window.
//!
//! Orders 0 to [`ORDER`], each predicting from so many tokens, are blended by absolute discounting (Ney, Essen,
//! Kneser, "On structuring probabilistic dependences in stochastic language modelling", 1994): a pair seen c times in
//! a context seen n times with u different successors has `max(c - D, 0) / n + D u / n` times the lower order's
//! probability. Counts are those of the text so far, so one pass over the tokens does it. They are kept in tables of
//! fixed size: where two pairs meet in one slot the rarer is forgotten, which costs precision of the control
//! variate and nothing of the estimate, because any numbers known for all windows would do.

use crate::eval::WindowPlan;

/// Tokens of context of the highest order: it is a model of four tokens in a row.
const ORDER: usize = 3;
/// What is taken off every count, between 0 and 1.
const DISCOUNT: f64 = 0.75;
/// Slots of the tables, at most: 2^24 pairs of 4 bytes and 2^22 contexts of 8 bytes make 96 MiB.
const MAX_PAIR_BITS: u32 = 24;
const MIN_PAIR_BITS: u32 = 10;
/// Each token adds a pair to every order, and most should find a slot of their own.
const SLOTS_PER_TOKEN: u64 = 16;
/// A context has several successors.
const CONTEXT_BITS_LESS: u32 = 2;

/// Nats that the model pays for the predictions scored by every window of the plan, in order.
///
/// `tokens` is the split, or its part that the plan was made for; windows beyond its end cost nothing.
pub fn window_nats(tokens: &[u16], plan: &WindowPlan) -> Vec<f64> {
    let vocabulary = tokens.iter().max().map_or(1, |&most| u64::from(most) + 1);
    let slots = (tokens.len().max(1) as u64).saturating_mul(SLOTS_PER_TOKEN);
    let bits = (u64::BITS - slots.leading_zeros()).clamp(MIN_PAIR_BITS, MAX_PAIR_BITS);
    nats_by(Model::new(bits, vocabulary), tokens, plan)
}

fn nats_by(mut model: Model, tokens: &[u16], plan: &WindowPlan) -> Vec<f64> {
    // The first token is no prediction, but part of the text.
    if let Some(&first) = tokens.first() {
        model.nats(&[], first);
    }
    let mut cost = |prediction: u64| {
        let target = prediction as usize + 1;
        let &token = tokens.get(target)?;
        Some(model.nats(&tokens[target.saturating_sub(ORDER)..target], token))
    };
    plan.iter(0..plan.windows()).map(|span| span.scored().map_while(&mut cost).sum()).collect()
}

/// Counts of what followed what.
struct Model {
    vocabulary: f64,
    seen: f64,
    tokens: Vec<u32>,
    contexts: Vec<Context>,
    pairs: Vec<Pair>,
}

/// How often a context was seen, and with how many different successors.
#[derive(Clone, Copy, Default)]
struct Context {
    seen: u32,
    successors: u32,
}

/// How often one token followed one context; `tag` tells pairs in the same slot apart.
#[derive(Clone, Copy, Default)]
struct Pair {
    tag: u16,
    seen: u16,
}

impl Model {
    /// Tables of 2^`pair_bits` pairs.
    fn new(pair_bits: u32, vocabulary: u64) -> Self {
        Model {
            vocabulary: vocabulary as f64,
            seen: 0.0,
            tokens: vec![0; usize::from(u16::MAX) + 1],
            contexts: vec![Context::default(); 1 << (pair_bits - CONTEXT_BITS_LESS)],
            pairs: vec![Pair::default(); 1 << pair_bits],
        }
    }

    /// What `token` costs after the last tokens `context`; then learns it.
    fn nats(&mut self, context: &[u16], token: u16) -> f64 {
        // Half a count for every token of the vocabulary.
        let count = &mut self.tokens[usize::from(token)];
        let mut probability = (f64::from(*count) + 0.5) / (self.seen + 0.5 * self.vocabulary);
        *count = count.saturating_add(1);
        self.seen += 1.0;
        let mut hash = 0;
        for (order, &before) in (1u64..).zip(context.iter().rev()) {
            hash = mix(hash ^ (u64::from(before) << 8) ^ order);
            let pair_hash = mix(hash ^ (u64::from(token) << 16));
            let context_slot = hash as usize & (self.contexts.len() - 1);
            let pair_slot = pair_hash as usize & (self.pairs.len() - 1);
            let tag = (pair_hash >> 48) as u16;
            let (context, pair) = (&mut self.contexts[context_slot], &mut self.pairs[pair_slot]);
            let seen = if pair.tag == tag { pair.seen } else { 0 };
            if context.seen > 0 {
                let kept = (f64::from(seen) - DISCOUNT).max(0.0);
                let passed_on = DISCOUNT * f64::from(context.successors);
                // Counts that a collision spoiled could exceed those of the context.
                probability = ((kept + passed_on * probability) / f64::from(context.seen)).min(1.0);
            }
            context.seen = context.seen.saturating_add(1);
            context.successors = context.successors.saturating_add(u32::from(seen == 0));
            pair.learn(tag);
        }
        -libm::log(probability.max(f64::MIN_POSITIVE))
    }
}

impl Pair {
    /// Counts a pair, or takes the slot over from one that has been pushed down to nothing.
    fn learn(&mut self, tag: u16) {
        if self.tag == tag || self.seen == 0 {
            *self = Pair { tag, seen: if self.tag == tag { self.seen.saturating_add(1) } else { 1 } };
        } else {
            self.seen -= 1;
        }
    }
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014).
pub(in crate::eval) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::RandomStream;

    /// The same model with exact counts, by definition.
    fn by_definition(tokens: &[u16]) -> Vec<f64> {
        let vocabulary = f64::from(*tokens.iter().max().unwrap()) + 1.0;
        let mut counts: BTreeMap<(Vec<u16>, u16), f64> = BTreeMap::new();
        let mut nats = Vec::new();
        for at in 0..tokens.len() {
            let of = |context: &[u16], token: u16| counts.get(&(context.to_vec(), token)).copied().unwrap_or(0.0);
            let mut p = (of(&[], tokens[at]) + 0.5) / (at as f64 + 0.5 * vocabulary);
            for order in 1..=ORDER.min(at) {
                let context = &tokens[at - order..at];
                let successors: Vec<f64> =
                    (0..vocabulary as u16).map(|t| of(context, t)).filter(|&c| c > 0.0).collect();
                let seen: f64 = successors.iter().sum();
                if seen > 0.0 {
                    let kept = (of(context, tokens[at]) - DISCOUNT).max(0.0);
                    p = kept / seen + DISCOUNT * successors.len() as f64 / seen * p;
                }
            }
            nats.push(-p.ln());
            (0..=ORDER.min(at))
                .for_each(|order| *counts.entry((tokens[at - order..at].to_vec(), tokens[at])).or_default() += 1.0);
        }
        nats
    }

    /// A text with repetitions: a walk that mostly goes on as before.
    fn text(length: usize) -> Vec<u16> {
        let mut stream = RandomStream::new(5, "text");
        let mut at = 0;
        let step = |_| {
            at = if stream.below(4) == 0 { stream.below(11) } else { (at * 3 + 1) % 11 };
            at as u16
        };
        (0..length).map(step).collect()
    }

    #[test]
    fn the_tables_give_what_exact_counts_give() {
        let tokens = text(600);
        let plan = WindowPlan::sliding(600, 40, 7).unwrap();
        let exact = by_definition(&tokens);
        // Tables so large that no two of these pairs meet.
        let found = nats_by(Model::new(24, 11), &tokens, &plan);
        assert_eq!(found.len() as u64, plan.windows());
        for (span, found) in plan.iter(0..plan.windows()).zip(found) {
            let expected: f64 = span.scored().map(|prediction| exact[prediction as usize + 1]).sum();
            assert!((found - expected).abs() < 1e-9, "{span:?}: {found} {expected}");
        }
    }

    #[test]
    fn a_text_that_repeats_itself_becomes_cheap() {
        let tokens: Vec<u16> = (0..4000).map(|i| [3, 1, 4, 1, 5, 9, 2, 6][i % 8]).collect();
        let plan = WindowPlan::non_overlapping(4000, 100).unwrap();
        let nats = window_nats(&tokens, &plan);
        assert!(nats[0] > 20.0 && nats[38] < 1.0, "{nats:?}");
    }

    #[test]
    fn full_tables_still_give_numbers() {
        // A hundred thousand random tokens of a large vocabulary: most pairs are new.
        let mut stream = RandomStream::new(1, "noise");
        let tokens: Vec<u16> = (0..100_000).map(|_| stream.below(65_536) as u16).collect();
        let mut model = Model::new(MIN_PAIR_BITS, 65_536);
        let nats: Vec<f64> = tokens.windows(4).map(|w| model.nats(&w[..3], w[3])).collect();
        assert!(nats.iter().all(|nats| nats.is_finite() && *nats >= 0.0));
        // Nothing is to be learned: a token costs ln 65,536 = 11.1 nats and more.
        assert!(nats.iter().sum::<f64>() / nats.len() as f64 > 11.0);
    }

    #[test]
    fn texts_of_no_and_one_token_have_no_windows() {
        let plan = WindowPlan::sliding(1, 8, 4).unwrap();
        assert!(window_nats(&[], &plan).is_empty() && window_nats(&[7], &plan).is_empty());
    }
}
