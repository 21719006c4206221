//! The control variates: what cheap models of the text pay for every window.
//!
//! Orders 0 to [`ORDER`], each predicting from so many tokens, are blended by absolute discounting (Ney, Essen,
//! Kneser, "On structuring probabilistic dependences in stochastic language modelling", 1994): a pair seen c times in
//! a context seen n times with u different successors has `max(c - D, 0) / n + D u / n` times the lower order's
//! probability. Counts are those of the whole split less the very occurrence that is predicted, so a first pass counts
//! and a second one prices. They are kept in tables of fixed size: where two pairs meet in one slot the rarer is
//! forgotten, which costs precision of the control variates and nothing of the estimate, because any numbers known for
//! all windows would do.

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

/// Models whose prices are told: of single tokens, of pairs, and of four in a row.
pub const PRICES: usize = 3;
/// Their orders.
const PRICED: [usize; PRICES] = [0, 1, ORDER];

/// Nats that each model pays for the predictions scored by every window of the plan, in order.
///
/// `tokens` is the split, or its part that the plan was made for; windows beyond its end cost nothing.
pub fn window_nats(tokens: &[u16], plan: &WindowPlan) -> Vec<[f64; PRICES]> {
    let vocabulary = tokens.iter().max().map_or(1, |&most| u64::from(most) + 1);
    let slots = (tokens.len().max(1) as u64).saturating_mul(SLOTS_PER_TOKEN);
    let bits = (u64::BITS - slots.leading_zeros()).clamp(MIN_PAIR_BITS, MAX_PAIR_BITS);
    nats_by(Model::new(bits, vocabulary), tokens, plan)
}

fn nats_by(mut model: Model, tokens: &[u16], plan: &WindowPlan) -> Vec<[f64; PRICES]> {
    let context = |at: usize| &tokens[at.saturating_sub(ORDER)..at];
    for (at, &token) in tokens.iter().enumerate() {
        model.learn(context(at), token);
    }
    let price = |prediction: u64| {
        let at = prediction as usize + 1;
        tokens.get(at).map(|&token| model.nats(context(at), token))
    };
    let add = |sum: [f64; PRICES], price: [f64; PRICES]| std::array::from_fn(|i| sum[i] + price[i]);
    plan.iter(0..plan.windows()).map(|span| span.scored().map_while(price).fold([0.0; PRICES], add)).collect()
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

    /// Counts `token` after the last tokens `context`.
    fn learn(&mut self, context: &[u16], token: u16) {
        let count = &mut self.tokens[usize::from(token)];
        *count = count.saturating_add(1);
        self.seen += 1.0;
        let mut slots = Slots::new(context, token);
        while let Some(Slot { context, pair, tag }) = slots.next(self) {
            let (context, pair) = (&mut self.contexts[context], &mut self.pairs[pair]);
            context.seen = context.seen.saturating_add(1);
            context.successors = context.successors.saturating_add(u32::from(pair.seen(tag) == 0));
            pair.learn(tag);
        }
    }

    /// What `token`, which was counted after `context`, would cost had it not been.
    fn nats(&self, context: &[u16], token: u16) -> [f64; PRICES] {
        // Half a count for every token of the vocabulary.
        let count = self.tokens[usize::from(token)].saturating_sub(1);
        let mut probability = (f64::from(count) + 0.5) / ((self.seen - 1.0).max(0.0) + 0.5 * self.vocabulary);
        let mut by_order = [probability; ORDER + 1];
        let mut slots = Slots::new(context, token);
        for by_order in &mut by_order[1..] {
            if let Some(Slot { context, pair, tag }) = slots.next(self) {
                let (context, seen) = (self.contexts[context], self.pairs[pair].seen(tag));
                let others = context.seen.saturating_sub(1);
                if others > 0 {
                    let kept = (f64::from(seen) - 1.0 - DISCOUNT).max(0.0);
                    // Others were seen, so there is a successor, whatever the tables have forgotten.
                    let successors = context.successors.saturating_sub(u32::from(seen == 1)).max(1);
                    let passed_on = DISCOUNT * f64::from(successors) * probability;
                    // Counts that a collision spoiled could exceed those of the context.
                    probability = ((kept + passed_on) / f64::from(others)).min(1.0);
                }
            }
            *by_order = probability;
        }
        PRICED.map(|order| -libm::log(by_order[order].max(f64::MIN_POSITIVE)))
    }
}

/// Where the counts of one token after its contexts lie, the shortest context first.
struct Slots<'a> {
    context: std::iter::Rev<std::slice::Iter<'a, u16>>,
    token: u16,
    order: u64,
    hash: u64,
}

struct Slot {
    context: usize,
    pair: usize,
    tag: u16,
}

