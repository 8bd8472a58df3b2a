//! Files that hold a secret.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;

use super::quantity;

/// A secret file larger than this is not a secret but a mistake.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Reads a secret and the file's mode; the line end behind the secret is not part of it.
pub(super) fn read(path: &Path) -> Result<(SecretString, u32), String> {
    let file = fs::File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let mode = file.metadata().map_err(|error| format!("cannot be examined: {error}"))?.permissions().mode();
    let mut text = String::new();
    let read = file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| format!("cannot be read as text: {}", error.kind()))? as u64;
    if bytes > SECRET_BYTES_MAX {
        return Err(format!("is larger than {}", quantity::size_text(SECRET_BYTES_MAX)));
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok((secret.to_owned().into(), mode))
}
