//! GPUs for a container: those that `CUDA_VISIBLE_DEVICES` names, else all of them, and none on a machine without.

use super::Engine;

/// Names the devices that programs see.
pub(super) const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// Arguments that give GPUs to a container.
pub(super) fn arguments(engine: Engine, has_gpus: bool, visible: Option<&str>) -> Vec<String> {
    if !has_gpus {
        return Vec::new();
    }
    let named: Vec<&str> = visible.into_iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    let is_name = |name: &&str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '_'))
    };
    let named: Vec<&str> = named.into_iter().filter(is_name).collect();
    match engine {
        Engine::Podman if named.is_empty() => vec!["--device=nvidia.com/gpu=all".into()],
        Engine::Podman => named.iter().map(|name| format!("--device=nvidia.com/gpu={name}")).collect(),
        Engine::Docker if named.is_empty() => vec!["--gpus=all".into()],
        // Docker reads a comma as the end of a field, unless the field is quoted.
        Engine::Docker => vec![format!("--gpus=\"device={}\"", named.join(","))],
        // All devices are there; the variable, which the script keeps, chooses.
        Engine::Apptainer => vec!["--nv".into()],
    }
}

/// Variables of this machine that choose devices inside: where an engine gives only those chosen, they have numbers of
/// their own, and the list from outside would name others.
pub(super) fn variables(engine: Engine) -> Option<(String, String)> {
    let visible = std::env::var(VISIBLE).ok().filter(|_| engine == Engine::Apptainer)?;
    Some((VISIBLE.to_string(), visible))
}
