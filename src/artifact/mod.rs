//! From checkpoint to the bytes that count, and back.

mod class;

pub use class::TensorClass;