impl<'a> Slots<'a> {
    fn new(context: &'a [u16], token: u16) -> Self {
        Slots { context: context.iter().rev(), token, order: 0, hash: 0 }
    }

    fn next(&mut self, model: &Model) -> Option<Slot> {
        let &before = self.context.next()?;
        self.order += 1;
        self.hash = mix(self.hash ^ (u64::from(before) << 8) ^ self.order);
        let pair = mix(self.hash ^ (u64::from(self.token) << 16));
        // Sizes are powers of two.
        let slot = |hash: u64, length: usize| hash as usize & (length - 1);
        let (context, tag) = (slot(self.hash, model.contexts.len()), (pair >> 48) as u16);
        Some(Slot { context, pair: slot(pair, model.pairs.len()), tag })
    }
}

impl Pair {
    /// How often a pair was seen, as far as is known.
    fn seen(&self, tag: u16) -> u16 {
        if self.tag == tag { self.seen } else { 0 }
    }

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

    /// The same models with exact counts, by definition.
    fn by_definition(tokens: &[u16]) -> Vec<[f64; PRICES]> {
        let vocabulary = f64::from(*tokens.iter().max().unwrap()) + 1.0;
        let mut counts: BTreeMap<(Vec<u16>, u16), f64> = BTreeMap::new();
        let keys = |at: usize| (0..=ORDER.min(at)).map(move |order| (tokens[at - order..at].to_vec(), tokens[at]));
        (0..tokens.len()).flat_map(keys).for_each(|key| *counts.entry(key).or_default() += 1.0);
        let mut all = Vec::new();
        for at in 0..tokens.len() {
            keys(at).for_each(|key| *counts.get_mut(&key).unwrap() -= 1.0);
            let of = |context: &[u16], token: u16| counts.get(&(context.to_vec(), token)).copied().unwrap_or(0.0);
            let mut p = (of(&[], tokens[at]) + 0.5) / ((tokens.len() - 1) as f64 + 0.5 * vocabulary);
            let mut nats = vec![-p.ln()];
            for order in 1..=ORDER {
                let context = &tokens[at - order.min(at)..at];
                let successors: Vec<f64> =
                    (0..vocabulary as u16).map(|t| of(context, t)).filter(|&c| c > 0.0).collect();
                let seen: f64 = successors.iter().sum();
                if seen > 0.0 && order <= at {
                    let kept = (of(context, tokens[at]) - DISCOUNT).max(0.0);
                    p = kept / seen + DISCOUNT * successors.len() as f64 / seen * p;
                }
                nats.push(-p.ln());
            }
            keys(at).for_each(|key| *counts.get_mut(&key).unwrap() += 1.0);
            all.push([nats[0], nats[1], nats[3]]);
        }
        all
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
            for (price, found) in found.into_iter().enumerate() {
                let expected: f64 = span.scored().map(|prediction| exact[prediction as usize + 1][price]).sum();
                assert!((found - expected).abs() < 1e-9, "{span:?}, price {price}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_text_that_repeats_itself_is_cheap_to_who_looks_back() {
        let tokens: Vec<u16> = (0..4000).map(|i| [3, 1, 4, 1, 5, 9, 2, 6][i % 8]).collect();
        let plan = WindowPlan::non_overlapping(4000, 100).unwrap();
        for [single, pair, four] in window_nats(&tokens, &plan) {
            // Seven different tokens; after a 1 there are two possibilities.
            assert!(single > 180.0 && (10.0..30.0).contains(&pair) && four < 1.0, "{single} {pair} {four}");
        }
    }

    #[test]
    fn full_tables_still_give_numbers() {
        // A hundred thousand random tokens of a large vocabulary: most pairs are new.
        let mut stream = RandomStream::new(1, "noise");
        let tokens: Vec<u16> = (0..100_000).map(|_| stream.below(65_536) as u16).collect();
        let mut model = Model::new(MIN_PAIR_BITS, 65_536);
        tokens.windows(4).for_each(|w| model.learn(&w[..3], w[3]));
        let nats: Vec<f64> = tokens.windows(4).flat_map(|w| model.nats(&w[..3], w[3])).collect();
        assert!(nats.iter().all(|nats| (0.0..700.0).contains(nats)));
        // There is nothing to learn: a token costs about ln 65,536 = 11.1 nats.
        assert!(nats.iter().sum::<f64>() / nats.len() as f64 > 10.0);
    }

    #[test]
    fn texts_of_no_and_one_token_have_no_windows() {
        let plan = WindowPlan::sliding(1, 8, 4).unwrap();
        assert!(window_nats(&[], &plan).is_empty() && window_nats(&[7], &plan).is_empty());
    }
}
