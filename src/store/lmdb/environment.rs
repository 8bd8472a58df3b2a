//! Opening the memory map: the one place where the compiler cannot check us.

use heed::{Env, EnvFlags, EnvOpenOptions, WithoutTls};
use rustix::process::{Resource, getrlimit};

use super::{Durability, Options, failed};
use crate::store::engine::{Error, Space};
use crate::store::folder::{self, Folder};

/// Less address space than this is not worth a store.
const MAP_SIZE_BYTES_MIN: usize = 64 << 20;
/// A multiple of every page size there is (4 to 64 KiB).
const MAP_SIZE_STEP_BYTES: usize = 1 << 20;

const OPERATION: &str = "open the store";

/// Opens the environment with as much address space as was asked for, or as can be had.
pub fn open(folder: &Folder, options: &Options) -> Result<Env<WithoutTls>, Error> {
    let mut size = allowed(options.map_size_bytes, getrlimit(Resource::As).current);
    let env = loop {
        match map(folder, options, size) {
            Ok(env) => break env,
            // The limit may be elsewhere (overcommit, a container, a 47-bit address space): ask for less.
            Err(heed::Error::Io(error))
                if error.kind() == std::io::ErrorKind::OutOfMemory && size / 2 >= MAP_SIZE_BYTES_MIN =>
            {
                size = whole_steps(size / 2);
            }
            Err(error) => return Err(failed(OPERATION)(error)),
        }
    };
    cover(folder, &env)?;
    Ok(env)
}

/// At most half of what the process may map: the rest of the daemon lives there too.
fn allowed(wanted: usize, limit_bytes: Option<u64>) -> usize {
    let limit = limit_bytes.and_then(|bytes| usize::try_from(bytes / 2).ok()).unwrap_or(usize::MAX);
    whole_steps(wanted.min(limit).max(MAP_SIZE_BYTES_MIN))
}

fn whole_steps(bytes: usize) -> usize {
    bytes / MAP_SIZE_STEP_BYTES * MAP_SIZE_STEP_BYTES
}

/// Reading a page of the map that lies behind the end of the file is a SIGBUS. A file that somebody cut
/// short is made as long as its meta page says it is: what is missing then reads as zeros, which LMDB
/// reports as damage where a page of a tree should be. (It may also be a little short without any damage:
/// pages given back in the transaction that took them are never written.)
fn cover(folder: &Folder, env: &Env<WithoutTls>) -> Result<(), Error> {
    let pages = env.info().last_page_number as u64 + 1;
    let size_bytes = pages * u64::from(env.unnamed_database_stat().page_size);
    if env.real_disk_size().map_err(failed(OPERATION))? >= size_bytes {
        return Ok(());
    }
    let file = env.try_clone_inner_file().map_err(failed(OPERATION))?;
    file.set_len(size_bytes).map_err(|error| folder::failed(OPERATION, &folder.data_file(), &error))
}

#[allow(unsafe_code)]
fn map(folder: &Folder, options: &Options, size_bytes: usize) -> heed::Result<Env<WithoutTls>> {
    // `WithoutTls`: read transactions belong to their handle and not to a thread, so views may travel.
    let mut open = EnvOpenOptions::new().read_txn_without_tls();
    open.map_size(size_bytes).max_readers(options.views_max).max_dbs(Space::ALL.len() as u32);
    // SAFETY:
    // `open`: the file under the map must not be changed except through this environment.
    // - No other process: a `Folder` exists only while this process holds the exclusive flock on its lock
    //   file. The engine owns the folder, and drops it after the environment.
    // - Not twice in this process: flock belongs to an open file and not to a process, so a second
    //   `Folder::lock` fails here as well; `Lmdb::open` consumes the one that there is; heed itself refuses
    //   a path that is open in the process. We hand out no clone of the environment.
    // - Not by ourselves: files in the folder are replaced by functions that want a `&Folder`, and
    //   the engine gives none away. `cover` only makes the file longer, where nothing was mapped.
    // - A truncated file: `cover` runs before anything behind the meta pages is read.
    // - Not on a network file system: one process on one machine sees one page cache; LMDB's table of
    //   readers, the part that would break, is used by this process alone.
    // - An operator who writes into the file of a running database is outside of what can be proven.
    // `flags`: MDB_NOSYNC drops the order of writes to the disk, not that of memory: after a kill the page
    //   cache holds every commit. After a power cut the file may be torn; `trust` never lets such a file
    //   be opened. Neither MDB_WRITEMAP nor MDB_NOLOCK is set.
    unsafe {
        if options.durability == Durability::Journal {
            open.flags(EnvFlags::NO_SYNC);
        }
        open.open(folder.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_reduced_to_half_of_the_address_space_and_to_whole_steps() {
        let check = |wanted: usize, limit, expected: usize| assert_eq!(allowed(wanted, limit), expected);
        check(256 << 30, None, 256 << 30);
        check(256 << 30, Some(8 << 30), 4 << 30);
        check(1 << 30, Some(8 << 30), 1 << 30);
        check(1 << 30, Some(1 << 20), MAP_SIZE_BYTES_MIN);
        check((1 << 30) + 12_345, None, 1 << 30);
        check(0, None, MAP_SIZE_BYTES_MIN);
    }
}
