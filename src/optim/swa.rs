//! Stochastic weight averaging (Izmailov et al. 2018): the mean of snapshots taken late in training.

use crate::model::Params;

/// The running sum of snapshots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SwaSum {
    sum: Option<Params>,
    count: u64,
}

impl SwaSum {
    /// A sum read back from a training state; `None` with a count of 0.
    pub fn from_parts(sum: Option<Params>, count: u64) -> Self {
        SwaSum { sum, count }
    }

    /// The sum, once there is a snapshot.
    pub fn sum(&self) -> Option<&Params> {
        self.sum.as_ref()
    }

    /// The sum, for getting it from another rank.
    pub(crate) fn sum_mut(&mut self) -> Option<&mut Params> {
        self.sum.as_mut()
    }

    /// Snapshots added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds a snapshot. Tensors are in the same order in all of them.
    pub fn add(&mut self, weights: &Params) {
        match &mut self.sum {
            None => self.sum = Some(weights.clone()),
            Some(sum) => sum.add_assign(weights),
        }
        self.count += 1;
    }

    /// The mean in single precision, or `None` with fewer than two snapshots: then the last weights stand.
    pub fn average(&self) -> Option<Params> {
        if self.count < 2 {
            return None;
        }
        let mut mean = self.sum.clone()?;
        let count = self.count as f32;
        mean.iter_mut().for_each(|(_, tensor)| tensor.data_mut().iter_mut().for_each(|value| *value /= count));
        Some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostTensor;

    #[test]
    fn one_snapshot_is_no_average() {
        let weights = |value| Params::from_entries(vec![("w".into(), HostTensor::full(&[2], value))]);
        let mut swa = SwaSum::default();
        assert_eq!(swa.average(), None);
        swa.add(&weights(1.0));
        assert_eq!(swa.average(), None);
        swa.add(&weights(2.0));
        swa.add(&weights(6.0));
        assert_eq!(swa.average(), Some(weights(3.0)));
    }
}
