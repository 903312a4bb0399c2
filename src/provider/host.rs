//! Host files and URLs as tables: read-only, globs allowed.

use std::sync::Arc;

use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::datasource::listing::ListingTableUrl;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tinyfs::{Captures, Glob, PondPath};
use url::Url;

use super::attributes::PartAttributes;
use super::format::{SourceFile, Wanted, known_extensions};
use super::host_delta::{delta_table, delta_tables, is_delta_table};
use super::host_listing::{Depth, NO_FILE, is_no_file, list_without_circles};
use super::inspect::{describe_file, failure_among};
use super::listed_for;
use super::scan_part::{Captured, PartOrigin, ScanPart};
use super::schema_merge::{Origin, SchemaMerge};
use super::table_provider::{FileTableProvider, HostScanSpec};
use crate::error::{Error, ErrorKind, Result};

/// How many files are looked at at once.
pub(super) const LOOKED_AT_ONCE: usize = 16;

/// Whether names such as `./x.csv` may reach the host's files and URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostFiles {
    /// They may, for reading.
    #[default]
    Allowed,
    /// They are refused.
    Refused,
}

/// Whether `name` is that of a host file or URL rather than a pond path: it begins with `./`, `../`, `~/` or a scheme and `://`.
pub fn is_host_name(name: &str) -> bool {
    let scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    name.starts_with("./")
        || name.starts_with("../")
        || name.starts_with("~/")
        || name.split_once("://").is_some_and(|(before, _)| scheme(before))
}

/// Whether `name` is that of a folder outside of the pond: as [`is_host_name`], and `.`, `..` and `~`, which are `./`, `../` and `~/`.
pub(crate) fn is_folder_name(name: &str) -> bool {
    is_host_name(name) || matches!(name, "." | ".." | "~")
}

/// What is asked of host files.
#[derive(Debug, Clone, Default)]
pub struct HostRequest {
    /// The format, where it is not told by content and name.
    pub format: Option<String>,
    /// Options of the format's reader, by name.
    pub options: Vec<(String, String)>,
    /// The version of a Delta table; the newest if `None`.
    pub version: Option<u64>,
    /// The time that a Delta table is wanted of, as RFC 3339 writes it, in place of a version.
    pub as_of: Option<String>,
    /// Whether `_path`, `_name`, `_modified`, and `_1`, `_2`, … for wildcards are columns too.
    pub meta: bool,
}

