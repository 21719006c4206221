//! Reference numbers: windows and bits per byte.
