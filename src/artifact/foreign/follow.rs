//! Every pickle in a file, wherever it stands, followed without running it.
//!
//! A loader may take bytes for more than one thing: `pickle.load` begins at the first byte whatever the file is called,
//! `zlib.decompress` does not mind what else the bytes could be, `tarfile` skips to the next header. So every reading
//! that the first bytes allow is tried: as pickles in a row, as a zip, a tar, an array of objects, and in every
//! compression; and the same for what is inside, for bytes behind the end of a stream, and for each member.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use super::allowance::Allowance;
use super::error::ForeignError;
use super::meaning::{Loader, allowed, is_marked, meant, meant_by};
use super::npy;
use super::pickle::{self, Import, Node, Opcode, Pickle};
use super::wrapper::{MAX_LAYERS, Wrapper, by_magic, by_trial, expand};
use super::zip::{self, Fault, Zip};
use super::{identify, offset, tar, torch};

/// Most pickles in a row: files of the oldest PyTorch have five.
const MAX_PICKLES: usize = 1024;

/// Layers of compression, and an archive or two among them.
const MAX_DEPTH: usize = MAX_LAYERS + 2;
/// Bytes that members of a file may expand to before they turn out to be in no compression.
const MAX_TRIED_BYTES: u64 = 64 << 20;

/// What was met on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Met {
    /// Pickles that were followed to their end.
    pub pickles: usize,
    /// What they import, as `module.name`: all of it allowed.
    pub imports: BTreeSet<String>,
    /// Bytes of zip files that belong to no member.
    pub unclaimed: u64,
}

/// Follows all pickles of one file.
pub(super) struct Follower<'a> {
    path: &'a Path,
    allowance: &'a Allowance,
    /// What was met.
    pub met: Met,
    /// Bytes that were expanded in vain.
    tried: u64,
}

type Followed = Result<(), ForeignError>;

impl<'a> Follower<'a> {
    /// For a file at a path, which is for messages, and its allowance.
    pub fn new(path: &'a Path, allowance: &'a Allowance) -> Self {
        Follower { path, allowance, met: Met::default(), tried: 0 }
    }

    /// Follows everything in `bytes`, which stand at `place` in the file ("" for the file itself) behind so many layers
    /// of compression and archives. A compression that was taken off already is not taken off again.
    ///
    /// # Errors
    ///
    /// The first pickle that imports what tensors do not need, the first archive that two readers could take for two
    /// things, or too much: more layers or more bytes than are looked at. What cannot be opened otherwise is no error,
    /// since most of the readings are not meant.
    pub fn all(&mut self, bytes: &[u8], place: &str, layers: usize, taken_off: Option<Wrapper>) -> Followed {
        if bytes.len() < 2 {
            return Ok(());
        }
        self.pickles(bytes, place, layers, Loader::Python)?;
        self.archives(bytes, place, layers, taken_off)?;
        // What begins as nothing is read by its own script, which may skip as much of it as it likes.
        match identify(bytes) {
            None => match offset::weapon(bytes) {
                Ok(None) => Ok(()),
                Ok(Some(import)) => Err(self.refused(place, &import, 0)),
                Err(offset::TooMuch) => Err(ForeignError::TooLarge {
                    path: self.path.to_path_buf(),
                    within: None,
                    max: offset::MAX_TRIED_BYTES,
                }),
            },
            Some(_) => Ok(()),
        }
    }

