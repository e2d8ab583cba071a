//! The picture of `src/lib.rs`, kept true: which folder may use which, no circles, no name twice, a short top
//! level, doc comments that name their thing.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::slice;

/// The folders of `src`, lowest row first. A folder uses only itself and lower rows.
const ORDER: &[&[&str]] = &[
    &["error"],
    &["isa"],
    &["math", "random", "engine"],
    &["activations"],
    &["infinite", "finite"],
    &["convolution"],
];

/// The module of a file below `src`, by its names: `engine::panel::storage`, or `engine::panel` for the folder's `mod.rs`.
type Module = Vec<String>;

/// The text of every module.
fn texts() -> BTreeMap<Module, String> {
    fn visit(folder: &Path, module: &[String], texts: &mut BTreeMap<Module, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let inner = [module, slice::from_ref(&stem)].concat();
            if path.is_dir() {
                visit(&path, &inner, texts);
                continue;
            }
            let own = match stem.as_str() {
                "lib" | "mod" => module.to_vec(),
                _ => inner,
            };
            texts.insert(own, fs::read_to_string(&path).unwrap());
        }
    }
    let mut texts = BTreeMap::new();
    visit(&source(), &[], &mut texts);
    texts
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of every module, without comments and without what follows `#[cfg(test)]`.
fn modules() -> BTreeMap<Module, String> {
    let texts = texts().into_iter();
    texts.map(|(module, text)| (module, code(&text))).collect()
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths of a tree of imports: `a::{b, c::d as e}` gives `a::b` under the name b and `a::c::d` under the name e.
fn expand(prefix: &[String], tree: &str, paths: &mut Vec<(String, Module)>) {
    let tree = tree.trim();
    if let Some((head, rest)) = tree.split_once("::")
        && !head.contains(['{', ','])
    {
        return expand(&[prefix, &[head.to_owned()]].concat(), rest, paths);
    }
    if let Some(list) = tree.strip_prefix('{') {
        let list = list.strip_suffix('}').unwrap();
        let (mut depth, mut start) = (0, 0);
        for (at, byte) in list.bytes().chain([b',']).enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b',' if depth == 0 => {
                    if !list[start..at].trim().is_empty() {
                        expand(prefix, &list[start..at], paths);
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (name, alias) = tree.split_once(" as ").unwrap_or((tree, tree));
    match name {
        "self" => paths.push((prefix.last().unwrap().clone(), prefix.to_vec())),
        name => paths.push((alias.to_owned(), [prefix, &[name.to_owned()]].concat())),
    }
}

/// The paths into this crate that a module names, by `use` or in place, from the root of the crate on, each with the
/// name that a `use` gives it.
fn imports(own: &[String], code: &str, all: &BTreeMap<Module, String>) -> Vec<(String, Module)> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        if !code[..at].ends_with(is_word) {
            expand(&[], code[at + 4..].split(';').next().unwrap(), &mut paths);
        }
    }
    for start in ["crate::", "super::"] {
        let first = |at: &usize| !code[..*at].ends_with("::");
        for at in code.match_indices(start).map(|(at, _)| at).filter(first) {
            let path = code[at..].split(|next| !is_word(next) && next != ':');
            let names = path.into_iter().next().unwrap().split("::");
            let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
            // It gets no name here, so that nobody can take it from here.
            paths.push((String::new(), names.collect()));
        }
    }
    let from_root = |(name, path): (String, Module)| {
        let supers = path.iter().take_while(|name| *name == "super").count();
        let rest = &path[supers..];
        let full = match rest.first()?.as_str() {
            _ if supers > 0 => [&own[..own.len().checked_sub(supers)?], rest].concat(),
            "crate" => rest[1..].to_vec(),
            "self" => [own, &rest[1..]].concat(),
            first => {
                let child = [own, &[first.to_owned()]].concat();
                all.contains_key(&child).then(|| [own, rest].concat())?
            }
        };
        Some((name, full))
    };
    paths.into_iter().filter_map(from_root).collect()
}

/// All pairs of modules of which the first uses the second. An item that a module re-exports belongs to the module that
/// it comes from.
fn arrows() -> BTreeSet<(Module, Module)> {
    let modules = modules();
    let named: BTreeMap<_, _> = modules
        .iter()
        .map(|(own, code)| (own, imports(own, code, &modules)))
        .collect();
    let home = |path: &Module| {
        let mut path = path.clone();
        loop {
            let inside = |length: &usize| modules.contains_key(&path[..*length]);
            let length = (0..=path.len()).rev().find(inside).unwrap();
            let (module, item) = path.split_at(length);
            let exported = item.first().and_then(|item| {
                let found = named[&module.to_vec()]
                    .iter()
                    .find(|(name, _)| name == item);
                found.map(|(_, path)| path.clone())
            });
            match exported {
                Some(exported) if exported != path => path = exported,
                _ => return module.to_vec(),
            }
        }
    };
    let pairs = named.iter().flat_map(|(own, paths)| {
        let home = &home;
        paths
            .iter()
            .map(move |(_, path)| ((*own).clone(), home(path)))
    });
    pairs.filter(|(own, target)| own != target).collect()
}

#[test]
fn folders_use_only_lower_rows() {
    let row = |folder: &str| {
        let row = ORDER.iter().position(|row| row.contains(&folder));
        row.unwrap_or_else(|| panic!("{folder} has no row in ORDER"))
    };
    let mut wrong = Vec::new();
    for (own, target) in arrows() {
        let ([folder, ..], [other, ..]) = (&own[..], &target[..]) else {
            // `lib.rs` declares all folders.
            assert!(
                own.is_empty(),
                "{} imports the root of the crate",
                own.join("/")
            );
            continue;
        };
        if folder != other && row(folder) <= row(other) {
            wrong.push(format!("{} imports {other}", own.join("/")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// In every folder the files, and the folders with all that they hold, use each other in one direction. Its `mod.rs` is
/// the folder itself: outside it stands for the folder, inside it may be used by the others and use them.
#[test]
fn imports_form_no_circle() {
    let mut used_by: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (own, target) in arrows() {
        let same = own.iter().zip(&target).take_while(|(a, b)| a == b).count();
        if same < own.len().min(target.len()) {
            let sibling = |module: &Module| module[..=same].to_vec();
            used_by
                .entry(sibling(&own))
                .or_default()
                .insert(sibling(&target));
        }
    }
    // Whoever uses nothing that is left is in no circle.
    loop {
        let left: BTreeSet<_> = used_by.keys().cloned().collect();
        used_by.retain(|_, targets| targets.iter().any(|target| left.contains(target)));
        if used_by.len() == left.len() {
            break;
        }
    }
    let circles: Vec<_> = used_by.keys().map(|module| module.join("/")).collect();
    assert!(
        circles.is_empty(),
        "in or above a circle: {}",
        circles.join(", ")
    );
}

/// A type name means one thing in the crate. `Scratch` is always private to the loop that it serves.
#[test]
fn type_names_are_unique() {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, code) in modules() {
        for line in code.lines() {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| word.starts_with("pub") || *word == "unsafe");
            let declares = match words.next() {
                Some("struct" | "enum" | "trait" | "union") => true,
                // Those of a trait or of its implementations are indented.
                Some("type") => !line.starts_with(' '),
                _ => false,
            };
            let name = words.next().filter(|_| declares).unwrap_or_default();
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            if !name.is_empty() && name != "Scratch" {
                places.entry(name).or_default().insert(module.join("/"));
            }
        }
    }
    let twice = places.iter().filter(|(_, places)| places.len() > 1);
    let twice: Vec<_> = twice
        .map(|(name, places)| format!("{name}: {places:?}"))
        .collect();
    assert!(twice.is_empty(), "{}", twice.join("\n"));
}

#[test]
fn the_top_level_is_short() {
    let entries = fs::read_dir(source())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    assert!(files.len() <= 4, "{files:?}");
    assert!(files.len() + folders.len() <= 14, "{folders:?}");
}

/// A doc comment begins with the thing that it is about, or with what the function does.
#[test]
fn doc_comments_name_their_thing() {
    const VAGUE: [&str; 9] = [
        "What", "Those", "That", "All that", "Which", "How", "Whether", "As", "Of",
    ];
    let doc = |line: &str| -> Option<String> {
        let text = line.trim_start();
        let text = text.strip_prefix("///").or(text.strip_prefix("//!"))?;
        // A line of slashes is not a doc comment.
        (!text.starts_with('/')).then(|| text.trim().to_owned())
    };
    let vague = |text: &str| {
        VAGUE.iter().any(|words| {
            let rest = text.strip_prefix(words);
            rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        })
    };
    let mut wrong = Vec::new();
    for (module, text) in texts() {
        let mut inside = false;
        for (number, line) in text.lines().enumerate() {
            let doc = doc(line);
            if let Some(text) = doc.as_ref().filter(|text| !inside && vague(text)) {
                wrong.push(format!("{}:{}: {text}", module.join("/"), number + 1));
            }
            inside = doc.is_some();
        }
    }
    let count = wrong.len();
    assert!(
        wrong.is_empty(),
        "{count} doc comments:\n{}",
        wrong.join("\n")
    );
}
