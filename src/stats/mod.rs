//! Seed sweeps and the significance of a record claim.