    /// [`all`](Self::all) but pickles that begin at the first byte.
    fn archives(&mut self, bytes: &[u8], place: &str, layers: usize, taken_off: Option<Wrapper>) -> Followed {
        if bytes.starts_with(zip::MAGIC) && taken_off != Some(Wrapper::Zip) {
            self.zip(bytes, place, layers)?;
        } else if let Some(inner) =
            zip::bytes_before(bytes, 0).and_then(|before| bytes.get(usize::try_from(before).ok()?..))
            && inner.starts_with(zip::MAGIC)
        {
            self.behind(inner, place, layers)?;
        }
        if let Some(members) = tar::members(bytes).filter(|_| taken_off != Some(Wrapper::Tar)) {
            self.tar(bytes, members, place, layers)?;
        }
        if let Some(objects) = npy::objects(bytes) {
            self.pickles(objects, place, layers, Loader::Python)?;
        }
        let wrapper = match (by_magic(bytes), taken_off) {
            (None, None | Some(Wrapper::Tar)) => {
                let (wrapper, spent) = by_trial(bytes);
                // Streams that expand far before they turn out to be none would cost time without end.
                self.tried += spent;
                if self.tried > MAX_TRIED_BYTES {
                    let path = self.path.to_path_buf();
                    return Err(ForeignError::TooLarge { path, within: None, max: MAX_TRIED_BYTES });
                }
                wrapper
            }
            (wrapper, _) => wrapper,
        };
        match wrapper {
            Some(wrapper) if taken_off != Some(wrapper) => self.compressed(bytes, wrapper, place, layers),
            _ => Ok(()),
        }
    }

    fn deeper(&mut self, bytes: &[u8], place: &str, layers: usize, taken_off: Option<Wrapper>) -> Followed {
        if layers >= MAX_DEPTH {
            // Whatever is that deep, and is something, hides.
            let is_something = starts_as_pickle(bytes) || bytes.starts_with(zip::MAGIC) || by_magic(bytes).is_some();
            let deep = || ForeignError::TooDeep { path: self.path.to_path_buf(), max: MAX_DEPTH };
            return if is_something { Err(deep()) } else { Ok(()) };
        }
        self.all(bytes, place, layers + 1, taken_off)
    }

    fn compressed(&mut self, bytes: &[u8], wrapper: Wrapper, place: &str, layers: usize) -> Followed {
        let expanded = expand(bytes, wrapper, self.allowance.left());
        // Random bytes look like zlib at times and expand to a few bytes.
        if expanded.error.is_some() && expanded.content.is_empty() {
            return Ok(());
        }
        let _ = self.allowance.take(expanded.content.len());
        // What came before an error counts: a loader that reads as it goes has run it by then.
        let within = within(place, &wrapper.to_string());
        self.deeper(&expanded.content, &within, layers, None)?;
        if expanded.is_over {
            let max = self.allowance.max();
            return Err(ForeignError::TooLarge { path: self.path.to_path_buf(), within: Some(wrapper), max });
        }
        match bytes.get(expanded.used..) {
            Some(rest) if expanded.error.is_none() && !rest.is_empty() => self.deeper(rest, place, layers, None),
            _ => Ok(()),
        }
    }

    fn zip(&mut self, bytes: &[u8], place: &str, layers: usize) -> Followed {
        let zip = match Zip::open(bytes) {
            Ok(zip) => zip,
            // No reader opens it.
            Err(Fault::Damaged(_)) => return Ok(()),
            Err(other) => {
                let fault = self.fault(place, other);
                let import = self.loose(bytes, place, layers).err();
                return Err(together(fault, import));
            }
        };
        self.met.unclaimed += zip.unclaimed;
        // All members are looked at, so that an import is named beside what else is wrong.
        let (mut fault, mut import) = (None, None);
        let index = torch::index(&zip).unwrap_or_else(|other| {
            fault = Some(self.fault(place, other));
            None
        });
        let scripted = torch::scripted(&zip);
        for member in zip.members() {
            let content = match zip.content(member, self.allowance) {
                Ok(content) => content,
                Err(Fault::Ambiguous(what)) => {
                    fault = fault.or(Some(self.fault(place, Fault::Ambiguous(what))));
                    continue;
                }
                Err(other) => return Err(import.or(fault).unwrap_or(self.fault(place, other))),
            };
            // What `torch.load` reads is the file's own pickle.
            let is_index = index.as_ref() == Some(&member.name);
            let within = if is_index { place.to_string() } else { within(place, &member.name) };
            let followed = if scripted.contains(&member.name) && layers < MAX_DEPTH {
                self.pickles(&content, &within, layers + 1, Loader::Script)
                    .and_then(|()| self.archives(&content, &within, layers + 1, None))
            } else {
                self.deeper(&content, &within, layers, None)
            };
            match followed {
                Ok(()) => {}
                Err(refusal @ ForeignError::Import { .. }) => import = import.or(Some(refusal)),
                Err(other) => fault = fault.or(Some(other)),
            }
        }
        match (fault, import) {
            (Some(fault), import) => Err(together(fault, import)),
            (None, Some(import)) => Err(import),
            (None, None) => Ok(()),
        }
    }

