//! `reproduce` on good and bad input.
