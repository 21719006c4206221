//! Claimed against rerun.