/// The files that `name` names as one read-only table. The format is told by what a file begins with, then by its extension. Files of a
/// glob are merged by column name, whatever the format of each; a file whose own name is that of the glob comes before them.
/// `{name}` in a glob matches as `*` does and makes a column. A glob that matches no file is one over the Delta tables whose directories it
/// matches.
///
/// # Errors
/// [`Io`](ErrorKind::Io) for a missing file and for a glob without a match, [`NotFound`](ErrorKind::NotFound) for a store that is not registered, naming it;
/// [`Unsupported`](ErrorKind::Unsupported) for another format; [`TypeConflict`](ErrorKind::TypeConflict); [`Usage`](ErrorKind::Usage) for options;
/// [`Corrupt`](ErrorKind::Corrupt) for a file that is not of its format.
pub async fn host_table(session: &dyn Session, name: &str, request: &HostRequest) -> Result<Arc<dyn TableProvider>> {
    let place = Place::parse(name)?;
    let wanted = request.wanted()?;
    let store = session.runtime_env().object_store(&place.file).map_err(|error| {
        Error::new(ErrorKind::NotFound, format!("no store is set up for '{name}'")).with_source(error)
    })?;
    if is_no_file(&place.file, place.file.prefix()).await {
        return Err(no_file(name));
    }
    if is_delta_table(store.as_ref(), &place, name, request).await? {
        return Box::pin(delta_table(session, &store, &place, name, request)).await;
    }
    let files = if request.is_delta() { Vec::new() } else { find(store.as_ref(), &place, name).await? };
    if let Some(glob) = place.glob.as_ref().filter(|_| files.is_empty() && request.may_be_delta()) {
        return Box::pin(delta_tables(session, &store, &place, glob, name, request)).await;
    }
    if request.version.is_some() || request.as_of.is_some() {
        let message =
            format!("'{name}' is a host file: 'version' and 'as_of' are for files of the pond and Delta tables");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if files.is_empty() {
        return Err(no_match(name));
    }
    let captures = match &place.glob {
        Some(_) if files.iter().any(|file| file.is_named) => None,
        glob => glob.as_ref().map(|glob| &glob.captures),
    };
    let capture_columns = captures.map(|glob| capture_columns(glob, request)).unwrap_or_default();
    let look = |file: HostFile| {
        let (store, wanted, place) = (&store, &wanted, &place);
        async move {
            if file.meta.size == 0 && is_no_file(&place.file, &file.meta.location).await {
                return Err(no_file(&file.label));
            }
            let found = describe(session, store, &file, wanted).await;
            found.map(|attributes| (file, attributes))
        }
    };
    let described: Vec<_> = stream::iter(files).map(look).buffered(LOOKED_AT_ONCE).collect().await;
    let (mut merge, mut failures) = (SchemaMerge::default(), Vec::new());
    let mut parts = Vec::with_capacity(described.len());
    for described in described {
        match described {
            Err(error) => failures.push(error),
            Ok((file, attributes)) => {
                merge.add(&attributes.schema, || Origin { name: file.label.to_string(), version: None })?;
                let captures = captured(file.captures, request);
                let origin = PartOrigin::Host { meta: file.meta, label: file.label };
                parts.push(ScanPart {
                    origin,
                    attributes: Arc::new(attributes),
                    captures,
                    values: Arc::new([]),
                    others: 0,
                });
            }
        }
    }
    if let Some(failure) = failure_among(failures, labels(&parts)) {
        return Err(failure);
    }
    parts.retain(|part| part.attributes.rows() != Some(0));
    let spec = HostScanSpec {
        parts,
        schema: merge.schema(),
        capture_columns,
        value_columns: Vec::new(),
        meta: request.meta,
        store: place.file.object_store(),
    };
    Ok(Arc::new(FileTableProvider::over_host(spec)?))
}

/// What a file tells of itself.
pub(super) async fn describe(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    file: &HostFile,
    wanted: &Wanted,
) -> Result<PartAttributes> {
    let source = SourceFile { store, meta: &file.meta, session, whole: false };
    match describe_file(&source, file.meta.location.filename().unwrap_or_default(), wanted).await {
        Ok(Some(attributes)) => Ok(attributes),
        Ok(None) => {
            let message = format!("'{}' has no known extension: they are {}", file.label, known_extensions());
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        Err(error) if error.kind() == ErrorKind::Usage => Err(error),
        Err(error) => Err(Error::new(error.kind(), format!("cannot read '{}'", file.label)).with_source(error)),
    }
}

/// The error for what is no file on the host, and is not opened.
fn no_file(label: &str) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read '{label}': {NO_FILE}"))
}

/// The columns of what a glob captures: without metadata the named ones alone.
pub(super) fn capture_columns(glob: &Glob, request: &HostRequest) -> Vec<Arc<str>> {
    let mut columns = glob.capture_names().to_vec();
    if request.meta {
        columns.extend((1..=glob.positional_count()).map(|number| Arc::from(format!("_{number}"))));
    }
    columns
}

/// The texts of those.
pub(super) fn captured(captures: Captures, request: &HostRequest) -> Captured {
    let named = captures.named.into_iter().map(Some);
    if request.meta { named.chain(captures.positional).collect() } else { named.collect() }
}

/// What messages call the files.
pub(super) fn labels(parts: &[ScanPart]) -> impl Iterator<Item = &Arc<str>> {
    parts.iter().filter_map(|part| match &part.origin {
        PartOrigin::Host { label, .. } => Some(label),
        PartOrigin::Pond { .. } => None,
    })
}

/// The error for a glob that no file matches.
pub(super) fn no_match(name: &str) -> Error {
    Error::new(ErrorKind::Io, format!("no file matches '{name}'")).for_missing_file()
}

/// `name` with the home directory in place of a `~` at its start.
pub(crate) fn expand_home(name: &str) -> Result<String> {
    let Some(rest) = name.strip_prefix("~/") else { return Ok(name.to_owned()) };
    let home = std::env::var("HOME")
        .map_err(|error| Error::new(ErrorKind::Usage, "'~' needs HOME to be set").with_source(error))?;
    Ok(format!("{}/{rest}", home.trim_end_matches('/')))
}

/// Whether a host name, with its `~` replaced, is a URL rather than a path of the host.
pub(crate) fn is_url(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
}

/// What a name may stand for.
pub(super) struct Place {
    /// The file of exactly this name.
    pub(super) file: ListingTableUrl,
    /// Where the name has a wildcard: what it stands for then.
    pub(super) glob: Option<HostGlob>,
}

/// A directory, and a glob below it.
pub(super) struct HostGlob {
    /// Lists the files that may match.
    pub(super) listing: ListingTableUrl,
    /// Decides, by the path below the directory, and has the captures.
    pub(super) captures: Glob,
}

impl Place {
    fn parse(name: &str) -> Result<Self> {
        let bad = |error: DataFusionError| {
            Error::new(ErrorKind::Syntax, format!("'{name}' names no file")).with_source(error)
        };
        let refused = |why: &str| Err(Error::new(ErrorKind::Syntax, format!("'{name}' names no file: {why}")));
        let text = expand_home(name)?;
        let authority = if is_url(&text) { text.find("://").map_or(0, |at| at + 3) } else { 0 };
        let wildcard = text[authority..].find(['*', '?', '[', '{']).map(|at| at + authority);
        let file = if is_url(&text) {
            let url =
                Url::parse(&text.replace('?', "%3F")).map_err(|error| bad(DataFusionError::External(error.into())))?;
            if url.fragment().is_some() {
                return refused("a '#' in a URL is written '%23'");
            }
            ListingTableUrl::try_new(url, None).map_err(bad)?
        } else if wildcard.is_some() {
            ListingTableUrl::try_new(local_url(&text, name)?, None).map_err(bad)?
        } else {
            ListingTableUrl::parse(&text).map_err(bad)?
        };
        let Some(wildcard) = wildcard else { return Ok(Self { file, glob: None }) };
        let base = text[..wildcard].rfind('/').map_or(wildcard, |slash| slash + 1);
        if text[base..].split('/').any(|component| matches!(component, "." | "..")) {
            return refused("'.' and '..' cannot come after a wildcard");
        }
        let captures = Glob::parse_relative(&PondPath::root(), &text[base..])?;
        let listed = without_braces(&text[base..]);
        let listing = ListingTableUrl::parse(&text[..base]).and_then(|url| url.with_glob(&listed)).map_err(bad)?;
        Ok(Self { file, glob: Some(HostGlob { listing, captures }) })
    }
}

/// A glob with `*` for what stands in braces: DataFusion lists with it, and knows no braces.
pub(super) fn without_braces(glob: &str) -> String {
    let mut listed = String::with_capacity(glob.len());
    let mut rest = glob;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else { break };
        listed.push_str(&rest[..open]);
        listed.push('*');
        rest = &rest[open + close + 1..];
    }
    listed.push_str(rest);
    listed
}

