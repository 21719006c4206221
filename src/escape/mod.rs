//! Strangers' text made safe to hand on: one module for what every format needs, and one for each format with more.

pub(crate) mod cell;
pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod sarif;
mod visible;
pub(crate) mod workflow;
pub(crate) mod xml;

pub use visible::visible;
pub(crate) use visible::{is_shown, push_visible};
