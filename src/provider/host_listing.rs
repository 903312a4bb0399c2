//! What in the folders of the host is no file, and links that lead in circles, at which the store's own listing fails as a whole.

use std::fs::Metadata;
use std::path::{Path as HostPath, PathBuf};

use chrono::{DateTime, Utc};
use datafusion::datasource::listing::ListingTableUrl;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use super::host::LOOKED_AT_ONCE;

/// Why a pipe, a socket and a device are not opened: who opens them may wait for ever.
pub(super) const NO_FILE: &str = "it is no regular file";

/// How far a listing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What is in the folder itself.
    One,
    /// All files below it.
    All,
}

/// Whether the host has a pipe, a socket or a device at `location`. None of them has a size.
pub(super) async fn is_no_file(place: &ListingTableUrl, location: &Path) -> bool {
    match host_path(place, location) {
        Some(path) => tokio::fs::metadata(path).await.is_ok_and(|found| !found.is_file() && !found.is_dir()),
        None => false,
    }
}

/// What is in the folder of the host at `location`, without the links that lead nowhere or back to a folder that they are in; `None` where
/// that fails too, and for other stores than that of the host.
pub(super) async fn list_without_circles(
    store: &dyn ObjectStore,
    place: &ListingTableUrl,
    location: &Path,
    depth: Depth,
) -> Option<ListResult> {
    let folder = host_path(place, location)?;
    let found = tokio::task::spawn_blocking(move || walk(&folder, depth)).await.ok()?.ok()?;
    let mut listed = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
    for folder in &found.folders {
        listed.common_prefixes.push(Path::from_absolute_path(folder).ok()?);
    }
    let files = stream::iter(found.files).map(|(file, metadata)| look_at(store, file, metadata));
    let looked_at: Vec<Option<ObjectMeta>> = files.buffered(LOOKED_AT_ONCE).collect().await;
    listed.objects = looked_at.into_iter().collect::<Option<_>>()?;
    Some(listed)
}

/// What the store tells of a file.
async fn look_at(store: &dyn ObjectStore, file: PathBuf, metadata: Metadata) -> Option<ObjectMeta> {
    let location = Path::from_absolute_path(file).ok()?;
    // Opens it. What cannot be opened is listed all the same, for who reads it to say so.
    let known = if metadata.is_file() { store.head(&location).await.ok() } else { None };
    let last_modified: DateTime<Utc> = metadata.modified().ok()?.into();
    let unknown = ObjectMeta { location, last_modified, size: metadata.len(), e_tag: None, version: None };
    Some(known.unwrap_or(unknown))
}

/// Where the host has what the store calls `location`.
fn host_path(place: &ListingTableUrl, location: &Path) -> Option<PathBuf> {
    let mut url: Url = place.get_url().clone();
    if url.scheme() != "file" {
        return None;
    }
    let _ = url.path_segments_mut().ok()?.clear().extend(location.parts());
    url.to_file_path().ok()
}

/// What is in a folder.
#[derive(Debug, Default)]
struct Found {
    files: Vec<(PathBuf, Metadata)>,
    folders: Vec<PathBuf>,
}

fn walk(root: &HostPath, depth: Depth) -> std::io::Result<Found> {
    let mut found = Found::default();
    // Each with the folders that it is in, from the root on, under the paths that no link is part of.
    let mut open = vec![(root.to_owned(), vec![root.canonicalize()?])];
    while let Some((folder, around)) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let metadata = match std::fs::metadata(&path) {
                Ok(metadata) => metadata,
                // What it leads to may have rows, where it only must not be looked at.
                Err(error) if path.is_symlink() && error.kind() != std::io::ErrorKind::PermissionDenied => {
                    leave_out(&path, &error.to_string());
                    continue;
                }
                // It went since the folder was read.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if !metadata.is_dir() {
                // As the store does: it lists what is no file in one folder, and passes over it in all below.
                if depth == Depth::One || metadata.is_file() {
                    found.files.push((path, metadata));
                }
                continue;
            }
            let real = path.canonicalize()?;
            if around.contains(&real) {
                leave_out(&path, "it leads back to a folder that it is in");
            } else if depth == Depth::All {
                let around = around.iter().cloned().chain([real]).collect();
                open.push((path, around));
            } else {
                found.folders.push(path);
            }
        }
    }
    Ok(found)
}

fn leave_out(link: &HostPath, why: &str) {
    tracing::warn!(link = %link.display(), why, "a link is left out of a listing");
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use object_store::local::LocalFileSystem;

    use super::*;

    #[tokio::test]
    async fn links_in_circles_are_left_out_and_what_is_no_file_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("one.csv"), "n\n1\n").unwrap();
        std::fs::write(root.join("a/b/two.csv"), "n\n2\n").unwrap();
        symlink(".", root.join("self")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("gone", root.join("gone")).unwrap();
        symlink("../..", root.join("a/b/up")).unwrap();
        symlink("a/b", root.join("there")).unwrap();
        let _socket = UnixListener::bind(root.join("socket")).unwrap();
        let store = LocalFileSystem::new();
        let place = ListingTableUrl::parse(format!("file://{}/", root.display())).unwrap();
        let location = |name: &str| Path::from_absolute_path(root.join(name)).unwrap();
        let names = |paths: Vec<Path>| {
            let below = place.prefix().as_ref().len() + 1;
            let mut names: Vec<String> = paths.iter().map(|path| path.as_ref()[below..].to_owned()).collect();
            names.sort();
            names
        };
        let one = list_without_circles(&store, &place, place.prefix(), Depth::One).await.unwrap();
        assert_eq!(names(one.common_prefixes), ["a", "there"]);
        assert_eq!(names(one.objects.into_iter().map(|meta| meta.location).collect()), ["one.csv", "socket"]);
        let all = list_without_circles(&store, &place, place.prefix(), Depth::All).await.unwrap();
        for meta in &all.objects {
            assert_eq!(*meta, store.head(&meta.location).await.unwrap(), "as the store tells it");
        }
        let files = names(all.objects.into_iter().map(|meta| meta.location).collect());
        assert_eq!(files, ["a/b/two.csv", "one.csv", "there/two.csv"]);
        // More than are looked at at once.
        let expected: Vec<String> = (100..100 + 3 * LOOKED_AT_ONCE).map(|number| format!("a/{number}.csv")).collect();
        for name in &expected {
            std::fs::write(root.join(name), name).unwrap();
        }
        let listed = list_without_circles(&store, &place, &location("a"), Depth::One).await.unwrap();
        for meta in &listed.objects {
            assert_eq!(*meta, store.head(&meta.location).await.unwrap(), "in its place");
        }
        assert_eq!(names(listed.objects.into_iter().map(|meta| meta.location).collect()), expected);
        for (name, expected) in [("socket", true), ("one.csv", false), ("a", false), ("none", false)] {
            assert_eq!(is_no_file(&place, &location(name)).await, expected, "{name}");
        }
    }
}
