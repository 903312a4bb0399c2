//! [`FolderReader`]: how the files of a folder are read, whatever their formats.

use std::sync::Arc;

use datafusion::catalog::{Session, TableProvider};
use tinyfs::PondPath;

use super::folder::Folder;
use super::format::{ReaderOptions, SourceFile, Wanted, check_known, detect, known_to, wanted_format};
use super::host::{HostFile, describe};
use super::scan_part::{PartOrigin, ScanPart};
use super::table_provider::{FileTableProvider, HostScanSpec};
use crate::error::{Error, Result};

/// How the files of a folder are read. Each format takes the options that it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct FolderReader {
    /// The format of all files, where it is not told by content and name.
    pub(crate) format: Option<String>,
    /// The options of readers.
    pub(crate) options: Vec<(String, String)>,
}

impl FolderReader {
    /// Checks format and options.
    ///
    /// # Errors
    /// The option that is wrong, and why.
    pub(crate) fn check(&self) -> Result<(), (String, Error)> {
        let format = self.format.as_deref().map(wanted_format).transpose();
        let format = format.map_err(|error| ("format".to_owned(), error))?;
        for (name, value) in &self.options {
            let checked = ReaderOptions::from_pairs([(name.clone(), value.clone())]).and_then(|options| match format {
                Some(format) => format.check_options(&options),
                None => check_known(&options),
            });
            checked.map_err(|error| (name.clone(), error))?;
        }
        Ok(())
    }

    /// The file `name` below the folder at `location`, as it is now.
    ///
    /// # Errors
    /// As [`host_table`](super::host_table).
    pub(crate) async fn table(
        &self,
        session: &dyn Session,
        location: &str,
        name: &str,
    ) -> Result<Arc<dyn TableProvider>> {
        let folder = Folder::open(session.runtime_env(), location)?;
        let meta = folder.meta(name).await?;
        let wanted = match &self.format {
            Some(_) => self.wanted(|_| true)?,
            None => {
                let source = SourceFile { store: &folder.store, meta: &meta, session, whole: false };
                let found = detect(&source, name, &Wanted::default()).await?;
                // Of what is no table, reading it says so.
                self.wanted(|option| found.as_ref().is_none_or(|found| known_to(found.format, option)))?
            }
        };
        let file = HostFile::named(meta, &folder.label(name));
        let attributes = describe(session, &folder.store, &file, &wanted).await?;
        let schema = Arc::clone(&attributes.schema);
        let mut parts = vec![ScanPart {
            origin: PartOrigin::Host { meta: file.meta, label: file.label },
            attributes: Arc::new(attributes),
            captures: Arc::new([]),
            values: Arc::new([]),
            others: 0,
        }];
        parts.retain(|part| part.attributes.rows() != Some(0));
        let spec = HostScanSpec {
            parts,
            schema,
            capture_columns: Vec::new(),
            value_columns: Vec::new(),
            meta: false,
            store: folder.url.object_store(),
        };
        Ok(Arc::new(FileTableProvider::over_host(spec)?))
    }

    /// How bytes are read that are stored at `path`: by the format that was named, or the one that the name tells.
    ///
    /// # Errors
    /// None, where [`check`](Self::check) found none.
    pub(crate) fn wanted_for(&self, path: &PondPath) -> Result<Wanted> {
        let by_name = super::format::by_name(path.name().unwrap_or_default());
        self.wanted(|option| self.format.is_some() || by_name.is_some_and(|format| known_to(format, option)))
    }

    fn wanted(&self, takes: impl Fn(&str) -> bool) -> Result<Wanted> {
        let options = self.options.iter().filter(|(name, _)| takes(name)).cloned();
        let format = self.format.as_deref().map(wanted_format).transpose()?;
        Ok(Wanted { format, options: ReaderOptions::from_pairs(options)? })
    }
}
