//! From an image's name to something that can be run: the engine that has it, and what exactly it is.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::engine::{Found, PROGRAMS};
use super::{Container, Engine, EngineBounds, Mapping, User};
use crate::digest::ContentDigest;
use crate::report::quote;

/// User and group of scripts that root starts.
const NOBODY: u32 = 65534;

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// No engine.
    #[error(
        "--container needs podman, docker, apptainer or singularity, and none of them is on the path; install one (Debian, \
         Ubuntu: apt install podman)"
    )]
    NoEngine,
    /// The engine asked for.
    #[error("--container-engine {}: there is no such program; podman, docker, apptainer and singularity are known", .0.display())]
    NoSuchEngine(PathBuf),
    /// No engine has the image.
    #[error("no engine here can run the image {image}: {}; nothing is fetched for a rerun, so fetch it first: {how}", .tried.join("; "))]
    NoImage {
        /// The image.
        image: String,
        /// What each engine said.
        tried: Vec<String>,
        /// A command.
        how: String,
    },
}

/// Finds the image: with this engine, or with the first that has it.
pub fn find(image: &str, engine: Option<&Path>) -> Result<Container, ContainerError> {
    let programs: Vec<&Path> = match engine {
        Some(program) => vec![program],
        None => PROGRAMS.iter().map(Path::new).collect(),
    };
    let mut tried = Vec::new();
    let mut first = None;
    for program in programs {
        let container = match Found::look(program) {
            None => continue,
            Some(Err(words)) => Err(words),
            Some(Ok(found)) => {
                let container = look(&found, image);
                first.get_or_insert(found);
                container
            }
        };
        match container {
            Ok(container) => return Ok(container),
            Err(words) => tried.push(format!("{}: {words}", program.display())),
        }
    }
    match (engine, first) {
        (Some(program), None) if tried.is_empty() => Err(ContainerError::NoSuchEngine(program.to_path_buf())),
        (None, None) if tried.is_empty() => Err(ContainerError::NoEngine),
        (_, first) => Err(ContainerError::NoImage { image: quote(image), tried, how: how(first.as_ref(), image) }),
    }
}

/// How an engine fetches an image.
fn how(found: Option<&Found>, image: &str) -> String {
    let program = found.map_or_else(|| "podman".into(), |found| found.program.to_string_lossy().into_owned());
    match found.map(|found| found.engine) {
        Some(Engine::Apptainer) => format!("{program} pull image.sif docker://{}", quote(image)),
        _ => format!("{program} pull {}", quote(image)),
    }
}

fn look(found: &Found, image: &str) -> Result<Container, String> {
    // An image whose name is an option would be one.
    if image.is_empty() || image.starts_with('-') || image.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("this is no name of an image".into());
    }
    match found.engine {
        Engine::Apptainer => image_file(found, image),
        Engine::Podman | Engine::Docker => image_of_engine(found, image),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

fn image_of_engine(found: &Found, image: &str) -> Result<Container, String> {
    let answer = found.ask(&["image", "inspect", image])?;
    let images: Vec<Inspected> =
        serde_json::from_slice(&answer.output).map_err(|error| format!("its description of the image: {error}"))?;
    let Some(inspected) = images.into_iter().next() else { return Err("it knows no such image".into()) };
    let id = inspected.id.trim_start_matches("sha256:").to_string();
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("its identifier of the image is no SHA-256: {}", quote(&id)));
    }
    // Docker knows the manifest's digest only of what came from a registry.
    let of_registry = inspected.repo_digests.unwrap_or_default().into_iter().next();
    let of_registry = of_registry.and_then(|digest| Some(digest.rsplit_once('@')?.1.to_string()));
    let digest = Some(inspected.digest).filter(|digest| !digest.is_empty()).or(of_registry);
    let (user, bounds) = if found.engine == Engine::Podman { podman(found)? } else { docker(found)? };
    Ok(Container {
        engine: found.engine,
        program: found.program.clone(),
        version: found.version.clone(),
        image: quote(image),
        digest: digest.map_or_else(|| format!("sha256:{id}"), |digest| quote(&digest)),
        id,
        user,
        bounds,
    })
}

fn podman(found: &Found) -> Result<(User, EngineBounds), String> {
    let format = "{{.Host.Security.Rootless}}{{range .Host.CgroupControllers}} {{.}}{{end}}";
    let answer = found.ask(&["info", "--format", format])?;
    let text = String::from_utf8_lossy(&answer.output).into_owned();
    let mut words = text.split_whitespace();
    let is_rootless = words.next() == Some("true");
    let controllers: Vec<&str> = words.collect();
    let bounds = EngineBounds { memory: controllers.contains(&"memory"), processes: controllers.contains(&"pids") };
    Ok((user(if is_rootless { Mapping::KeptId } else { Mapping::Same }), bounds))
}

fn docker(found: &Found) -> Result<(User, EngineBounds), String> {
    let answer = found.ask(&["info", "--format", "{{.MemoryLimit}} {{.PidsLimit}} {{json .SecurityOptions}}"])?;
    let text = String::from_utf8_lossy(&answer.output).into_owned();
    let mut words = text.split_whitespace();
    let bounds = EngineBounds { memory: words.next() == Some("true"), processes: words.next() == Some("true") };
    Ok((user(if text.contains("name=rootless") { Mapping::RootIsCaller } else { Mapping::Same }), bounds))
}

/// Whom a script runs as, given how the engine maps numbers. Root of this machine never runs one.
fn user(mapping: Mapping) -> User {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match mapping {
        Mapping::RootIsCaller => User { uid: 0, gid: 0, mapping },
        Mapping::Same if uid == 0 => User { uid: NOBODY, gid: NOBODY, mapping: Mapping::Nobody },
        mapping => User { uid, gid, mapping },
    }
}

/// An image that is a file.
fn image_file(found: &Found, image: &str) -> Result<Container, String> {
    let path = Path::new(image);
    if !path.is_file() {
        return Err("it runs image files (.sif), and there is no such file".into());
    }
    let path = path.canonicalize().map_err(|error| error.to_string())?;
    let digest = ContentDigest::of_file(&path).map_err(|error| error.to_string())?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Ok(Container {
        engine: Engine::Apptainer,
        program: found.program.clone(),
        version: found.version.clone(),
        image: quote(image),
        id: path.to_str().ok_or("its path is not UTF-8")?.to_string(),
        digest: format!("sha256:{}", digest.sha256),
        user: User { uid, gid, mapping: Mapping::Same },
        bounds: EngineBounds::default(),
    })
}
