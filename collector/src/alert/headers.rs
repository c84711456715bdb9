//! Headers that a sink wants: as they stand in the configuration, or as a file has them, so that a token need not stand
//! beside everything else. A file is read for each message: a token that was changed holds at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use axum::http::{HeaderName, HeaderValue};

/// A sink's own headers.
#[derive(Debug)]
pub struct Headers {
    fixed: BTreeMap<String, String>,
    files: BTreeMap<String, PathBuf>,
}

impl Headers {
    /// Checks names and values, and that the files are there.
    pub fn new(fixed: &BTreeMap<String, String>, files: &BTreeMap<String, PathBuf>) -> Result<Self, String> {
        let headers = Self { fixed: fixed.clone(), files: files.clone() };
        for (name, value) in headers.current()? {
            name.parse::<HeaderName>().map_err(|_| format!("{name:?} is no name of a header"))?;
            HeaderValue::from_str(&value)
                .map_err(|_| format!("the header {name:?} has characters that no header may have"))?;
        }
        Ok(headers)
    }

    /// The headers as they are now.
    pub fn current(&self) -> Result<Vec<(String, String)>, String> {
        let mut headers: Vec<(String, String)> = self.fixed.clone().into_iter().collect();
        for (name, path) in &self.files {
            headers.push((name.clone(), value(path)?));
        }
        Ok(headers)
    }
}

fn value(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("header_files {}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("header_files {}: the file is empty", path.display())),
        value => Ok(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_from_its_file_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        let named = |name: &str| Headers::new(&BTreeMap::new(), &BTreeMap::from([(name.to_owned(), token.clone())]));
        assert!(named("Authorization").unwrap_err().contains("token: "), "there is no file yet");
        fs::write(&token, " \n").unwrap();
        assert!(named("Authorization").unwrap_err().contains("empty"));
        fs::write(&token, "Bearer one\n").unwrap();
        assert!(named("a b").unwrap_err().contains("no name"));
        let headers = named("Authorization").unwrap();
        fs::write(&token, "Bearer two\n").unwrap();
        assert_eq!(headers.current().unwrap(), [("Authorization".to_owned(), "Bearer two".to_owned())]);
        fs::write(&token, "two\nlines\n").unwrap();
        assert!(named("Authorization").unwrap_err().contains("no header may have"));
    }
}
