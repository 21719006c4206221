//! A file opened: layers off, every pickle followed, tensors as the file has them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use super::allowance::Allowance;
use super::convention::{Entry, of_tensors, of_tree};
use super::follow::{Follower, Met, is_text};
use super::pickle;
use super::rebuild::{Tree, tensors};
use super::torch::TorchFault;
use super::wrapper::{Peeled, peel, unread_format};
use super::zip::{Extent, Fault, Member, Zip, holds_arrays};
use super::{
    Behind, Container, Convention, ForeignError, RawTensor, Wrapper, identify, legacy, npy, npz, safetensors, several,
    tar, torch,
};
use crate::artifact::Artifact;

/// How much of a file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::artifact) enum Detail {
    /// Names, types and shapes; tensors hold no bytes.
    Sizes,
    /// The bytes of tensors, too.
    Values,
}

/// What a container holds.
pub(in crate::artifact) enum Body {
    /// This crate's own artifact.
    Golf(Artifact),
    /// A pickle and its tensors.
    Tree(Box<Tree>),
    /// Tensors by name.
    Tensors(Vec<(String, RawTensor)>),
}

impl Body {
    /// The tensors of the model, by the convention that the file keeps to, of at most `max` bytes together: names may share
    /// a tensor, and whoever decodes them gives each values of its own.
    pub fn entries(&self, max: u64) -> Result<(Convention, Vec<Entry<'_>>), String> {
        let (convention, entries) = match self {
            Body::Golf(_) => (Convention::Golf, Vec::new()),
            Body::Tree(tree) => of_tree(tree)?,
            Body::Tensors(tensors) => of_tensors(tensors)?,
        };
        let bytes = entries.iter().map(|entry| entry.values().bytes.len() as u64).fold(0, u64::saturating_add);
        if bytes > max {
            return Err(format!("{} tensors of {bytes} bytes together; at most {max} are read", entries.len()));
        }
        Ok((convention, entries))
    }
}

/// An opened file.
pub(in crate::artifact) struct OpenFile<'a> {
    /// Compression around the container, outermost first.
    pub wrappers: Vec<Wrapper>,
    /// The container.
    pub container: Container,
    /// Its bytes.
    pub inner: Cow<'a, [u8]>,
    /// What it holds.
    pub body: Body,
    /// Pickles in the file.
    pub pickles: usize,
    /// What they import, as `module.name`.
    pub imports: BTreeSet<String>,
    /// What stands behind the end of the layers of compression, outermost first.
    pub behind: Vec<Behind>,
    /// Bytes that belong to no tensor and to no part of the format, in words.
    pub unclaimed: Vec<String>,
}

impl OpenFile<'_> {
    /// Where the named parts of the container lie, in its order: members of a zip file, storages of an older torch file.
    pub fn extents(&self) -> Vec<Extent> {
        match self.container {
            Container::TorchZip | Container::Npz => Zip::open(&self.inner).map_or(Vec::new(), |zip| zip.extents()),
            Container::TorchLegacy => {
                let storages = legacy::extents(&self.inner).unwrap_or_default();
                let extent = |(name, range)| Extent { name, range, is_compressed: false };
                let mut extents: Vec<Extent> = storages.into_iter().map(extent).collect();
                extents.sort_by_key(|extent| extent.range.start);
                extents
            }
            _ => Vec::new(),
        }
    }
}

/// Opens bytes in memory; `path` is for messages. The layers may expand to `max` bytes together, and the members of a
/// zip file to as many again.
pub(in crate::artifact) fn open_within<'a>(
    bytes: &'a [u8],
    path: &Path,
    max: u64,
    detail: Detail,
) -> Result<OpenFile<'a>, ForeignError> {
    let allowance = Allowance::new(max);
    let mut follower = Follower::new(path, &allowance);
    let Peeled { wrappers, inner, behind } = match peel(bytes, path, &allowance) {
        Ok(peeled) => peeled,
        // Whatever stops this reader, a loader may get as far as a pickle.
        Err(error) => {
            Follower::new(path, &Allowance::new(max)).all(bytes, "", 0, None)?;
            // Two letters of text may pass for the start of zlib.
            return Err(if is_text(bytes) { unknown(bytes, path) } else { error });
        }
    };
    if let Some(outermost) = wrappers.first() {
        // The file may be taken for something else than what it was taken for here.
        follower.all(bytes, "", 0, Some(*outermost))?;
    }
    for (_, rest) in &behind {
        follower.all(rest, "behind its end", wrappers.len(), None)?;
    }
    follower.all(&inner, "", wrappers.len(), None)?;
    let Met { pickles, imports, unclaimed: loose } = follower.met;
    let mut unclaimed: Vec<String> = behind
        .iter()
        .map(|(behind, _)| format!("{} bytes behind the end of the {} stream", behind.bytes, behind.wrapper))
        .collect();
    if loose > 0 {
        unclaimed.push(format!("{loose} bytes of the zip file belong to no member"));
    }
    let Contained { container, body, behind: rest } = contained(&inner, path, max, detail)?;
    if rest > 0 {
        unclaimed.push(format!("{rest} bytes behind the end of the {container}"));
    }
    let behind = behind.into_iter().map(|(behind, _)| behind).collect();
    Ok(OpenFile { wrappers, container, inner, body, pickles, imports, behind, unclaimed })
}

