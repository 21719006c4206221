//! Bars: bytes against the budget, seconds against a cap.

use crate::report::Profile;
use crate::units::{Bytes, group_digits};

/// Width of pictures, in their own units.
const WIDTH: f64 = 1000.0;
/// The part of a bar that the cap takes where nothing is over it: room to the right shows that it is a cap.
const CAP_AT: f64 = 0.94;

/// Bytes that count, against the budget. Places are in thousandths of the width, as text for SVG.
pub(super) struct BudgetBar {
    pub code: String,
    pub model_at: String,
    pub model: String,
    pub excess_at: String,
    pub excess: String,
    pub cap_at: String,
    pub code_words: Option<String>,
    pub model_words: String,
    pub has_code: bool,
    pub total_words: String,
    pub cap_words: String,
    pub left_words: String,
    pub is_over: bool,
    pub basis: String,
}

impl BudgetBar {
    pub fn of(profile: &Profile) -> Option<Self> {
        let size = profile.size.as_ref()?;
        let (total, cap) = (size.total, profile.caps.bytes);
        let full = (cap as f64 / CAP_AT).max(total as f64 * 1.02).max(1.0);
        let at = |bytes: u64| bytes as f64 / full * WIDTH;
        let code = size.code.unwrap_or(0).min(total);
        let inside = total.min(cap);
        let place = |value: f64| format!("{value:.2}");
        let left = i128::from(cap) - i128::from(total);
        let is_over = left < 0;
        Some(BudgetBar {
            code: place(at(code.min(inside))),
            model_at: place(at(code.min(inside))),
            model: place(at(inside) - at(code.min(inside))),
            excess_at: place(at(inside)),
            excess: place(at(total) - at(inside)),
            cap_at: place(at(cap)),
            code_words: size.code.map(|code| Bytes(code).to_string()),
            model_words: Bytes(total - code).to_string(),
            has_code: size.code.is_some(),
            total_words: Bytes(total).to_string(),
            cap_words: Bytes(cap).to_string(),
            left_words: group_digits(left.abs()),
            is_over,
            basis: size.basis.clone(),
        })
    }
}

/// Seconds against a cap.
pub(super) struct TimeBar {
    pub seconds: String,
    pub inside: String,
    pub beyond: String,
    pub cap_at: Option<String>,
    pub is_over: bool,
}

impl TimeBar {
    pub fn new(seconds: f64, cap: Option<f64>) -> Self {
        let full = cap.map_or(seconds, |cap| (cap / CAP_AT).max(seconds * 1.02)).max(1.0);
        let at = |value: f64| value / full * WIDTH;
        let inside = cap.map_or(seconds, |cap| seconds.min(cap));
        TimeBar {
            seconds: format!("{seconds:.1}"),
            inside: format!("{:.2}", at(inside)),
            beyond: format!("{:.2}", at(seconds) - at(inside)),
            cap_at: cap.map(|cap| format!("{:.2}", at(cap))),
            is_over: cap.is_some_and(|cap| seconds > cap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_ends_at_its_value_and_shows_what_is_beyond_the_cap() {
        let width = |text: &str| text.parse::<f64>().unwrap();
        let bar = TimeBar::new(300.0, Some(600.0));
        assert!(!bar.is_over && width(&bar.beyond) == 0.0);
        assert!((width(&bar.inside) * 2.0 - width(bar.cap_at.as_deref().unwrap())).abs() < 0.02);
        let bar = TimeBar::new(1200.0, Some(600.0));
        assert!(bar.is_over && (width(&bar.inside) - width(&bar.beyond)).abs() < 0.02);
        assert!(width(&bar.inside) + width(&bar.beyond) <= WIDTH);
        assert!(TimeBar::new(0.0, None).cap_at.is_none());
    }
}
