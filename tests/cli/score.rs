//! `score` on good and bad input.
