//! Settings that rest at their default are left out of what is written.

/// Whether a setting rests at its default.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
