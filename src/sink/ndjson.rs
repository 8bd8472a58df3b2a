//! Documents as lines, to look at or to pipe on: standard output, or a file that only grows.
//!
//! `{"_index":…,"_id":…,"_version":…,"_source":{…}}` for a document in place, and `"deleted":true` without
//! `_source` for one that is gone. A line is no judgement: nothing is ever in conflict, and whoever reads takes
//! the highest version of each id. Beside the file, `<file>.state.json` holds what makes epochs grow
//! (rule 35). Standard output remembers nothing and is not durable.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Answer, Error, IndexSpec, PreparedIndex, Sink};
use crate::model::{Action, Document, Epoch, Outcome};

/// Larger state files are not ours.
const STATE_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    journal_id: String,
    definition: String,
    epoch: Epoch,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    indices: BTreeMap<String, Kept>,
}

enum Target {
    Stdout,
    File { path: PathBuf, file: File },
}

struct Inner {
    target: Target,
    state: State,
    /// Bytes of the last whole line's end; what a failed write left behind is cut off again.
    whole_bytes: u64,
}

/// See the module.
#[derive(Clone)]
pub struct Ndjson {
    inner: Arc<Mutex<Inner>>,
}

impl Ndjson {
    pub fn stdout() -> Ndjson {
        Ndjson::new(Target::Stdout, State::default(), 0)
    }

    /// Opens the file, readable by its owner alone, or creates it. A line that a crash cut short is removed.
    pub fn file(path: &Path) -> Result<Ndjson, Error> {
        let operation = "open the ndjson file";
        let open = || -> io::Result<(File, State, u64)> {
            let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
            let whole_bytes = end_of_last_line(&file)?;
            file.set_len(whole_bytes)?;
            Ok((file, read_state(&state_path(path))?, whole_bytes))
        };
        let (file, state, whole_bytes) = open().map_err(|error| Error::Refused {
            code: "sink-file",
            operation,
            reason: format!("{}: {error}", path.display()),
            hint: "Give a file, in a folder that exists, that the daemon may write".to_owned(),
        })?;
        Ok(Ndjson::new(Target::File { path: path.to_owned(), file }, state, whole_bytes))
    }

    fn new(target: Target, state: State, whole_bytes: u64) -> Ndjson {
        Ndjson { inner: Arc::new(Mutex::new(Inner { target, state, whole_bytes })) }
    }

    /// Runs on a thread that may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || {
            work(&mut inner.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let done = done.await.map_err(io::Error::other).flatten();
        done.map_err(|error| Error::Retry { operation, reason: error.to_string() })
    }
}

impl Inner {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Target::File { file, .. } => {
                // Half a line of an earlier failure would swallow the first line of this call.
                file.set_len(self.whole_bytes)?;
                file.write_all(lines)?;
                file.sync_data()?;
                self.whole_bytes += lines.len() as u64;
                Ok(())
            }
        }
    }

    /// Standard output keeps no state: its epoch is always zero.
    fn prepared(&self, index: &str, created: bool) -> PreparedIndex {
        let durable = matches!(self.target, Target::File { .. });
        let epoch = self.state.indices.get(index).map_or(Epoch(0), |kept| kept.epoch);
        PreparedIndex { uuid: format!("ndjson-{index}"), epoch, created, durable }
    }

    fn keep(&mut self, spec: &IndexSpec, epoch: Epoch) -> io::Result<()> {
        let (journal_id, definition) = (spec.journal_id.clone(), spec.definition.clone());
        self.state.indices.insert(spec.index.clone(), Kept { journal_id, definition, epoch });
        match &self.target {
            Target::Stdout => Ok(()),
            Target::File { path, .. } => write_state(&state_path(path), &self.state),
        }
    }

    fn recognise(&self, operation: &'static str, spec: &IndexSpec) -> Result<bool, Error> {
        match self.state.indices.get(&spec.index) {
            None => Ok(false),
            Some(kept) if kept.journal_id == spec.journal_id && kept.definition == spec.definition => {
                Ok(true)
            }
            Some(_) => Err(Error::Refused {
                code: "index-foreign",
                operation,
                reason: format!("the file holds '{}' of another journal or definition", spec.index),
                hint: "Give another file, or move this one and its state file away".to_owned(),
            }),
        }
    }
}

