//! Reference numbers: integers, scales and decoded values.
