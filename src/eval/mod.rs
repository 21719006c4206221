//! Windows, negative log-likelihoods, bits per byte.
