//! [`Folder`]: a folder of the host, or of an object store.

use std::sync::Arc;

use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tinyfs::{Bytestream, Child, Error, ErrorKind, Glob, PondPath, Result};
use url::Url;

use super::host::{HostGlob, expand_home, is_folder_name, is_host_name, is_url, local_url, matching, without_braces};
use super::host_listing::{NO_FILE, is_no_file};

/// A folder of the host, or of an object store, by the name that was typed.
pub(crate) struct Folder {
    name: String,
    pub(crate) url: ListingTableUrl,
    pub(crate) store: Arc<dyn ObjectStore>,
}

impl Folder {
    /// The folder that `name` names: `./data`, `~/data`, `.`, `file:///data`, `s3://bucket/data`. Nothing is looked at yet.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a name that is none, and for a store that is not registered.
    pub(crate) fn open(runtime: &RuntimeEnv, name: &str) -> Result<Self> {
        let refused = || Error::new(ErrorKind::Unsupported, format!("'{name}' is no folder outside of the pond"));
        let because =
            |why: &str| Error::new(ErrorKind::Unsupported, format!("'{name}' is no folder outside of the pond: {why}"));
        if !is_folder_name(name) {
            return Err(because("write './…', '~/…', or a URL such as 'file:///…'"));
        }
        // A folder's own name may do without the `/` that tells a host name.
        let text = if is_host_name(name) { name.to_owned() } else { format!("{name}/") };
        let text = expand_home(&text).map_err(|error| refused().with_source(error))?;
        let mut url = if is_url(&text) {
            Url::parse(&text.replace('?', "%3F")).map_err(|error| refused().with_source(error))?
        } else {
            local_url(&text, name).map_err(|error| refused().with_source(error))?
        };
        let _ = url.path_segments_mut().map_err(|()| because("it is a URL without a path"))?.pop_if_empty().push("");
        let url = ListingTableUrl::try_new(url, None).map_err(|error| refused().with_source(error))?;
        let store = runtime.object_store(&url).map_err(|error| {
            Error::new(ErrorKind::Unsupported, format!("no store is set up for '{name}'")).with_source(error)
        })?;
        Ok(Self { name: name.to_owned(), url, store })
    }

    /// The files whose path below the folder matches `pattern`, by name.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a folder of the host that is not there; [`InvalidGlob`](ErrorKind::InvalidGlob);
    /// [`Io`](ErrorKind::Io).
    pub(crate) async fn list(&self, pattern: &str) -> Result<Vec<Child>> {
        self.check().await?;
        let captures = Glob::parse_relative(&PondPath::root(), pattern)?;
        let unread = |error: crate::error::Error| {
            Error::new(ErrorKind::Io, format!("cannot list '{}'", self.name)).with_source(error)
        };
        let listing = self.url.clone().with_glob(&without_braces(pattern)).map_err(|error| unread(error.into()))?;
        let glob = HostGlob { listing, captures };
        let mut children = Vec::new();
        for meta in matching(self.store.as_ref(), &glob.listing, &self.name).await.map_err(unread)? {
            let Some(parts) = glob.listing.strip_prefix(&meta.location) else { continue };
            let name = parts.collect::<Vec<_>>().join("/");
            if glob.captures.matches(&PondPath::root().join(&name)?)?.is_some() {
                children.push(Child { name, size: Some(meta.size), modified: Some(meta.last_modified) });
            }
        }
        children.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(children)
    }

    /// What the store says of a file.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io).
    pub(crate) async fn meta(&self, name: &str) -> Result<ObjectMeta> {
        let location = self.location(name)?;
        self.check_file(name, &location).await?;
        self.store.head(&location).await.map_err(|error| self.failed(name, error))
    }

    /// The bytes of a file, piece by piece.
    ///
    /// # Errors
    /// As [`meta`](Self::meta), here and in the stream.
    pub(crate) async fn bytes(&self, name: &str) -> Result<Bytestream> {
        let location = self.location(name)?;
        self.check_file(name, &location).await?;
        let found = self.store.get(&location).await.map_err(|error| self.failed(name, error))?;
        let label = self.label(name);
        let failed = move |error| Error::new(ErrorKind::Io, format!("cannot read '{label}'")).with_source(error);
        Ok(found.into_stream().map(move |piece| piece.map_err(&failed)).boxed())
    }

    /// What messages call a file.
    pub(crate) fn label(&self, name: &str) -> String {
        format!("{}/{name}", self.name.trim_end_matches('/'))
    }

    fn location(&self, name: &str) -> Result<Path> {
        let prefix = self.url.prefix().as_ref();
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        Path::parse(path).map_err(|error| {
            Error::new(ErrorKind::NotFound, format!("'{}' is no file", self.label(name))).with_source(error)
        })
    }

    /// An object store has no folders, so that nothing can be missing there.
    async fn check(&self) -> Result<()> {
        if self.url.scheme() != "file" {
            return Ok(());
        }
        let url: &Url = self.url.get_url();
        let path = url
            .to_file_path()
            .map_err(|()| Error::new(ErrorKind::NotFound, format!("there is no folder '{}'", self.name)))?;
        match tokio::fs::metadata(&path).await {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(self.is_a_file()),
            // Of the path with `/` behind it.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Err(self.is_a_file()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::new(ErrorKind::NotFound, format!("there is no folder '{}'", self.name)))
            }
            Err(error) => Err(Error::new(ErrorKind::Io, format!("cannot list '{}'", self.name)).with_source(error)),
        }
    }

    /// Refuses what the store would wait for.
    async fn check_file(&self, name: &str, location: &Path) -> Result<()> {
        match is_no_file(&self.url, location).await {
            true => Err(Error::new(ErrorKind::Io, format!("cannot read '{}': {NO_FILE}", self.label(name)))),
            false => Ok(()),
        }
    }

    fn is_a_file(&self) -> Error {
        Error::new(ErrorKind::NotADirectory, format!("'{}' is a file, not a folder", self.name))
    }

    fn failed(&self, name: &str, error: object_store::Error) -> Error {
        let label = self.label(name);
        match error {
            object_store::Error::NotFound { .. } => {
                Error::new(ErrorKind::NotFound, format!("there is no file '{label}'"))
            }
            error => Error::new(ErrorKind::Io, format!("cannot read '{label}'")).with_source(error),
        }
    }
}