/// The URL of a path of the host, every character of it taken as it is.
pub(super) fn local_url(path: &str, name: &str) -> Result<Url> {
    let bad = || Error::new(ErrorKind::Syntax, format!("'{name}' names no file"));
    let absolute = std::path::absolute(path).map_err(|error| bad().with_source(error))?;
    let url = Url::from_file_path(absolute).map_err(|()| bad())?;
    // Parsed again, which resolves `..`.
    Url::parse(url.as_str()).map_err(|error| bad().with_source(error))
}

/// One of the files that a name stands for.
pub(super) struct HostFile {
    pub(super) meta: ObjectMeta,
    /// What messages call it: the name that was typed, or for one of a glob or a Delta table its absolute path or URL.
    pub(super) label: Arc<str>,
    captures: Captures,
    /// Whether its own name was typed.
    is_named: bool,
}

impl HostFile {
    pub(super) fn named(meta: ObjectMeta, name: &str) -> Self {
        Self { meta, label: name.into(), captures: Captures::default(), is_named: true }
    }

    fn of_glob(place: &Place, meta: ObjectMeta, captures: Captures) -> Result<Self> {
        let label = label(&place.file, &meta.location)?;
        Ok(Self { meta, label: label.into(), captures, is_named: false })
    }
}

/// What messages call the file at `location` in the store of `place`: its absolute path, or its URL.
pub(super) fn label(place: &ListingTableUrl, location: &Path) -> Result<String> {
    let url = file_url(place, location)?;
    Ok(if url.scheme() == "file" { format!("/{location}") } else { url.as_str().to_owned() })
}

/// The URL of the file at `location` in the store of `place`.
pub(super) fn file_url(place: &ListingTableUrl, location: &Path) -> Result<ListingTableUrl> {
    let unnamed = || Error::new(ErrorKind::Unsupported, format!("no URL can name the file '{location}'"));
    let mut url: Url = place.get_url().clone();
    // Segment by segment, for a `%` and a `\` in a file's name stand for themselves.
    let _ = url.path_segments_mut().map_err(|()| unnamed())?.clear().extend(location.parts());
    let url = ListingTableUrl::try_new(url, None).map_err(|error| unnamed().with_source(error))?;
    if url.prefix() == location { Ok(url) } else { Err(unnamed()) }
}

/// The files there, by path; none where a glob matches none. Asks the store anew each time: DataFusion's listing cache would hide files that came later.
async fn find(store: &dyn ObjectStore, place: &Place, name: &str) -> Result<Vec<HostFile>> {
    if place.glob.is_none() && place.file.is_collection() {
        return Err(Error::new(
            ErrorKind::WrongKind,
            format!("'{name}' is a directory: name files in it, as '{}/*.csv'", name.trim_end_matches('/')),
        ));
    }
    match (store.head(place.file.prefix()).await, &place.glob) {
        (Ok(meta), _) => Ok(vec![HostFile::named(meta, name)]),
        (Err(object_store::Error::NotFound { .. }), None) => {
            Err(Error::new(ErrorKind::Io, format!("there is no file '{name}'")).for_missing_file())
        }
        (Err(object_store::Error::NotFound { .. }), Some(glob)) => {
            let mut listed = matching(store, &glob.listing, name).await?;
            listed.sort_by(|a, b| a.location.cmp(&b.location));
            let mut files = Vec::with_capacity(listed.len());
            for meta in listed {
                if let Some(captures) = captures(glob, &meta.location)? {
                    files.push(HostFile::of_glob(place, meta, captures)?);
                }
            }
            Ok(files)
        }
        (Err(error), _) => Err(unreadable(name, error)),
    }
}

