//! `verify --site`: pages that are the same for the same tree, run nothing of others, and take no file's place. What
//! they do in a browser is tested by ci/site/browser.py.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::{fixture, golf};

/// Runs `verify --site`; gives the exit code and what it complained of.
fn site(tree: &Path, folder: &Path, flags: &[&str]) -> (i32, String) {
    let mut command = golf("verify");
    let output = command.arg(tree).arg("--site").arg(folder).arg("--quiet").args(flags).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// All files below a folder by relative path.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_path_buf();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Values of an attribute, wherever a page has it.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(start.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_same_tree_gives_the_same_bytes_whoever_reads_it() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let tree = fixture("submissions");
    assert_eq!(site(&tree, &at("a"), &[]), (1, String::new()));
    assert_eq!(site(&tree, &at("b"), &["--in-process"]), (1, String::new()));
    let (workers, here) = (files(&at("a")), files(&at("b")));
    assert_eq!(workers.keys().collect::<Vec<_>>(), here.keys().collect::<Vec<_>>());
    for (name, content) in &workers {
        assert!(here[name] == *content, "{} differs", name.display());
    }
    // Into the same folder again, over the earlier one.
    assert_eq!(site(&tree, &at("a"), &[]), (1, String::new()));
    assert!(files(&at("a")) == workers);
}

#[test]
fn every_link_of_a_page_leads_to_a_file_of_the_site() {
    let scratch = tempfile::tempdir().unwrap();
    site(&fixture("submissions"), scratch.path(), &[]);
    let files = files(scratch.path());
    let mut led_to = BTreeSet::new();
    for (name, page) in files.iter().filter(|(name, _)| name.extension().is_some_and(|ext| ext == "html")) {
        let folder = name.parent().unwrap();
        for link in attributes(page, "href").into_iter().chain(attributes(page, "src")) {
            if link.starts_with("data:image/svg+xml,") || link.starts_with('#') {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match path.strip_prefix("../") {
                Some(rest) => PathBuf::from(rest),
                None => folder.join(path),
            };
            let content = files.get(&target).unwrap_or_else(|| panic!("{}: {link}", name.display()));
            if target == Path::new("rules.html") && !fragment.is_empty() {
                assert!(content.contains(&format!("id=\"{fragment}\"")), "{}: {link}", name.display());
            }
            led_to.insert(target);
        }
    }
    assert_eq!(led_to.len(), files.len(), "a file that nothing leads to");
}

#[test]
fn what_a_submission_says_is_never_markup() {
    let scratch = tempfile::tempdir().unwrap();
    let attack = "</script><script>attack()</script><img src=x onerror=attack()>\\\"'><svg onload=attack()>";
    let place = scratch.path().join("tree/track_10min_16mb/2026-03-25_<img src=x onerror=attack()>");
    std::fs::create_dir_all(&place).unwrap();
    let json = format!(
        r#"{{"name": "{attack}", "author": "{attack}", "date": "2026-03-25", "val_bpb": 1.2, "bytes_total": 17000000}}"#
    );
    std::fs::write(place.join("submission.json"), json).unwrap();
    std::fs::write(place.join("README.md"), attack).unwrap();
    std::fs::write(place.join("train_gpt.py"), format!("import urllib.request  # {attack}\n")).unwrap();
    let log = format!(
        "step:1/9 train_loss:3 {attack}\nstep:2/9 train_loss:nan\nTraceback (most recent call last) {attack}\n"
    );
    std::fs::write(place.join("train_<b>.log"), log).unwrap();
    let folder = scratch.path().join("site");
    assert_eq!(site(&scratch.path().join("tree"), &folder, &[]).0, 1);
    let mut quoted = 0;
    for (name, page) in files(&folder).iter().filter(|(name, _)| name.extension().is_some_and(|ext| ext == "html")) {
        let name = name.display();
        assert!(!page.contains("<img") && !page.contains("<svg onload") && !page.contains("<script>"), "{name}");
        assert!(page.matches("<script").count() <= 2, "{name}");
        assert!(page.contains("script-src 'self'; style-src 'self'") && page.contains("default-src 'none'"), "{name}");
        assert!(!page.contains(" style=") && !page.contains("<style"), "{name}");
        quoted += page.matches("attack()").count();
    }
    assert!(quoted > 10, "the attacks are shown as text, {quoted} times");
}

#[test]
fn a_site_takes_no_place_of_other_files_and_leaves_none_of_its_own_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    for name in ["good", "over-budget"] {
        copy(&fixture("submissions").join(name), &at("tree").join(name));
    }
    let tree = at("tree");
    // Somebody else's page, and files beside.
    std::fs::create_dir(at("site")).unwrap();
    std::fs::write(at("site/index.html"), "<!doctype html>\n<p>mine").unwrap();
    std::fs::write(at("site/CNAME"), "golf.example").unwrap();
    let (code, said) = site(&tree, &at("site"), &[]);
    assert!(code == 2 && said.contains("index.html") && said.contains("--force"), "{said}");
    assert_eq!(files(&at("site")).len(), 2);
    assert_eq!(site(&tree, &at("site"), &["--force"]), (1, String::new()));
    let first = files(&at("site"));
    assert_eq!(first[Path::new("CNAME")], "golf.example");
    // A submission goes, and so does its page.
    std::fs::remove_dir_all(at("tree/over-budget")).unwrap();
    assert_eq!(site(&tree, &at("site"), &[]), (0, String::new()));
    let second = files(&at("site"));
    assert_eq!(first.len(), second.len() + 1);
    assert!(second.contains_key(Path::new("CNAME")));
    for (folder, flags, expected) in [
        (at("tree/site"), vec![], "whose files are read"),
        (tree.clone(), vec![], "whose files are read"),
        (at("tree/good/README.md"), vec!["--force"], "whose files are read"),
        (at("site/CNAME"), vec!["--force"], "is no folder"),
        (at("other"), vec!["--output", "other/index.html"], ""),
    ] {
        let before = files(scratch.path());
        let mut command = golf("verify");
        command.current_dir(scratch.path()).arg(&tree).arg("--site").arg(&folder).args(&flags);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{}: {said}", folder.display());
        assert!(said.contains(expected), "{said}");
        assert!(files(scratch.path()) == before, "{}", folder.display());
    }
}

