//! Reads key files. Errors never show a file's content. They name the file, unless its path looks like a key.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::error::KeyError;

/// The most bytes read from a file. No key or certificate chain is longer.
const MAX_LEN: u64 = 1 << 20;

/// Reads a file and makes a key of its content.
pub(super) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_LEN).read_to_end(&mut content));
    read.map_err(|error| match looks_like_key(path) {
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
