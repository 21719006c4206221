//! The rulebook: one check a function.
