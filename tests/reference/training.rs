//! Reference numbers: short training runs.
