//! What a reader is about to do, told to whoever watches: if it never comes back, that is where it stopped.

use std::fmt;
use std::sync::Arc;

/// A step of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The file at this path is read next.
    Reading(&'a str),
    /// The file at this path is handed next to decompressors that are not memory-safe by their language.
    Opening(&'a str),
    /// Everything is read; the rules are next.
    Checking,
}

/// Told each step before it is made.
type Listener = dyn Fn(Step) + Send + Sync;

/// Where steps are told, or nowhere. Clones tell the same listener.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<Listener>>);

impl Steps {
    /// Told nowhere.
    pub fn untold() -> Self {
        Steps(None)
    }

    /// Told to a listener, before each step.
    pub fn to(listener: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Steps(Some(Arc::new(listener)))
    }

    /// Tells a step.
    pub fn tell(&self, step: Step) {
        if let Some(listener) = &self.0 {
            listener(step);
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Steps(told)" } else { "Steps(untold)" })
    }
}