    /// Members of a tar file. Those of a tar file in it are among them: their headers are aligned alike.
    fn tar(&mut self, bytes: &[u8], members: Vec<(String, Range<usize>)>, place: &str, layers: usize) -> Followed {
        let most = bytes.len().saturating_mul(MAX_DEPTH);
        let mut looked_at = 0usize;
        for (name, range) in members {
            // Only forged members overlap more often than archives nest; all of them would take forever.
            looked_at = looked_at.saturating_add(range.len());
            if looked_at > most {
                let (path, max) = (self.path.to_path_buf(), most as u64);
                return Err(ForeignError::TooLarge { path, within: Some(Wrapper::Tar), max });
            }
            let within = within(place, &name);
            self.deeper(bytes.get(range).unwrap_or(&[]), &within, layers, Some(Wrapper::Tar))?;
        }
        Ok(())
    }

    /// A zip file behind other bytes, which may be members of an archive or a compressed stream that stores them: only
    /// what it imports counts.
    fn behind(&mut self, bytes: &[u8], place: &str, layers: usize) -> Followed {
        let met = self.met.clone();
        let followed = self.zip(bytes, place, layers);
        self.met = met;
        match followed {
            Err(error @ (ForeignError::Import { .. } | ForeignError::Ambiguous { import: Some(_), .. })) => Err(error),
            _ => Ok(()),
        }
    }

    /// The members of an archive whose directory cannot be trusted, by their own headers.
    fn loose(&mut self, bytes: &[u8], place: &str, layers: usize) -> Followed {
        for (name, content) in zip::loose_members(bytes, self.allowance) {
            self.deeper(&content, &within(place, &name), layers, None)?;
        }
        Ok(())
    }

    fn fault(&self, place: &str, fault: Fault) -> ForeignError {
        let path = self.path.to_path_buf();
        match fault {
            Fault::Ambiguous(what) => ForeignError::Ambiguous { path, place: place.to_string(), what, import: None },
            Fault::Damaged(what) => ForeignError::Damaged { path, container: super::Container::TorchZip, what },
            Fault::TooLarge => ForeignError::TooLarge { path, within: None, max: self.allowance.max() },
        }
    }

    /// Pickles in a row from the first byte on.
    fn pickles(&mut self, bytes: &[u8], place: &str, layers: usize, loader: Loader) -> Followed {
        let mut at = 0;
        for _ in 0..MAX_PICKLES {
            let rest = bytes.get(at..).unwrap_or(&[]);
            // Only the first of a row may go without a mark: what follows may be anything.
            if rest.is_empty() {
                return Ok(());
            }
            let is_marked = is_marked(rest);
            match pickle::follow(rest) {
                Ok(pickle) => {
                    if let Some(import) = meant_by(&pickle, rest, loader) {
                        return Err(self.refused(place, import, at));
                    }
                    self.nested(&pickle, rest, place, layers)?;
                    self.met.pickles += usize::from(is_marked);
                    self.met.imports.extend(allowed(&pickle.imports, loader));
                    at += pickle.length;
                }
                Err(broken) => {
                    if let Some(import) = meant(&broken, rest, loader) {
                        return Err(self.refused(place, import, at));
                    }
                    self.met.imports.extend(allowed(&broken.imports, loader));
                    // Too many values to follow, or a program that goes on for too long: not looked at to its end.
                    if is_marked && broken.error.is_bound() {
                        let path = self.path.to_path_buf();
                        return Err(ForeignError::Pickle { path, source: broken.error });
                    }
                    return Ok(());
                }
            }
        }
        let path = self.path.to_path_buf();
        let what = format!("more than {MAX_PICKLES} pickles in a row");
        Err(ForeignError::Damaged { path, container: super::Container::Pickle, what })
    }

