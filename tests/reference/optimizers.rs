//! Reference numbers: Muon, AdamW, schedules.
