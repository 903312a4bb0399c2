//! A derived file, read by a program that knows Parquet and object stores and nothing else: `cargo run --example object_store`.
//!
//! The pond's half makes a view. The other half is any reader of Parquet files: it gets the file's size, its footer, and the pages it
//! wants, without a word of SQL.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use pondsql::{OpenOptions, Pond, SessionOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A directory or URL instead of "memory:" makes the pond durable.
    let pond = Pond::open("memory:", OpenOptions::default()).await?;
    let mut session = pond.session(SessionOptions::default())?;
    for sql in [
        "CREATE TABLE '/locs/BDock.series' (hour BIGINT, temp DOUBLE) ORDER BY hour",
        "INSERT INTO '/locs/BDock.series' VALUES (1, 17.5), (2, 18.5)",
        "INSERT INTO '/locs/BDock.series' VALUES (3, 19.5), (4, 16.0)",
        "CREATE VIEW '/derived/warm.parquet' AS SELECT hour, temp, temp * 1.8 + 32 AS fahrenheit \
         FROM '/locs/BDock.series' WHERE temp > 17",
        "CREATE VIEW '/derived/warm.csv' AS SELECT * FROM '/derived/warm.parquet' ORDER BY hour",
    ] {
        let _ = session.execute(sql).await?;
    }
    let store = pond.object_store().await?;
    read_parquet(Arc::clone(&store) as _).await?;
    // Any other format is bytes too. These arrive while the query runs.
    let csv = pond.read("/derived/warm.csv").await?.try_collect::<Vec<_>>().await?.concat();
    print!("{}", String::from_utf8(csv)?);
    pond.close().await?;
    Ok(())
}

/// The other program. That the files are views does not show.
async fn read_parquet(store: Arc<dyn ObjectStore>) -> Result<(), Box<dyn Error>> {
    let mut files: Vec<_> = store.list(Some(&Path::from("derived"))).try_collect().await?;
    files.retain(|file| file.location.extension() == Some("parquet"));
    for file in files {
        println!("{}", file.location);
        let reader = Reader { store: Arc::clone(&store), path: file.location, size: file.size };
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
        println!("{} rows", builder.metadata().file_metadata().num_rows());
        let batches: Vec<_> = builder.build()?.try_collect().await?;
        println!("{}", pretty_format_batches(&batches)?);
    }
    Ok(())
}

/// An object, as the parquet crate wants to read it.
struct Reader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.store.get_range(&self.path, range).map_err(|error| ParquetError::External(Box::new(error))).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let size = self.size;
        let read = ParquetMetaDataReader::new().with_arrow_reader_options(options).load_and_finish(self, size);
        read.map_ok(Arc::new).boxed()
    }
}
