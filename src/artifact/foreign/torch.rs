//! `torch.save`'s zip: a pickle that describes tensors, and one file of bytes per storage.

use super::Detail;
use super::allowance::Allowance;
use super::pickle::{self, PickleError};
use super::rebuild::{Storage, Tree, tensors};
use super::zip::{Fault, Zip};

/// Why a torch zip is not read.
pub(super) enum TorchFault {
    Pickle(PickleError),
    Zip(Fault),
}

impl From<Fault> for TorchFault {
    fn from(fault: Fault) -> Self {
        TorchFault::Zip(fault)
    }
}

impl From<String> for TorchFault {
    fn from(what: String) -> Self {
        TorchFault::Zip(Fault::Damaged(what))
    }
}

/// Reads the pickle and all tensors of a torch zip.
pub(super) fn read(zip: &Zip<'_>, detail: Detail, max: u64) -> Result<Tree, TorchFault> {
    let allowance = Allowance::new(max);
    let index = index(zip)?.ok_or_else(|| "no data.pkl in it: not written by torch.save".to_string())?;
    let root = index.strip_suffix(INDEX).unwrap_or("").to_string();
    let member = |name: &str| zip.find(name).ok_or_else(|| Fault::Damaged(format!("no member `{name}`")));
    let is_swapped = match zip.find(&format!("{root}byteorder")) {
        None => false,
        Some(order) => match &*zip.content(order, &allowance)? {
            b"little" => false,
            b"big" => true,
            _ => return Err("its byte order is neither little nor big".to_string().into()),
        },
    };
    let program = zip.content(member(&index)?, &allowance)?;
    let pickle = pickle::interpret(&program).map_err(TorchFault::Pickle)?;
    let mut fault = None;
    let tensors = tensors(&pickle, &program, detail, max, is_swapped, &mut |key, _| {
        let name = format!("{root}data/{key}");
        let content = member(&name).and_then(|member| zip.content(member, &allowance));
        match content {
            Ok(bytes) => Ok(Storage { bytes, member: Some(name) }),
            Err(other) => {
                let what = other.to_string();
                fault = Some(other);
                Err(what)
            }
        }
    });
    match (tensors, fault) {
        (_, Some(fault)) => Err(TorchFault::Zip(fault)),
        (Err(what), None) => Err(what.into()),
        (Ok(tensors), None) => Ok(Tree { pickle, tensors }),
    }
}

const INDEX: &str = "data.pkl";

/// The member that PyTorch takes for the description of the tensors: the one called `data.pkl` in the folder of the
/// first member (`PyTorchStreamReader`, which ignores case; names that differ in case only were refused before).
///
/// Files without a folder, which PyTorch does not open, may have one.
pub(super) fn index(zip: &Zip<'_>) -> Result<Option<String>, Fault> {
    let names = || zip.members().iter().map(|member| &*member.name);
    let root = names().next().and_then(|first| first.split_once('/')).map(|(root, _)| root);
    if let Some(root) = root {
        let wanted = format!("{root}/{INDEX}");
        if let Some(found) = names().find(|name| name.eq_ignore_ascii_case(&wanted)) {
            return Ok(Some(found.to_string()));
        }
    }
    let mut others = names().filter(|name| is_index(name));
    match (others.next(), others.next()) {
        (Some(first), Some(second)) => Err(Fault::Ambiguous(format!(
            "`{first}` and `{second}` both describe tensors, and neither lies where PyTorch looks"
        ))),
        (first, _) => Ok(first.map(String::from)),
    }
}

/// Pickles of TorchScript; a file of it has at least the first two.
const SCRIPTED: [&str; 4] = [INDEX, "constants.pkl", "traced_inputs.pkl", "bytecode.pkl"];

/// The pickles of a zip file that TorchScript reads in place of Python: `torch.load` hands a file to `torch.jit.load`
/// when `constants.pkl` lies in the folder of the first member, and that takes types from `code/` beside it.
pub(super) fn scripted(zip: &Zip<'_>) -> Vec<String> {
    let names = || zip.members().iter().map(|member| &*member.name);
    let Some((root, _)) = names().next().and_then(|first| first.split_once('/')) else { return Vec::new() };
    let pickles = SCRIPTED.map(|name| format!("{root}/{name}"));
    let code = format!("{root}/code/");
    let has_both = pickles.iter().take(2).all(|pickle| zip.find(pickle).is_some());
    let is_script = has_both && names().any(|name| name.starts_with(&code));
    // Beside the code, where each line came from.
    let debug = names().filter(|name| name.starts_with(&code) && name.ends_with(".debug_pkl")).map(String::from);
    if is_script { pickles.into_iter().chain(debug).collect() } else { Vec::new() }
}

/// Whether a member is the pickle that describes the tensors.
pub(in crate::artifact) fn is_index(member: &str) -> bool {
    member == INDEX || member.ends_with("/data.pkl")
}
