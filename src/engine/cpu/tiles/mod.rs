//! Single-precision products on the tile unit (AMX) of newer x86 servers.
//!
//! The unit multiplies bfloat16 and adds in single precision, several times faster than vectors do. A single-precision
//! value of 24 bits is, exactly, a sum of three bfloat16 values of 8 bits each ([`pack`]): `x = h + m + l`. Of the nine
//! products of two such sums the six largest are made (`hh, hm, mh, mm, hl, lh`); the other three are at most 2^-24 of
//! the whole, what single precision rounds off anyway. So the result is as exact as that of single-precision
//! instructions (`as_exact_as_single_precision`), at about twice their speed.

mod attention;
mod pack;
mod product;
mod unit;

pub(super) use attention::{attention, attention_grad};
pub(super) use product::{pays, product};
pub(super) use unit::available;