fn state_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".state.json");
    PathBuf::from(name)
}

fn read_state(path: &Path) -> io::Result<State> {
    let metadata = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
        other => other?,
    };
    if metadata.len() > STATE_BYTES_MAX {
        return Err(io::Error::other("the state file beside it is too large to be one"));
    }
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// Whole or not at all: an epoch that went back would let old lines look new.
fn write_state(path: &Path, state: &State) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".new");
    let partial = PathBuf::from(partial);
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Reads backwards in blocks: the file may be large, the last line rarely is.
fn end_of_last_line(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    const BLOCK_BYTES: u64 = 64 << 10;
    // Anything but a plain file (a pipe, /dev/null) has no end to look for.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BLOCK_BYTES as usize];
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        let block = &mut block[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn encode(documents: &[Document]) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(documents.iter().map(Document::size_bytes).sum());
    for document in documents {
        out.extend_from_slice(b"{\"_index\":");
        serde_json::to_writer(&mut out, &*document.index)?;
        out.extend_from_slice(b",\"_id\":");
        serde_json::to_writer(&mut out, &document.id)?;
        out.extend_from_slice(b",\"_version\":");
        serde_json::to_writer(&mut out, &document.version)?;
        match &document.action {
            Action::Index(body) => {
                out.extend_from_slice(b",\"_source\":");
                out.extend_from_slice(body);
            }
            Action::Delete => out.extend_from_slice(b",\"deleted\":true"),
        }
        out.extend_from_slice(b"}\n");
    }
    Ok(out)
}

impl Sink for Ndjson {
    fn check<'a>(&'a self, indices: &'a [IndexSpec]) -> Answer<'a, Vec<Error>> {
        Box::pin(async move {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            indices.iter().filter_map(|spec| inner.recognise("check the sink", spec).err()).collect()
        })
    }

    fn prepare<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<PreparedIndex, Error>> {
        Box::pin(async move {
            const OPERATION: &str = "prepare the ndjson file";
            let spec = spec.clone();
            self.blocking(OPERATION, move |inner| {
                Ok(match inner.recognise(OPERATION, &spec) {
                    Err(error) => Err(error),
                    Ok(known) => {
                        if !known {
                            inner.keep(&spec, Epoch(0))?;
                        }
                        Ok(inner.prepared(&spec.index, !known))
                    }
                })
            })
            .await?
        })
    }

    fn claim<'a>(&'a self, spec: &'a IndexSpec, epoch: Epoch) -> Answer<'a, Result<(), Error>> {
        let spec = spec.clone();
        Box::pin(self.blocking("claim the ndjson file", move |inner| inner.keep(&spec, epoch)))
    }

    fn look<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<Option<PreparedIndex>, Error>> {
        Box::pin(async move {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let known = inner.state.indices.contains_key(&spec.index);
            Ok(known.then(|| inner.prepared(&spec.index, false)))
        })
    }

    fn send<'a>(&'a self, documents: &'a [Document]) -> Answer<'a, Result<Vec<Outcome>, Error>> {
        Box::pin(async move {
            const OPERATION: &str = "write documents";
            let lines = encode(documents)
                .map_err(|error| Error::Retry { operation: OPERATION, reason: error.to_string() })?;
            self.blocking(OPERATION, move |inner| inner.write(&lines)).await?;
            Ok(vec![Outcome::Applied; documents.len()])
        })
    }

    fn refresh<'a>(&'a self, _spec: &'a IndexSpec) -> Answer<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// Lines name their index; there is no alias to lead.
    fn publish<'a>(&'a self, _spec: &'a IndexSpec) -> Answer<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// Lines are never taken back.
    fn prune<'a>(&'a self, _spec: &'a IndexSpec, _keep: u16) -> Answer<'a, Result<Vec<String>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use bytes::Bytes;

    use super::*;
    use crate::model::{Generation, Version};

    fn spec() -> IndexSpec {
        IndexSpec {
            projection: "orders".to_owned(),
            generation: Generation(1),
            index: "orders-7f3a-1".to_owned(),
            alias: "orders".to_owned(),
            mappings: serde_json::Value::Null,
            settings: serde_json::Value::Null,
            journal_id: "journal".to_owned(),
            definition: "definition".to_owned(),
        }
    }

    fn documents() -> [Document; 2] {
        let action = Action::Index(Bytes::from(r#"{"a":"ü\n"}"#));
        let index =
            Document { index: "orders-7f3a-1".into(), id: "1\"".to_owned(), version: Version(7), action };
        [index.clone(), Document { action: Action::Delete, version: Version(8), ..index }]
    }

    const LINES: &str = concat!(
        r#"{"_index":"orders-7f3a-1","_id":"1\"","_version":7,"_source":{"a":"ü\n"}}"#,
        "\n",
        r#"{"_index":"orders-7f3a-1","_id":"1\"","_version":8,"deleted":true}"#,
        "\n"
    );

    #[tokio::test]
    async fn documents_become_lines_of_json_in_a_file_of_the_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("documents.ndjson");
        let sink = Ndjson::file(&path).unwrap();
        assert_eq!(sink.send(&documents()).await.unwrap(), [Outcome::Applied, Outcome::Applied]);
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, LINES);
        written.lines().for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).unwrap()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_line_cut_short_by_a_crash_is_removed_and_whole_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("documents.ndjson");
        for torn in ["", "{\"_in", &"x".repeat(200_000)] {
            std::fs::write(&path, format!("{LINES}{torn}")).unwrap();
            Ndjson::file(&path).unwrap().send(&documents()).await.unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{LINES}{LINES}"));
        }
    }

    #[tokio::test]
    async fn the_epoch_survives_a_restart_and_another_journal_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("documents.ndjson");
        let sink = Ndjson::file(&path).unwrap();
        let prepared = sink.prepare(&spec()).await.unwrap();
        assert!(prepared.created && prepared.durable);
        sink.claim(&spec(), Epoch(3)).await.unwrap();
        let sink = Ndjson::file(&path).unwrap();
        let prepared = sink.prepare(&spec()).await.unwrap();
        assert_eq!((prepared.created, prepared.epoch), (false, Epoch(3)));
        let other = IndexSpec { journal_id: "other".to_owned(), ..spec() };
        assert!(matches!(sink.prepare(&other).await, Err(Error::Refused { code: "index-foreign", .. })));
        assert_eq!(sink.check(&[spec(), other]).await.len(), 1);
    }

    #[tokio::test]
    async fn standard_output_promises_nothing() {
        let sink = Ndjson::stdout();
        // An index that nobody has begun must not look like somebody's.
        assert!(sink.look(&spec()).await.unwrap().is_none());
        let prepared = sink.prepare(&spec()).await.unwrap();
        assert_eq!((prepared.epoch, prepared.durable), (Epoch(0), false));
        sink.claim(&spec(), Epoch(2)).await.unwrap();
        assert_eq!(sink.look(&spec()).await.unwrap().map(|looked| looked.epoch), Some(Epoch(2)));
        assert!(Ndjson::stdout().look(&spec()).await.unwrap().is_none(), "it remembers nothing");
    }

    #[test]
    fn what_cannot_be_opened_is_refused_with_its_place() {
        for path in ["/dev/null", "/nowhere/at/all.ndjson"] {
            let error = Ndjson::file(Path::new(path)).err().unwrap();
            assert!(error.to_string().contains(path), "{error}");
        }
    }
}
