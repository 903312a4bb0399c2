//! [`StoreFiles`]: what is outside of the pond, through the object stores of a session.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::execution::runtime_env::RuntimeEnv;
use tinyfs::{Bytestream, Child, Outside};

use crate::provider::HostFiles;
use crate::provider::folder::Folder;

/// Folders of the host and of object stores, as far as statements may reach them.
#[derive(Debug)]
pub struct StoreFiles {
    host_files: HostFiles,
    /// Which stores there are; DataFusion's own without a session.
    runtime: OnceLock<Arc<RuntimeEnv>>,
}

impl StoreFiles {
    /// Files that may be reached as `host_files` says.
    pub fn new(host_files: HostFiles) -> Self {
        Self { host_files, runtime: OnceLock::new() }
    }

    /// Tells the stores of the session. The first who says so is believed.
    pub fn attach(&self, runtime: &Arc<RuntimeEnv>) {
        let _ = self.runtime.set(Arc::clone(runtime));
    }

    fn runtime(&self) -> &Arc<RuntimeEnv> {
        self.runtime.get_or_init(Arc::default)
    }
}

#[async_trait]
impl Outside for StoreFiles {
    fn check_host(&self, what: &str) -> tinyfs::Result<()> {
        match self.host_files {
            HostFiles::Allowed => Ok(()),
            HostFiles::Refused => Err(tinyfs::Error::new(
                tinyfs::ErrorKind::Unsupported,
                format!("'{what}' is outside of the pond, and host files are switched off"),
            )),
        }
    }

    async fn list(&self, folder: &str, pattern: &str) -> tinyfs::Result<Vec<Child>> {
        self.check_host(folder)?;
        Folder::open(self.runtime(), folder)?.list(pattern).await
    }

    async fn open(&self, folder: &str, name: &str) -> tinyfs::Result<Bytestream> {
        self.check_host(folder)?;
        Folder::open(self.runtime(), folder)?.bytes(name).await
    }
}
