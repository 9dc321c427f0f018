//! Reads key files. Errors never show a file's content. They name the file, unless it cannot be read and its path looks
//! like a key.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::error::KeyError;

/// The most bytes of a file. No key or certificate chain is longer.
const LIMIT: u64 = 1 << 20;

/// Reads a file and makes a key of its content.
pub(super) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    let content = content(path).map_err(|error| match looks_like_key(path) {
        true => KeyError::NotAPath,
        false => KeyError::UnreadableFile {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    })?;
    parse(&content).map_err(|error| KeyError::InFile {
        path: path.to_owned(),
        error: Box::new(error),
    })
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut file = File::open(path)?.take(LIMIT + 1);
    file.read_to_end(&mut content)?;
    match file.limit() {
        0 => Err(io::Error::other("longer than 1 MiB, so no key file")),
        _ => Ok(content),
    }
}

/// Checks whether the path looks like a key that was passed by mistake: PEM text, base64 or an APIv3 key. An error must
/// not show it.
fn looks_like_key(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let is_long = text.len() >= 32 && (text.len() > 255 || !text.contains('/'));
    text.contains("BEGIN")
        || text.starts_with("MII")
        || text.contains('\n')
        || (is_long && text.chars().all(is_base64))
}
