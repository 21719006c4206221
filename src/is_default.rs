//! Settings that rest at their default are left out of what is written.

/// Whether a setting rests at its default.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whether a factor whose default is 1 rests there.
pub(crate) fn is_one(value: &f64) -> bool {
    *value == 1.0
}
