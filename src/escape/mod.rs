//! Strangers' text made safe to print: control characters for people, markup for XML.

mod visible;
pub(crate) mod xml;

pub(crate) use visible::push_visible;
pub use visible::visible;
