//! Reference numbers: loader batches.
