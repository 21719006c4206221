//! Reference numbers: the byte table.
