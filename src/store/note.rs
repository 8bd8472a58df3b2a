//! A small file of facts that is believed whole or not at all: the guard's, and the seal of a checkpoint.
//!
//! The first line is the xxh3-64 of the rest, in hexadecimal; the rest is JSON with a `format` number. It
//! is replaced by way of a second file, fsynced before and after the rename, so that a power cut leaves
//! the old facts or the new ones.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::folder;
use crate::failpoint;

/// Format of what this program writes: of the notes, and of the store's keys and values with them.
pub const FORMAT: u32 = 1;

/// More than any note of ours; a larger file is not one.
const SIZE_BYTES_MAX: u64 = 64 << 10;

/// Why there are no facts to be had from a note that is there.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Written by a newer program: what it says is for that one.
    #[error("format {0}; this program reads up to {FORMAT}")]
    Newer(u32),
    #[error("{0}")]
    Damaged(String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// Replaces the note at `path`, durably.
pub fn write(path: &Path, facts: &impl Serialize) -> io::Result<()> {
    let mut json = serde_json::to_vec_pretty(facts).map_err(io::Error::other)?;
    json.push(b'\n');
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(format!("{:016x}\n", xxh3_64(&json)).as_bytes())?;
    file.write_all(&json)?;
    file.sync_all()?;
    drop(file);
    failpoint::hit("note.written");
    fs::rename(&beside, path)?;
    failpoint::hit("note.renamed");
    path.parent().map_or(Ok(()), folder::sync_folder)
}

/// The facts; nothing when there is no such file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Unreadable> {
    let text = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(about) if about.len() > SIZE_BYTES_MAX => {
            return Err(Unreadable::Damaged(format!("{} bytes are too many", about.len())));
        }
        Ok(_) => fs::read(path)?,
    };
    let damaged = |reason: &str| Unreadable::Damaged(reason.to_owned());
    let (sum, json) = text.split_at_checked(17).ok_or_else(|| damaged("cut short"))?;
    if sum != format!("{:016x}\n", xxh3_64(json)).as_bytes() {
        return Err(damaged("the checksum does not hold"));
    }
    let head: Head = serde_json::from_slice(json).map_err(|error| damaged(&error.to_string()))?;
    if head.format > FORMAT {
        return Err(Unreadable::Newer(head.format));
    }
    serde_json::from_slice(json).map(Some).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Facts {
        format: u32,
        word: String,
    }

    fn facts(format: u32) -> Facts {
        Facts { format, word: "so".to_owned() }
    }

    #[test]
    fn facts_are_read_back_and_replaced() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("note.json");
        assert_eq!(read::<Facts>(&path).unwrap(), None);
        write(&path, &Facts { format: FORMAT, word: "old".to_owned() }).unwrap();
        write(&path, &facts(FORMAT)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(facts(FORMAT)));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_note_with_any_byte_changed_or_missing_is_damaged() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("note.json");
        write(&path, &facts(FORMAT)).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(matches!(read::<Facts>(&path), Err(Unreadable::Damaged(_))), "cut at {at}");
            let mut bent = whole.clone();
            bent[at] ^= 1;
            fs::write(&path, bent).unwrap();
            assert!(matches!(read::<Facts>(&path), Err(Unreadable::Damaged(_))), "bent at {at}");
        }
    }

    #[test]
    fn a_newer_note_is_told_from_a_damaged_one_whatever_else_it_holds() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("note.json");
        write(&path, &serde_json::json!({ "format": FORMAT + 1, "words": [] })).unwrap();
        assert!(matches!(read::<Facts>(&path), Err(Unreadable::Newer(2))));
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("note.json");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(read::<Facts>(&path), Err(Unreadable::Damaged(_))));
    }
}
