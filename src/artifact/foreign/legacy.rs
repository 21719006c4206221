//! `torch.save` before 1.6, and with `_use_new_zipfile_serialization=False`: five pickles in a row (magic number,
//! version, facts about the system, the object, the keys of storages), then each storage: its number of elements in
//! eight bytes, and their bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::pickle::{self, Node, Pickle, PickleError};
use super::rebuild::{Storage, Tree, persistent, tensors};
use super::{Detail, Dtype};

/// PyTorch's `MAGIC_NUMBER`, as LONG1 writes it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Whether bytes start as such a file does.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    let start = bytes.get(..64).unwrap_or(bytes);
    matches!(start, [0x80, _, 0x8a, 10, number @ ..] if number.starts_with(&MAGIC))
}

/// Why such a file is not read.
pub(super) enum Fault {
    Pickle(PickleError),
    Damaged(String),
}

impl From<PickleError> for Fault {
    fn from(error: PickleError) -> Self {
        Fault::Pickle(error)
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Fault::Damaged(what)
    }
}

/// The object's pickle, its program, and where the storages lie; then the offset of the first byte behind them.
struct File<'a> {
    pickle: Pickle,
    program: &'a [u8],
    storages: BTreeMap<String, Range<usize>>,
    end: usize,
}

fn open(bytes: &[u8]) -> Result<File<'_>, Fault> {
    let mut at = 0;
    let mut next = || -> Result<(Pickle, &[u8]), Fault> {
        let program = bytes.get(at..).unwrap_or(&[]);
        let pickle = pickle::interpret(program)?;
        at += pickle.length;
        Ok((pickle, program))
    };
    let (_magic, _) = next()?;
    let (version, _) = next()?;
    if version.count(version.root) != Some(1001) {
        return Err(Fault::Damaged("not protocol 1001 of PyTorch".into()));
    }
    let (system, _) = next()?;
    if system.get(system.root, "little_endian").is_some_and(|id| *system.node(id) == Node::Bool(false)) {
        return Err(Fault::Damaged("its byte order is not little-endian".into()));
    }
    let (pickle, program) = next()?;
    let (keys, _) = next()?;
    let mut widths = BTreeMap::new();
    for node in &pickle.nodes {
        if let Node::Persistent(id) = node
            && let Some((key, dtype, _)) = persistent(&pickle, *id)
        {
            // Untyped storages count bytes.
            widths.insert(key, dtype.map_or(1, Dtype::size));
        }
    }
    let mut storages = BTreeMap::new();
    for &key in keys.elements(keys.root).ok_or_else(|| "no list of storages".to_string())? {
        let key = match keys.node(key) {
            Node::Int(key) => key.to_string(),
            _ => keys.text(key).ok_or_else(|| "a storage without a name".to_string())?.to_string(),
        };
        let width = *widths.get(&key).ok_or_else(|| format!("storage {key} of no known type"))?;
        let short = || format!("storage {key} is cut short");
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(short)?;
        let length = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(width));
        let start = at + size_of::<u64>();
        let end = length.and_then(|length| start.checked_add(length)).filter(|&end| end <= bytes.len());
        at = end.ok_or_else(short)?;
        storages.insert(key, start..at);
    }
    Ok(File { pickle, program, storages, end: at })
}

/// The object with its tensors, and the number of bytes behind the last storage.
pub(super) fn read(bytes: &[u8], detail: Detail, max: u64) -> Result<(Tree, u64), Fault> {
    let File { pickle, program, storages, end } = open(bytes)?;
    let tensors = tensors(&pickle, program, detail, max, false, &mut |key, _| {
        let range = storages.get(key).cloned().ok_or_else(|| format!("no storage {key}"))?;
        Ok(Storage { bytes: Cow::Borrowed(bytes.get(range).unwrap_or(&[])), member: Some(format!("data/{key}")) })
    })?;
    Ok((Tree { pickle, tensors }, (bytes.len() - end) as u64))
}

/// Where each storage lies.
pub(super) fn extents(bytes: &[u8]) -> Option<Vec<(String, Range<usize>)>> {
    let storages = open(bytes).ok()?.storages;
    Some(storages.into_iter().map(|(key, range)| (format!("data/{key}"), range)).collect())
}

/// The one storage of a file that holds nothing else, as a tensor pickled by itself does: element type and place.
pub(super) fn only_storage(bytes: &[u8]) -> Result<(Dtype, Range<usize>), Fault> {
    if !is_legacy(bytes) {
        return Err(Fault::Damaged("no file of PyTorch".into()));
    }
    let File { pickle, storages, .. } = open(bytes)?;
    let none = || Fault::Damaged("no storage".into());
    let Node::Persistent(id) = pickle.node(pickle.root) else { return Err(none()) };
    let (key, dtype, _) = persistent(&pickle, *id).ok_or_else(none)?;
    Ok((dtype.ok_or_else(none)?, storages.get(&key).cloned().ok_or_else(none)?))
}
