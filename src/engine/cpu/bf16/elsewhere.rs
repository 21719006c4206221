//! Machines without AMX, or without a system that saves its registers.

use super::tiles::{Block, Tile};

/// Tile registers, of which there are none.
pub(super) enum Tiles {}

impl Tiles {
    pub fn configure() -> Option<Self> {
        None
    }

    pub fn block(&self, _: [&[Tile]; 2], _: [&[Tile]; 2], _: &mut Block) {
        match *self {}
    }
}
