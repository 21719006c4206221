//! Operations that dfdx composes from many single-threaded passes, done in one pass each on the processor.
//!
//! Each is an ordinary differentiable dfdx operation; the tests check it against `composed`.

use std::rc::Rc;

use dfdx::prelude::*;

use super::hardware::{Hardware, HeadRows, RMS_EPSILON};
use super::{Matrix, Recorder, Scores, Vector};
use crate::engine::lanes;
use crate::model::RopeTables;

impl Hardware for Cpu {
    fn rms_norm<T: Recorder<Self>>(x: Matrix<Self, T>) -> Matrix<Self, T> {
        rms_norm(x)
    }

    fn rope<T: Recorder<Self>>(x: Matrix<Self, T>, tables: &Rc<RopeTables>, rows: HeadRows) -> Matrix<Self, T> {
        rope(x, tables, rows)
    }

    fn causal_softmax<T: Recorder<Self>>(scores: Scores<Self, T>, scale: f32) -> Scores<Self, T> {
        causal_softmax(scores, scale)
    }

    fn take_gradient(gradients: &mut Gradients<f32, Self>, leaf: &Vector<Self>) -> Result<Vec<f32>, Self::Err> {
        Ok(std::mem::take(&mut **gradients.get_or_alloc_mut(leaf)?))
    }
}

/// See [`Hardware::rms_norm`].
pub(super) fn rms_norm<T: Recorder<Cpu>>(x: Matrix<Cpu, T>) -> Matrix<Cpu, T> {
    let width = x.shape().1;
    let inverse = move |row: &[f32]| 1.0 / (lanes::dot(row, row) / width as f32 + RMS_EPSILON).sqrt();
    fused(
        x,
        move |x, y| {
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                let inverse = inverse(x);
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x * inverse);
            }
        },
        move |saved, grad_y, grad_x| {
            let x = saved.input();
            let rows = x.chunks_exact(width).zip(grad_y.chunks_exact(width));
            for ((x, grad_y), grad_x) in rows.zip(grad_x.chunks_exact_mut(width)) {
                let inverse = inverse(x);
                let pull = lanes::dot(x, grad_y) * inverse * inverse / width as f32;
                for ((grad_x, grad_y), x) in grad_x.iter_mut().zip(grad_y).zip(x) {
                    *grad_x += (grad_y - x * pull) * inverse;
                }
            }
        },
    )
}

/// See [`Hardware::rope`].
pub(super) fn rope<T: Recorder<Cpu>>(x: Matrix<Cpu, T>, tables: &Rc<RopeTables>, rows: HeadRows) -> Matrix<Cpu, T> {
    let width = x.shape().1;
    let (forward, backward) = (Rc::clone(tables), Rc::clone(tables));
    fused(
        x,
        move |x, y| rotate(&forward, width, rows, 1.0, x, y),
        // The transpose of a rotation is the opposite rotation.
        move |_, grad_y, grad_x| rotate(&backward, width, rows, -1.0, grad_y, grad_x),
    )
}

/// Adds the rotated `x` to `y`.
fn rotate(tables: &RopeTables, width: usize, rows: HeadRows, direction: f32, x: &[f32], y: &mut [f32]) {
    let (half, HeadRows { seq_len, width: head }) = (tables.half, rows);
    for (token, (x, y)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).enumerate() {
        let row = token % seq_len * half..(token % seq_len + 1) * half;
        let (cos, sin) = (&tables.cos[row.clone()], &tables.sin[row]);
        for (x, y) in x.chunks_exact(head).zip(y.chunks_exact_mut(head)) {
            let ((x, x_rest), (y, y_rest)) = (x.split_at(2 * half), y.split_at_mut(2 * half));
            y_rest.iter_mut().zip(x_rest).for_each(|(y, x)| *y += x);
            let ((x1, x2), (y1, y2)) = (x.split_at(half), y.split_at_mut(half));
            for i in 0..half {
                let sin = direction * sin[i];
                y1[i] += x1[i] * cos[i] + x2[i] * sin;
                y2[i] += x2[i] * cos[i] - x1[i] * sin;
            }
        }
    }
}

/// See [`Hardware::causal_softmax`].
pub(super) fn causal_softmax<T: Recorder<Cpu>>(scores: Scores<Cpu, T>, scale: f32) -> Scores<Cpu, T> {
    let seq_len = scores.shape().3;
    fused(
        scores,
        move |scores, out| {
            for (row, (scores, out)) in scores.chunks_exact(seq_len).zip(out.chunks_exact_mut(seq_len)).enumerate() {
                let visible = row % seq_len + 1;
                let (scores, out) = (&scores[..visible], &mut out[..visible]);
                let largest = scores.iter().fold(f32::NEG_INFINITY, |largest, &score| largest.max(score));
                for (out, score) in out.iter_mut().zip(scores) {
                    *out = ((score - largest) * scale).exp();
                }
                let inverse = 1.0 / lanes::sum(out);
                out.iter_mut().for_each(|out| *out *= inverse);
            }
        },
        move |saved, grad_out, grad_scores| {
            let out = saved.output();
            let rows = out.chunks_exact(seq_len).zip(grad_out.chunks_exact(seq_len));
            for (row, ((out, grad_out), grad)) in rows.zip(grad_scores.chunks_exact_mut(seq_len)).enumerate() {
                let visible = row % seq_len + 1;
                let mean = lanes::dot(&out[..visible], &grad_out[..visible]);
                for ((grad, out), grad_out) in grad[..visible].iter_mut().zip(out).zip(grad_out) {
                    *grad += scale * out * (grad_out - mean);
                }
            }
        },
    )
}