/// What the glob captures of the file at `location`; `None` where it does not match after all.
pub(super) fn captures(glob: &HostGlob, location: &Path) -> Result<Option<Captures>> {
    let Some(below) = glob.listing.strip_prefix(location) else { return Ok(None) };
    let below = PondPath::parse(&format!("/{}", below.collect::<Vec<_>>().join("/")))?;
    Ok(glob.captures.matches(&below)?)
}

fn unreadable(name: &str, error: object_store::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read '{name}'")).with_source(error)
}

/// The files below the directory of `source` that its glob matches.
pub(super) async fn matching(store: &dyn ObjectStore, source: &ListingTableUrl, name: &str) -> Result<Vec<ObjectMeta>> {
    let Some(glob) = source.get_glob() else { return Ok(Vec::new()) };
    if glob.as_str().contains("**") {
        let (below, glob) = (source.clone(), glob.clone());
        let matches = move |path: &Path| {
            let below = below.strip_prefix(path).map(|parts| parts.collect::<Vec<_>>().join("/"));
            below.is_some_and(|below| glob.matches(&below))
        };
        let wanted: Arc<listed_for::Wanted> = Arc::new(matches.clone());
        let listed = listed_for::begin_listing(wanted, || store.list(Some(source.prefix())));
        let listed = listed.try_filter(|file| std::future::ready(matches(&file.location)));
        return match listed.try_collect::<Vec<_>>().await {
            Ok(files) => Ok(files),
            Err(error) => match list_without_circles(store, source, source.prefix(), Depth::All).await {
                Some(listed) => Ok(listed.objects.into_iter().filter(|file| matches(&file.location)).collect()),
                None => Err(unreadable(name, error)),
            },
        };
    }
    Ok(matching_level(store, source, name).await?.0)
}

/// The files and the directories there that a glob without `**` matches.
pub(super) async fn matching_level(
    store: &dyn ObjectStore,
    source: &ListingTableUrl,
    name: &str,
) -> Result<(Vec<ObjectMeta>, Vec<Path>)> {
    let Some(glob) = source.get_glob() else { return Ok((Vec::new(), Vec::new())) };
    // Level by level: a store's own listing is of the whole tree, which may be a disk.
    let components: Vec<&str> = glob.as_str().split('/').filter(|component| !component.is_empty()).collect();
    let (mut directories, mut files) = (vec![source.prefix().clone()], Vec::new());
    let deepest = components.len().saturating_sub(1);
    for (at, component) in components.into_iter().enumerate() {
        let pattern = source.clone().with_glob(component).map_err(|error| {
            Error::new(ErrorKind::Syntax, format!("'{component}' in '{name}' is no glob")).with_source(error)
        })?;
        let matches = move |path: &Path| {
            let glob = pattern.get_glob().as_ref();
            path.filename().is_some_and(|last| glob.is_some_and(|glob| glob.matches(last)))
        };
        let for_files = matches.clone();
        // Further up, directories alone are looked for.
        let wanted: Arc<listed_for::Wanted> = Arc::new(move |path: &Path| at == deepest && for_files(path));
        let mut below = Vec::new();
        files.clear();
        for directory in &directories {
            let listing = store.list_with_delimiter(Some(directory));
            let listed = match listed_for::listing(Arc::clone(&wanted), listing).await {
                Ok(listed) => listed,
                Err(error) => list_without_circles(store, source, directory, Depth::One)
                    .await
                    .ok_or_else(|| unreadable(name, error))?,
            };
            below.extend(listed.common_prefixes.into_iter().filter(&matches));
            files.extend(listed.objects.into_iter().filter(|file| matches(&file.location)));
        }
        directories = below;
    }
    Ok((files, directories))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for name in ["./x.csv", "../x", "~/x", "file:///x", "s3://b/k", "https://h/x.csv"] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["/x", "x.csv", ".x", "~x", "a b://c", "://x", "...", "x/../y"] {
            assert!(!is_host_name(name) && !is_folder_name(name), "{name}");
        }
        for name in [".", "..", "~"] {
            assert!(!is_host_name(name) && is_folder_name(name), "{name}");
        }
    }
}
