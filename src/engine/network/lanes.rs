//! The end of two lanes.

use super::forward::Forward;
use super::parameters::Network;
use super::traits::Kernels;

/// Gradients of the streams that a visit writes to.
pub(super) struct StreamGrad<B> {
    /// Of the only one, or of attention's lane.
    pub x: B,
    /// Of the MLP's lane.
    pub lane: Option<B>,
}

impl<K: Kernels> Forward<'_, K> {
    /// The lanes as one stream; the first one in a network that has no weight for that.
    pub(super) fn merge(&self, lanes: [&K::Buffer; 2]) -> K::Buffer {
        match &self.network.lane_merge {
            Some(m) => self.k.merge_lanes(lanes, m),
            None => self.k.copy(lanes[0]),
        }
    }

    /// The gradients of the streams before the last norm, given that of what it has read.
    pub(super) fn merge_grad(
        &self,
        lanes: Option<&[K::Buffer; 2]>,
        grad: K::Buffer,
        grads: &mut Network<K::Buffer>,
    ) -> StreamGrad<K::Buffer> {
        let merge = (lanes, &self.network.lane_merge, &mut grads.lane_merge);
        let (Some([first, second]), Some(m), Some(grad_m)) = merge else { return StreamGrad { x: grad, lane: None } };
        let width = self.config.model_dim;
        let [x, lane] = self.k.merge_lanes_grad([first, second], m, width, &grad, grad_m);
        StreamGrad { x, lane: Some(lane) }
    }
}
