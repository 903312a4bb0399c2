//! [`Spills`]: the bytes of derived files as temporary files, for readers that want their size, or a part of them.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::execution::SpillFile;
use futures::TryStreamExt;
use parking_lot::Mutex;
use tinyfs::{PondPath, Snapshot, Txn};
use uuid::Uuid;

use super::derived::{DerivedFile, DerivedFiles, Inputs, Sources};
use super::encode::{ByteStream, blocking};
use crate::error::{Error, ErrorKind, Result};

/// How many derived files are kept as bytes. Each is an open file.
const MAX_SPILLS: usize = 64;

/// The bytes of a derived file. The temporary file goes with the last that holds it.
pub(super) struct Spill {
    path: PondPath,
    file: Arc<dyn SpillFile>,
    place: PathBuf,
    size: u64,
    made: DateTime<Utc>,
    tag: Uuid,
    inputs: Inputs,
    /// The newest state that the inputs are known to be unchanged in: a reader asks for many ranges, and a check may expand globs.
    checked: Mutex<Option<Txn>>,
}

/// What a reader takes for the bytes of a derived file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What it is now: a reader begins.
    Newest,
    /// What it was when a reader began, where nobody can tell whether it has changed since.
    Begun,
}

/// Why a file has no bytes.
#[derive(Debug)]
pub(super) enum Unmade {
    /// There can be none: no encoding has a place for its name or columns, or it cannot be planned, say because what it reads is gone.
    Never(Error),
    /// Making them failed, which it need not the next time.
    Failed(Error),
}

impl Unmade {
    /// The error of what comes before the first row is computed.
    fn unplanned(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Unsupported
            | ErrorKind::NotFound
            | ErrorKind::WrongKind
            | ErrorKind::Plan
            | ErrorKind::TypeConflict => Self::Never(error),
            // A file of the host.
            _ if error.is_missing() => Self::Never(error),
            _ => Self::Failed(error),
        }
    }
}

impl From<Unmade> for Error {
    fn from(unmade: Unmade) -> Self {
        match unmade {
            Unmade::Never(error) | Unmade::Failed(error) => error,
        }
    }
}

impl Spill {
    /// Writes `bytes` to a temporary file, where DataFusion puts its own, and within the same limit. The plan of `derived` runs meanwhile,
    /// where they are made from its rows.
    async fn write(derived: DerivedFile, mut bytes: ByteStream) -> Result<Self> {
        let DerivedFile { path, context, .. } = &derived;
        let failed = {
            let path = path.clone();
            move |error: Error| {
                Error::new(error.kind(), format!("the bytes of '{path}' cannot be written to a temporary file"))
                    .with_path(&path)
                    .with_source(error)
            }
        };
        let disk = &context.runtime_env().disk_manager;
        let file = disk.create_tmp_file("writing the bytes of a file").map_err(|error| failed(error.into()))?;
        let place = file
            .path()
            .map(PathBuf::from)
            .ok_or_else(|| failed(Error::new(ErrorKind::Io, "the session's temporary files are not on a disk")))?;
        let mut writer = file.open_writer().map_err(|error| failed(error.into()))?;
        let mut size = 0;
        while let Some(chunk) = bytes.try_next().await? {
            size += chunk.len() as u64;
            writer = blocking(move || {
                writer.write_all(&chunk)?;
                Ok(writer)
            })
            .await
            .map_err(&failed)?;
        }
        blocking(move || Ok(writer.flush()?)).await.map_err(&failed)?;
        let DerivedFile { path, inputs, .. } = derived;
        let checked = Mutex::new(None);
        Ok(Self { path, file, place, size, made: Utc::now(), tag: Uuid::now_v7(), inputs, checked })
    }

    fn serves(&self, snapshot: &Snapshot, wanted: Wanted) -> Result<bool> {
        if self.inputs.sources() == Sources::Others && wanted == Wanted::Newest {
            return Ok(false);
        }
        let txn = Some(snapshot.txn());
        if *self.checked.lock() == txn {
            return Ok(true);
        }
        let unchanged = self.inputs.are_unchanged(snapshot)?;
        if unchanged {
            *self.checked.lock() = txn;
        }
        Ok(unchanged)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// When it was made: DataFusion takes what has the same name, size and time for the same bytes.
    pub(super) fn made(&self) -> DateTime<Utc> {
        self.made
    }

    pub(super) fn tag(&self) -> String {
        self.tag.simple().to_string()
    }

    pub(super) async fn read(self: &Arc<Self>, range: Range<u64>) -> Result<Bytes> {
        let spill = Arc::clone(self);
        blocking(move || {
            let read = || {
                let mut file = File::open(&spill.place)?;
                let _ = file.seek(SeekFrom::Start(range.start))?;
                let length = usize::try_from(range.end - range.start).map_err(std::io::Error::other)?;
                let mut bytes = vec![0; length];
                file.read_exact(&mut bytes)?;
                Ok(Bytes::from(bytes))
            };
            read().map_err(|error: std::io::Error| {
                let message = format!("the temporary file with the bytes of '{}' cannot be read", spill.path);
                Error::new(ErrorKind::Io, message).with_path(&spill.path).with_source(error)
            })
        })
        .await
    }
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.file.size();
        f.debug_struct("Spill").field("path", &self.path).field("size", &self.size).field("held", &held).finish()
    }
}

/// One path's bytes. The lock is held while they are made, so that readers that come together make them once.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Spill>>>>;

/// The bytes of the derived files that were asked for last. They are made anew when what they are made from has changed, and go
/// when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Spills(Mutex<Vec<(PondPath, Slot)>>);

impl Spills {
    /// The bytes of the derived file at `path`.
    pub(super) async fn get(
        &self,
        files: &dyn DerivedFiles,
        snapshot: &Snapshot,
        path: &PondPath,
        wanted: Wanted,
    ) -> Result<Arc<Spill>, Unmade> {
        let slot = self.slot(path);
        let mut slot = slot.lock().await;
        if let Some(spill) = &*slot
            && spill.serves(snapshot, wanted).map_err(Unmade::Failed)?
        {
            return Ok(Arc::clone(spill));
        }
        // The old bytes need not be there beside the new ones.
        *slot = None;
        let had = files.open(snapshot, path).await.map_err(Unmade::unplanned)?;
        let derived = files.plan(snapshot, path).await.map_err(Unmade::unplanned)?;
        // Bytes that something else has are taken as they are.
        let bytes = had.map_or_else(|| derived.bytes(), Ok).map_err(Unmade::unplanned)?;
        let spill = Arc::new(Spill::write(derived, bytes).await.map_err(Unmade::Failed)?);
        *slot = Some(Arc::clone(&spill));
        Ok(spill)
    }

    /// The place of a path, which has been used last from now on.
    fn slot(&self, path: &PondPath) -> Slot {
        let mut slots = self.0.lock();
        let known = slots.iter().position(|(known, _)| known == path);
        let slot = known.map_or_else(Slot::default, |at| slots.remove(at).1);
        if slots.len() == MAX_SPILLS {
            let _ = slots.remove(0);
        }
        slots.push((path.clone(), Arc::clone(&slot)));
        slot
    }
}