#[test]
fn a_site_says_what_changed_since_an_earlier_report() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    copy(&fixture("submissions/good"), &at("tree/a"));
    copy(&fixture("submissions/over-budget"), &at("tree/b"));
    let old = at("old.json");
    let mut command = golf("verify");
    command.arg(at("tree")).args(["--format", "json", "--output"]).arg(&old).output().unwrap();
    std::fs::remove_dir_all(at("tree/a")).unwrap();
    copy(&fixture("submissions/over-budget"), &at("tree/a"));
    std::fs::remove_dir_all(at("tree/b")).unwrap();
    copy(&fixture("submissions/best-seed"), &at("tree/c"));
    let old = old.to_str().unwrap();
    assert_eq!(site(&at("tree"), &at("site"), &["--compare", old]), (1, String::new()));
    let overview = std::fs::read_to_string(at("site/index.html")).unwrap();
    assert!(overview.contains("over_budget: nothing became fail"));
    assert!(overview.contains("[\"worse\",[") && overview.contains("[\"new\",["));
    assert!(overview.contains("1 not there any more"));
    let (code, said) = site(&at("tree"), &at("site"), &["--compare", at("tree/a/README.md").to_str().unwrap()]);
    assert!(code == 2 && said.contains("verify --format json"), "{said}");
}

#[test]
fn pages_load_nothing_from_elsewhere_and_stay_small() {
    let scratch = tempfile::tempdir().unwrap();
    site(&fixture("submissions"), scratch.path(), &[]);
    let assets: Vec<(PathBuf, String)> =
        files(scratch.path()).into_iter().filter(|(name, _)| name.starts_with("assets")).collect();
    assert!(assets.iter().map(|(_, content)| content.len()).sum::<usize>() <= 150_000);
    for (name, content) in assets {
        let elsewhere = content.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "//cdn", "@import", "url(", "fetch(", "XMLHttpRequest", "eval(", "innerHTML"] {
            // A clip path is a part of the page it stands in.
            let elsewhere = elsewhere.replace("\"url(#\"", "");
            assert!(!elsewhere.contains(word), "{}: {word}", name.display());
        }
    }
}
