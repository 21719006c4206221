//! `pack` on good and bad input.
