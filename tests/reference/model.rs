//! Reference numbers: forward, gradients, probes.
