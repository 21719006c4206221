//! `verify` on good and bad input.