/// What unwrapped bytes hold, and how many bytes stand behind it.
struct Contained {
    container: Container,
    body: Body,
    behind: u64,
}

fn contained(inner: &[u8], path: &Path, max: u64, detail: Detail) -> Result<Contained, ForeignError> {
    let container = identify(inner).ok_or_else(|| unknown(inner, path))?;
    let damaged = |container| move |what: String| ForeignError::Damaged { path: path.to_path_buf(), container, what };
    let tree = |tree: Tree| Body::Tree(Box::new(tree));
    let pickled = |program: &[u8]| -> Result<(Tree, u64), ForeignError> {
        let broken = |source| ForeignError::Pickle { path: path.to_path_buf(), source };
        let pickle = pickle::interpret(program).map_err(broken)?;
        // Without a pickle's mark, odd names passed for noise before it was known to be the file itself.
        if let Some(import) = pickle.first_refused() {
            return Err(ForeignError::import(path, "", import, 0));
        }
        let none = &mut |key: &str, _| Err(format!("storage {key} is not in it"));
        let tensors = tensors(&pickle, program, detail, max, false, none).map_err(damaged(container))?;
        let behind = program.len().saturating_sub(pickle.length) as u64;
        Ok((Tree { pickle, tensors }, behind))
    };
    let whole = |container, body| Ok(Contained { container, body, behind: 0 });
    match container {
        Container::Golf => {
            let artifact = crate::artifact::parse(inner).map_err(|e| damaged(container)(e.to_string()))?;
            whole(container, Body::Golf(artifact))
        }
        Container::TorchZip | Container::Npz => zipped(inner, path, max, detail),
        Container::Safetensors => {
            let tensors = safetensors::read(inner, detail).map_err(damaged(container))?;
            whole(container, Body::Tensors(tensors))
        }
        Container::Npy => match npy::objects(inner) {
            Some(program) => {
                let (found, behind) = pickled(program)?;
                Ok(Contained { container, body: tree(found), behind })
            }
            None => {
                let mut tensor = npy::parse(inner).map_err(damaged(container))?;
                if detail == Detail::Sizes {
                    tensor.bytes = Vec::new();
                }
                let stem = path.file_stem().map_or("array".into(), |stem| stem.to_string_lossy().into_owned());
                whole(container, Body::Tensors(vec![(stem, tensor)]))
            }
        },
        Container::TorchLegacy => match legacy::read(inner, detail, max) {
            Ok((found, behind)) => Ok(Contained { container, body: tree(found), behind }),
            Err(legacy::Fault::Damaged(what)) => Err(damaged(container)(what)),
            Err(legacy::Fault::Pickle(source)) => Err(ForeignError::Pickle { path: path.to_path_buf(), source }),
        },
        Container::Pickle => {
            let (found, behind) = pickled(inner)?;
            Ok(Contained { container, body: tree(found), behind })
        }
        Container::Archive => {
            let members = tar::members(inner).unwrap_or_default().into_iter();
            let content = |range: std::ops::Range<usize>| Cow::Borrowed(inner.get(range).unwrap_or(&[]));
            Err(several::error(members.map(|(name, range)| (name, content(range))), path, max))
        }
    }
}

/// A zip file: arrays, what `torch.save` wrote, or something else.
fn zipped(inner: &[u8], path: &Path, max: u64, detail: Detail) -> Result<Contained, ForeignError> {
    let fault = |container| {
        move |fault: Fault| match fault {
            Fault::Ambiguous(what) => {
                ForeignError::Ambiguous { path: path.to_path_buf(), place: String::new(), what, import: None }
            }
            Fault::Damaged(what) => ForeignError::Damaged { path: path.to_path_buf(), container, what },
            Fault::TooLarge => ForeignError::TooLarge { path: path.to_path_buf(), within: None, max },
        }
    };
    let zip = Zip::open(inner).map_err(fault(Container::TorchZip))?;
    let has_index = torch::index(&zip).map_err(fault(Container::TorchZip))?.is_some();
    if !has_index && holds_arrays(&zip) {
        let tensors = npz::read(&zip, detail, max).map_err(fault(Container::Npz))?;
        return Ok(Contained { container: Container::Npz, body: Body::Tensors(tensors), behind: 0 });
    }
    if !has_index {
        let allowance = Allowance::new(max);
        let content = |member: &Member| Some((member.name.clone(), zip.content(member, &allowance).ok()?));
        return Err(several::error(zip.members().iter().filter_map(content), path, max));
    }
    match torch::read(&zip, detail, max) {
        Ok(tree) => Ok(Contained { container: Container::TorchZip, body: Body::Tree(Box::new(tree)), behind: 0 }),
        Err(TorchFault::Pickle(source)) => Err(ForeignError::Pickle { path: path.to_path_buf(), source }),
        Err(TorchFault::Zip(other)) => Err(fault(Container::TorchZip)(other)),
    }
}

fn unknown(inner: &[u8], path: &Path) -> ForeignError {
    let path = path.to_path_buf();
    match unread_format(inner) {
        Some(format) => ForeignError::Unread { path, format },
        None => {
            let start = inner.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            ForeignError::Unknown { path, start, is_text: is_text(inner) }
        }
    }
}
