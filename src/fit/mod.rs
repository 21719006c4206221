//! `pack --fit`: the classes that fit a budget with the least damage, found by measuring.
//!
//! Damage is the increase of the loss on a sample of *training* tokens ([`Calibration`](crate::data::Calibration)). From the highest precision
//! (every matrix in f16) each [`Group`] of tensors is lowered to each class alone; what that costs in loss and saves in
//! compressed bytes gives a path of single steps in the order of damage per byte ([`search`]). Every setting on the path
//! is packed for its real size, and the least predicted damage that really fits is chosen. Losses at points of the path
//! are measured again with all tensors lowered together ([`Curve`]): the damages of single steps do not quite add up.

mod candidates;
mod curve;
mod document;
mod groups;
mod job;
mod meter;
mod picture;
pub mod search;
mod way;

pub use curve::{Curve, CurvePoint, Prediction, summary, text};
pub use document::{Fitting, document};
pub use groups::{Group, Grouping};
pub use job::{FitError, FitJob, Fitted};
pub use picture::svg;
pub use way::Way;
