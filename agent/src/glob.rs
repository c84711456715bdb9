//! Paths with patterns in them, as glob(7) says: which files they name now, and whether a path is one of them. Folders
//! may be patterns too.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Most files that a pattern may name.
const MAX_MATCHES: usize = 4_096;

/// Whether a path holds a pattern.
pub fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// The paths that stand there, in their order.
pub fn paths(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        if !is_pattern(Path::new(name)) {
            found.iter_mut().for_each(|path| path.push(name));
            continue;
        }
        found = found.iter().flat_map(|folder| matching(folder, name)).take(MAX_MATCHES).collect();
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

/// Whether a path, there or not, is one that the pattern names.
pub fn names(pattern: &Path, path: &Path) -> bool {
    let (mut parts, mut names) = (pattern.components(), path.components());
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(Component::Normal(part)), Some(Component::Normal(name)))
                if fits(part.as_bytes(), name.as_bytes()) => {}
            (Some(part), Some(name)) if part == name => {}
            _ => return false,
        }
    }
}

fn matching(folder: &Path, pattern: &OsStr) -> Vec<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    // As in a shell, a leading dot must be written out.
    let shown = names.filter(|name| !name.as_bytes().starts_with(b".") || pattern.as_bytes().starts_with(b"."));
    shown.filter(|name| fits(pattern.as_bytes(), name.as_bytes())).map(|name| folder.join(name)).collect()
}

/// Whether a name fits a pattern of glob(7): `*`, `?` and sets in brackets.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    // Where the last star stood and how much it has taken: the only place to go back to.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match one(&pattern[at..], name[of]) {
            Some(used) => (at, of) = (at + used, of + 1),
            None if pattern.get(at) == Some(&b'*') => {
                star = Some((at, of));
                at += 1;
            }
            None => match &mut star {
                Some((back, taken)) => {
                    *taken += 1;
                    (at, of) = (*back + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How many bytes of the pattern stand for this one byte of the name. None: it does not fit, or a star stands there.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'*' => None,
        b'?' => Some(1),
        b'[' => {
            let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
            let begin = if negated { 2 } else { 1 };
            let end = begin + 1 + pattern.get(begin + 1..)?.iter().position(|byte| *byte == b']')?;
            let set = &pattern[begin..end];
            let mut found = false;
            let mut at = 0;
            while at < set.len() {
                let range = (set.get(at + 1) == Some(&b'-')).then(|| set.get(at + 2)).flatten();
                found |= range.map_or(set[at] == byte, |last| (set[at]..=*last).contains(&byte));
                at += if range.is_some() { 3 } else { 1 };
            }
            (found != negated).then_some(end + 1)
        }
        literal => (*literal == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_names() {
        let fit: &[(&str, &str)] = &[
            ("*.conf", "a.conf"),
            ("*", ""),
            ("a*b*c", "a__b_b_c"),
            ("[0-9]?-*", "10-site"),
            ("[!a]x", "bx"),
            ("a[]]b", "a]b"),
        ];
        for (pattern, name) in fit {
            assert!(fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.conf", "a.conf~"), ("?", ""), ("[a-c]", "d"), ("[a", "a"), ("a*b", "ac"), ("a", "ab")]
        {
            assert!(!fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn folders_and_files_may_both_be_patterns() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b/2.conf", "a/1.conf", "a/.hidden.conf", "a/other", "c/3.conf"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let pattern = dir.path().join("[ab]/*.conf");
        assert_eq!(paths(&pattern), [dir.path().join("a/1.conf"), dir.path().join("b/2.conf")]);
        assert_eq!(paths(&dir.path().join("a/1.conf")), [dir.path().join("a/1.conf")]);
        assert!(paths(&dir.path().join("a/none")).is_empty());
        assert!(names(&pattern, &dir.path().join("b/gone.conf")) && !names(&pattern, &dir.path().join("c/3.conf")));
        assert!(!names(&pattern, dir.path()) && !names(dir.path(), &pattern));
    }
}
