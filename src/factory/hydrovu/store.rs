//! [`Store`]: where readings go.

use async_trait::async_trait;

use super::merge::Rows;
use super::model::Location;
use crate::error::Result;

/// How the name of a series ends.
pub(super) const SERIES: &str = ".series";

/// The directory of an entry, as a run sees it.
#[async_trait]
pub(super) trait Store: Send + Sync {
    /// The last second that any series of the device has.
    async fn series_end(&self, device: &str) -> Result<Option<i64>>;

    /// Adds rows that are later than all there are to the device's series: all of them or none.
    async fn append(&self, device: &Location, rows: Rows) -> Result<()>;

    /// Keeps the list of devices, where it is another than before.
    async fn keep_locations(&self, locations: &[Location]) -> Result<()>;

    /// Tells how far a device is: pages read, rows written, readings held.
    fn progress(&self, device: &str, pages: u64, rows: u64, held: usize);
}

/// The name of a device's series, fit for a path.
pub(super) fn series_name(device: &str) -> String {
    let mut name: String = device.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
    while name.len() + SERIES.len() > tinyfs::MAX_NAME_BYTES {
        let _ = name.pop();
    }
    if name.is_empty() {
        name.push_str("device");
    }
    name + SERIES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_are_names_of_files() {
        assert_eq!(series_name("BDockVulink"), "BDockVulink.series");
        assert_eq!(series_name("a/../b\n"), "a_.._b_.series");
        assert_eq!(series_name(""), "device.series");
        assert_eq!(series_name(&"ä".repeat(200)).len(), 255);
    }
}
