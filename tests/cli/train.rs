//! `train` on good and bad input.
