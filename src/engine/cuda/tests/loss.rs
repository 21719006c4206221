//! Vocabularies whose logits a warp keeps beside one too large for that.

use std::sync::Arc;

use super::{on_both, random, random_ids};
use crate::engine::Precision;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::Device;
use crate::engine::network::{Kernels, Linear};

on_both!(logits_that_are_kept_give_the_bits_of_those_that_are_made_again);

/// Logits that a warp keeps (`KEPT_LOGITS` in `loss.cu`).
const KEPT: usize = 1024;
const TOKENS: usize = 5;
const WIDTH: usize = 16;
/// A logit of minus this has no weight beside one near zero.
const CAP: f32 = 60.0;

/// One more token that is never likely changes no bit, but takes the other way.
fn logits_that_are_kept_give_the_bits_of_those_that_are_made_again<D: Device>(device: &Arc<D>) {
    for precision in [Precision::F32, Precision::Bf16] {
        let k = CudaKernels::new(Arc::clone(device), precision);
        let targets = random_ids(TOKENS, KEPT, "targets");
        let mut x = random(TOKENS * WIDTH, "x");
        x.iter_mut().step_by(WIDTH).for_each(|first| *first = 1.0);
        let mut head = random(KEPT * WIDTH, "head");
        let run = |head: &[f32]| {
            let s = Linear { tokens: TOKENS, inputs: WIDTH, outputs: head.len() / WIDTH };
            let (x, head, targets) = (k.store(&x), k.store(head), k.ids(&targets, s.outputs));
            let (mut grad_x, mut grad_head) = (k.unset(TOKENS * WIDTH), k.gradients(s.outputs * WIDTH));
            let nll = k.nll(s, &x, &head, CAP, &targets);
            let again = k.nll_grad(s, &x, &head, CAP, &targets, 0.25, &mut grad_x, &mut grad_head);
            let found = [nll, again, grad_head].map(|values| k.download(values));
            k.check().unwrap();
            found
        };
        let [nll, again, grad_head] = run(&head);
        let mut unlikely = vec![0.0; WIDTH];
        unlikely[0] = -1e6;
        head.extend(unlikely);
        let [other_nll, other_again, other_grad_head] = run(&head);
        assert!(nll.iter().all(|nll| nll.is_finite() && *nll > 0.0));
        assert_eq!((&nll, &nll), (&again, &other_nll), "{precision:?}");
        assert_eq!(nll, other_again);
        assert!(grad_head == other_grad_head[..KEPT * WIDTH], "{precision:?}");
        assert!(other_grad_head[KEPT * WIDTH..].iter().all(|grad| *grad == 0.0));
    }
}