    /// A tensor that was pickled by itself is a file of the oldest PyTorch within a pickle.
    fn nested(&mut self, pickle: &Pickle, program: &[u8], place: &str, layers: usize) -> Followed {
        for action in pickle.actions.iter().filter(|action| action.opcode == Opcode::REDUCE) {
            let Some(callee) = action.target else { continue };
            if !pickle.is_global(callee, "torch.storage", "_load_from_bytes") {
                continue;
            }
            for node in &pickle.nodes {
                if let Node::Call { callee, arguments, .. } = node
                    && pickle.is_global(*callee, "torch.storage", "_load_from_bytes")
                    && let Some([inner, ..]) = pickle.elements(*arguments)
                    && let Some(bytes) = pickle.bytes(*inner, program)
                {
                    self.deeper(&bytes, &within(place, "_load_from_bytes"), layers, None)?;
                }
            }
            break;
        }
        Ok(())
    }

    fn refused(&self, place: &str, import: &Import, at: usize) -> ForeignError {
        ForeignError::import(self.path, place, import, at)
    }
}

/// Two things that are wrong with a file, as one: that it can be taken in two ways, and what a pickle in it imports.
fn together(fault: ForeignError, refusal: Option<ForeignError>) -> ForeignError {
    match (fault, refusal) {
        (ForeignError::Ambiguous { path, place, what, import: None }, Some(import @ ForeignError::Import { .. })) => {
            ForeignError::Ambiguous { path, place, what, import: Some(Box::new(import)) }
        }
        (fault @ ForeignError::Ambiguous { .. }, _) => fault,
        (_, Some(import)) => import,
        (fault, None) => fault,
    }
}

fn within(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_string() } else { format!("{place} > {name}") }
}

/// Whether bytes begin as a pickle does: with the mark of protocol 2 or later, or with a whole program of an earlier
/// one that makes something.
pub(super) fn starts_as_pickle(bytes: &[u8]) -> bool {
    if let [0x80, 1..=5, rest @ ..] = bytes {
        return rest.first().is_some_and(|&byte| Opcode::from_byte(byte).is_some());
    }
    match pickle::follow(bytes) {
        Ok(pickle) => match pickle.node(pickle.root) {
            Node::Dict(_) | Node::List(_) | Node::Tuple(_) | Node::Call { .. } => pickle.length > 3,
            Node::Global(..) => {
                pickle.length > 3 && (!is_text(bytes) || meant_by(&pickle, bytes, Loader::Python).is_some())
            }
            _ => false,
        },
        Err(broken) => meant(&broken, bytes, Loader::Python).is_some(),
    }
}

/// Whether bytes are plain text: UTF-8 without control characters other than those of terminals.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    is_text_start(bytes) && std::str::from_utf8(bytes).is_ok()
}

/// [`is_text`] of the first bytes of a file, where the last letter may be cut.
pub(super) fn is_text_start(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| *byte < 32 && !matches!(byte, 8..=13 | 27);
    let cut_only = |error: std::str::Utf8Error| error.error_len().is_none();
    !bytes.iter().any(is_control) && std::str::from_utf8(bytes).map_or_else(cut_only, |_| true)
}