/// Input and output of an operation, kept for its backward pass.
struct Saved<S: Shape> {
    input: Tensor<S, f32, Cpu>,
    output: Tensor<S, f32, Cpu>,
}

impl<S: Shape> Saved<S> {
    fn input(&self) -> Vec<f32> {
        values(&self.input)
    }

    fn output(&self) -> Vec<f32> {
        values(&self.output)
    }
}

/// Row-major values of a contiguous tensor.
fn values<S: Shape>(tensor: &Tensor<S, f32, Cpu>) -> Vec<f32> {
    let mut values = vec![0.0; tensor.shape().num_elements()];
    Cpu::copy_into(tensor, &mut values);
    values
}

/// An operation that keeps the shape: `forward` fills a zeroed output, `backward` adds to the input's gradient.
fn fused<S: Shape, T: Recorder<Cpu>>(
    input: Tensor<S, f32, Cpu, T>,
    forward: impl FnOnce(&[f32], &mut [f32]),
    backward: impl FnOnce(&Saved<S>, &[f32], &mut [f32]) + 'static,
) -> Tensor<S, f32, Cpu, T> {
    let (input, mut tape) = input.contiguous().split_tape();
    let x = values(&input);
    let mut y = vec![0.0; x.len()];
    forward(&x, &mut y);
    let output = input.device().tensor_from_vec(y, *input.shape());
    let saved = Saved { input, output: output.clone() };
    tape.add_backward_op(move |gradients| {
        // Nothing reads the output's gradient after this, so it is taken rather than copied.
        let grad_output = std::mem::take(&mut **gradients.get_or_alloc_mut(&saved.output)?);
        let grad_input = gradients.get_or_alloc_mut(&saved.input)?;
        backward(&saved, &grad_output, grad_input);
        Ok(())
    });
    output.put_tape(tape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reference::composed;
    use crate::model::ModelConfig;

    type Traced = Matrix<Cpu, OwnedTape<f32, Cpu>>;

    fn noise(dev: &Cpu, rows: usize, columns: usize, seed: u32) -> Matrix<Cpu> {
        let value = |i: u32| ((i.wrapping_mul(2_654_435_761) ^ seed) % 2003) as f32 / 1001.5 - 1.0;
        dev.tensor_from_vec((0..(rows * columns) as u32).map(value).collect(), (rows, columns))
    }

    /// Values and input gradients of `sum(weights * f(x))` for the fused and the composed form.
    fn compare(x: &Matrix<Cpu>, fused: impl Fn(Traced) -> Traced, composed: impl Fn(Traced) -> Traced) {
        let run = |f: &dyn Fn(Traced) -> Traced| {
            let y = f(x.leaky_trace());
            let &(rows, columns) = y.shape();
            let weights = noise(x.device(), rows, columns, 77);
            let values = y.as_vec();
            (values, (y * weights).sum::<Rank0, Axes2<0, 1>>().backward().get(x).as_vec())
        };
        let ((y, dx), (expected_y, expected_dx)) = (run(&fused), run(&composed));
        assert_eq!((y.len(), dx.len()), (expected_y.len(), expected_dx.len()));
        for (found, expected) in y.iter().zip(&expected_y).chain(dx.iter().zip(&expected_dx)) {
            assert!((found - expected).abs() <= 2e-6 * (1.0 + expected.abs()), "{found} {expected}");
        }
    }

    #[test]
    fn rms_norm_is_the_composed_one() {
        compare(&noise(&Cpu::default(), 5, 24, 1), rms_norm, composed::rms_norm);
    }

    #[test]
    fn rope_is_the_composed_one() {
        // Two rows of 3 tokens, 2 heads of width 8, rotated whole and in part.
        let x = noise(&Cpu::default(), 6, 16, 2);
        let rows = HeadRows { seq_len: 3, width: 8 };
        for rope_dims in [0, 4] {
            let config = ModelConfig { model_dim: 16, num_heads: 2, rope_dims, ..Default::default() };
            let tables = Rc::new(RopeTables::new(&config, 3));
            compare(&x, |x| rope(x, &tables, rows), |x| composed::rope(x, &tables, rows));
        }
    }

    #[test]
    fn causal_softmax_is_the_composed_one() {
        // Two rows of 4 tokens, one kv head with a group of 2 queries.
        let x = noise(&Cpu::default(), 16, 4, 3);
        let scores = |x: Traced| x.reshape_like(&(2usize, 1usize, 8usize, 4usize));
        let rows = |y: Scores<Cpu, _>| y.reshape_like(&(16usize, 4usize));
        compare(&x, |x| rows(causal_softmax(scores(x), 0.5)), |x| rows(composed::causal_softmax(scores(x), 0.5)));
    }
}
