//! Squarified treemaps: rectangles of given areas that fill a rectangle and stay near squares.
//!
//! The algorithm is that of Bruls, Huizing and van Wijk, "Squarified treemaps" (2000).

/// A rectangle, in the picture's units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Rect {
    pub fn area(&self) -> f64 {
        self.width * self.height
    }

    /// Cuts a strip of an area off the shorter side; the rest is what the second one covers.
    fn cut(&self, area: f64) -> (Rect, Rect) {
        if self.width >= self.height {
            let width = if self.height > 0.0 { (area / self.height).min(self.width) } else { 0.0 };
            (Rect { width, ..*self }, Rect { x: self.x + width, width: self.width - width, ..*self })
        } else {
            let height = if self.width > 0.0 { (area / self.width).min(self.height) } else { 0.0 };
            (Rect { height, ..*self }, Rect { y: self.y + height, height: self.height - height, ..*self })
        }
    }
}

/// A rectangle for each weight, in their order, its area to that of `whole` as the weight to their sum.
pub(super) fn squarify(weights: &[u64], whole: Rect) -> Vec<Rect> {
    let mut rects = vec![Rect { x: whole.x, y: whole.y, ..Rect::default() }; weights.len()];
    let mut order: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] > 0).collect();
    // Largest first; equal ones in their order.
    order.sort_by_key(|&i| std::cmp::Reverse(weights[i]));
    let total: u64 = weights.iter().sum();
    let area = |i: usize| weights[i] as f64 / total as f64 * whole.area();
    let (mut left, mut rest) = (whole, order.as_slice());
    while !rest.is_empty() {
        let side = left.width.min(left.height);
        // Grow the strip while its worst rectangle gets no thinner.
        let (mut sum, mut best, mut length) = (0.0, f64::INFINITY, 0);
        while let Some(&next) = rest.get(length) {
            let grown = sum + area(next);
            let ratio = worst(area(rest[0]), area(next), grown, side);
            if ratio > best {
                break;
            }
            (sum, best, length) = (grown, ratio, length + 1);
        }
        // Numbers that compare with nothing (sides of no length) still make progress.
        let (strip, after) = rest.split_at(length.max(1));
        let (mut lane, remainder) = left.cut(sum);
        // Along the strip, from one end to the other.
        let is_upright = left.width >= left.height;
        for &i in strip {
            let (width, height) = match (is_upright, sum > 0.0) {
                (_, false) => (0.0, 0.0),
                (true, true) => (lane.width, left.height * area(i) / sum),
                (false, true) => (left.width * area(i) / sum, lane.height),
            };
            rects[i] = Rect { x: lane.x, y: lane.y, width, height };
            if is_upright { lane.y += height } else { lane.x += width }
        }
        (left, rest) = (remainder, after);
    }
    rects
}

/// The worst side ratio in a strip along `side` with areas between `least` and `most` that add up to `sum`.
fn worst(most: f64, least: f64, sum: f64, side: f64) -> f64 {
    let square = side * side;
    (square * most / (sum * sum)).max(sum * sum / (square * least))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Rect = Rect { x: 10.0, y: 20.0, width: 600.0, height: 400.0 };

    #[test]
    fn the_example_of_the_paper() {
        // Areas 6, 6, 4, 3, 2, 2, 1 in 6 x 4: two of 3 x 2 on top of each other, then 12/7 wide ones.
        let rects = squarify(&[6, 6, 4, 3, 2, 2, 1], Rect { x: 0.0, y: 0.0, width: 6.0, height: 4.0 });
        assert_eq!(rects[0], Rect { x: 0.0, y: 0.0, width: 3.0, height: 2.0 });
        assert_eq!(rects[1], Rect { x: 0.0, y: 2.0, width: 3.0, height: 2.0 });
        assert!((rects[2].width - 12.0 / 7.0).abs() < 1e-12 && (rects[2].height - 7.0 / 3.0).abs() < 1e-12);
        assert!((rects[3].width - 9.0 / 7.0).abs() < 1e-12 && rects[3].y == 0.0);
    }

    proptest::proptest! {
        #[test]
        fn areas_are_in_proportion_and_nothing_overlaps(
            weights in proptest::collection::vec(proptest::prop_oneof![0u64..5, 0u64..1 << 24], 0..60),
        ) {
            let rects = squarify(&weights, WHOLE);
            let total: u64 = weights.iter().sum();
            proptest::prop_assert_eq!(rects.len(), weights.len());
            for (rect, &weight) in rects.iter().zip(&weights) {
                let wanted = weight as f64 / total.max(1) as f64 * WHOLE.area();
                proptest::prop_assert!((rect.area() - wanted).abs() < 1e-6, "{rect:?} for {wanted}");
                proptest::prop_assert!(rect.x >= WHOLE.x - 1e-9 && rect.x + rect.width <= WHOLE.x + WHOLE.width + 1e-6);
                proptest::prop_assert!(rect.y >= WHOLE.y - 1e-9 && rect.y + rect.height <= WHOLE.y + WHOLE.height + 1e-6);
            }
            for (i, a) in rects.iter().enumerate() {
                for b in &rects[i + 1..] {
                    let overlap = |a0: f64, al: f64, b0: f64, bl: f64| (a0 + al).min(b0 + bl) - a0.max(b0);
                    let across = overlap(a.x, a.width, b.x, b.width);
                    let down = overlap(a.y, a.height, b.y, b.height);
                    proptest::prop_assert!(across < 1e-6 || down < 1e-6, "{a:?} {b:?}");
                }
            }
        }
    }
}
