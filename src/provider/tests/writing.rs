//! What writes, and what it keeps of what was written.

use super::*;

#[tokio::test]
async fn nan_is_found_although_bounds_leave_it_out() {
    let pond = Pond::new();
    let floats = |values: Vec<f64>| batch(vec![("x", Arc::new(Float64Array::from(values)) as ArrayRef)]);
    pond.append("/s", floats(vec![1.0, f64::NAN, 2.0])).await;
    pond.append("/s", floats(vec![3.0, 4.5])).await;
    pond.append("/s", floats(vec![0.0, -0.0])).await;
    let file = pond.file("/s").unwrap();
    let column = |at: usize| file.parts()[at].attributes.statistics().unwrap().column_statistics[0].clone();
    assert_eq!(column(0).min_value, Precision::Absent);
    assert_eq!(column(0).null_count, Precision::Exact(0));
    assert_eq!(column(1).max_value, Precision::Exact(ScalarValue::Float64(Some(4.5))));
    assert_eq!(column(2).min_value, Precision::Inexact(ScalarValue::Float64(Some(-0.0))));
    assert_eq!(column(2).max_value, Precision::Inexact(ScalarValue::Float64(Some(0.0))));
    pond.register_file("/s");
    // NaN is above all numbers here, as in PostgreSQL.
    assert_eq!(pond.query("SELECT count(*) FROM t WHERE x > 100").await, "1");
    assert_eq!(pond.query("SELECT count(*) FROM t WHERE x < 3").await, "4");
    assert_eq!(pond.query("SELECT max(x) FROM t WHERE x < 'NaN'::DOUBLE").await, "4.5");
}

#[tokio::test]
async fn part_with_nan_is_a_whole_parquet_file_of_many_pages() {
    let pond = Pond::new();
    let value = |at: i64| if at == 50_000 { f64::NAN } else { at as f64 };
    let rows = batch(vec![
        ("k", ints(0..100_000)),
        ("x", Arc::new(Float64Array::from_iter_values((0..100_000).map(value))) as ArrayRef),
    ]);
    pond.append("/s", rows).await;
    pond.register_file("/s");
    assert_eq!(pond.query("SELECT k FROM t WHERE x > 1e9").await, "50000");
    assert_eq!(pond.query("SELECT x FROM t WHERE k = 99999").await, "99999.0");
    assert_eq!(pond.query("SELECT count(*), sum(k), max(k) FROM t WHERE x >= 0").await, "100000,4999950000,99999");
    let part = pond.file("/s").unwrap().parts()[0].version.part.clone();
    let described = describe_parquet(&pond.layer, &part).await.unwrap();
    assert_eq!(
        described.statistics().unwrap().column_statistics[0].max_value,
        Precision::Exact(ScalarValue::Int64(Some(99_999)))
    );
}

#[tokio::test]
async fn cut_off_text_has_no_bounds() {
    let pond = Pond::new();
    let text =
        |values: Vec<String>| batch(vec![("s", Arc::new(StringViewArray::from_iter_values(values)) as ArrayRef)]);
    pond.append("/s", text(vec!["a".repeat(100), "b".repeat(100)])).await;
    pond.append("/s", text(vec!["k".into(), "l".into()])).await;
    let file = pond.file("/s").unwrap();
    let column = |at: usize| file.parts()[at].attributes.statistics().unwrap().column_statistics[0].clone();
    assert_eq!(column(0).min_value, Precision::Absent);
    assert_eq!(column(1).max_value, Precision::Exact(ScalarValue::Utf8View(Some("l".into()))));
    pond.register_file("/s");
    assert_eq!(pond.query("SELECT length(min(s)), max(s) FROM t").await, "100,l");
}

#[tokio::test]
async fn insert_appends_and_overwrite_replaces() {
    let pond = Pond::new();
    pond.append("/s", readings(0..3)).await;
    let recorder = Arc::new(Recorder { store: Arc::clone(&pond.layer), written: Mutex::default() });
    let writer: Arc<dyn TableWriter> = Arc::clone(&recorder) as _;
    let files = vec![(pond.file("/s").unwrap(), vec![])];
    pond.register("t", TableScanSpec { files, writer: Some(writer), ..TableScanSpec::default() });
    assert_eq!(pond.query("INSERT INTO t SELECT ts + INTERVAL '1 second', v FROM t").await, "3");
    assert_eq!(pond.query("INSERT INTO t SELECT * FROM t WHERE v > 1000").await, "0");
    assert_eq!(pond.query("INSERT OVERWRITE t SELECT * FROM t WHERE v > 1000").await, "0");
    assert_eq!(pond.query("INSERT OVERWRITE t VALUES (to_timestamp_micros(77), 770)").await, "1");
    let written = std::mem::take(&mut *recorder.written.lock().unwrap());
    let modes: Vec<_> = written.iter().map(|(mode, ..)| *mode).collect();
    assert_eq!(modes, [WriteMode::Append, WriteMode::Replace, WriteMode::Replace], "no rows appended are no version");
    let rows: Vec<_> =
        written.iter().map(|(.., attributes)| PartAttributes::parse(attributes).unwrap().rows().unwrap()).collect();
    assert_eq!(rows, [3, 0, 1]);
    for (mode, part, attributes) in written {
        pond.add("/s", mode, part, attributes).await;
    }
    pond.register_file("/s");
    assert_eq!(pond.query("SELECT ts::BIGINT, v FROM t").await, "77,770");
}

#[tokio::test]
async fn declared_order_sorts_what_is_inserted() {
    let pond = Pond::new();
    let schema =
        Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("s", DataType::Utf8View, true)]));
    let order =
        vec![SortColumn { column: "s".into(), descending: true, nulls_first: false }, SortColumn::ascending("k")];
    let declared = TableAttributes { schema, order: order.clone() };
    let _ = pond.create("/t", declared.to_attributes().unwrap()).await;
    let recorder = Arc::new(Recorder { store: Arc::clone(&pond.layer), written: Mutex::default() });
    let files = vec![(pond.file("/t").unwrap(), vec![])];
    let writer: Arc<dyn TableWriter> = Arc::clone(&recorder) as _;
    pond.register("t", TableScanSpec { files, writer: Some(writer), ..TableScanSpec::default() });
    assert_eq!(pond.query("INSERT INTO t VALUES (3,'a'),(1,'b'),(2,NULL),(0,'a')").await, "4");
    let (mode, part, attributes) = recorder.written.lock().unwrap().pop().unwrap();
    assert_eq!(PartAttributes::parse(&attributes).unwrap().order, order);
    pond.add("/t", mode, part, attributes).await;
    pond.register_file("/t");
    assert_eq!(pond.query("SELECT k, s FROM t").await, "1,b\n0,a\n3,a\n2,");
}

#[tokio::test]
async fn null_in_a_not_null_column_is_an_error_that_names_it() {
    let pond = Pond::new();
    let schema =
        Arc::new(Schema::new(vec![Field::new("ts", DataType::Int64, false), Field::new("v", DataType::Int64, true)]));
    let _ = pond.create("/t", TableAttributes { schema, order: vec![] }.to_attributes().unwrap()).await;
    let recorder = Arc::new(Recorder { store: Arc::clone(&pond.layer), written: Mutex::default() });
    let files = vec![(pond.file("/t").unwrap(), vec![])];
    let writer: Arc<dyn TableWriter> = Arc::clone(&recorder) as _;
    pond.register("t", TableScanSpec { files, writer: Some(writer), ..TableScanSpec::default() });
    let frame =
        pond.ctx.sql("INSERT INTO t SELECT nullif(x, 2), x FROM (SELECT 1 AS x UNION ALL SELECT 2)").await.unwrap();
    let error = Error::from_datafusion(frame.collect().await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Execution);
    assert_eq!(error.to_string(), "column 'ts' is NOT NULL and was given NULL");
    assert!(recorder.written.lock().unwrap().is_empty());
}

#[tokio::test]
async fn table_without_a_writer_refuses_insert() {
    let pond = Pond::new();
    pond.append("/s", readings(0..1)).await;
    pond.register_file("/s");
    let error = pond.ctx.sql("INSERT INTO t SELECT * FROM t").await.unwrap().collect().await.unwrap_err();
    assert_eq!(Error::from_datafusion(error).kind(), ErrorKind::ReadOnly);
}

#[tokio::test]
async fn written_rows_come_back_whole() {
    let pond = Pond::new();
    let sql = "SELECT value AS k, 'name ' || value AS s, CASE WHEN value % 3 = 0 THEN NULL ELSE value / 7.0 END AS f,
               arrow_cast(value % 2, 'Dictionary(Int32, Int64)') AS d, [value, NULL] AS l, value % 2 = 0 AS b,
               value::DECIMAL(12,3) AS dec, encode('x' || value, 'hex')::BYTEA AS bin
               FROM generate_series(1, 20000)";
    let plan = pond.ctx.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let stream = execute_stream(plan, pond.ctx.task_ctx()).unwrap();
    let written = write_part(stream, &pond.layer, WriteOptions::default()).await.unwrap();
    assert_eq!(written.rows, 20000);
    let attributes = PartAttributes::parse(&written.attributes).unwrap();
    assert!(attributes.schema.fields().iter().all(|field| field.is_nullable()), "a query's result declares nothing");
    pond.add("/s", WriteMode::Replace, written.part, written.attributes).await;
    pond.register_file("/s");
    let _ = pond.ctx.register_table("expected", pond.ctx.sql(sql).await.unwrap().into_view()).unwrap();
    assert_eq!(pond.query("SELECT count(*) FROM (SELECT * FROM t EXCEPT ALL SELECT * FROM expected)").await, "0");
    assert_eq!(pond.query("SELECT count(*), min(k), max(dec), count(f) FROM t").await, "20000,1,20000.000,13334");
}

#[tokio::test]
async fn order_of_a_plan_is_kept_in_what_it_writes() {
    let pond = Pond::new();
    let table = MemTable::try_new(readings(0..1).schema(), vec![vec![readings(5..9)], vec![readings(0..5)]]).unwrap();
    let _ = pond.ctx.register_table("m", Arc::new(table)).unwrap();
    let plan = pond
        .ctx
        .sql("SELECT v AS w, ts FROM m ORDER BY w DESC, ts")
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let order = physical_order(&plan);
    assert_eq!(order[0], SortColumn { column: "w".into(), descending: true, nulls_first: true });
    let stream = execute_stream(plan, pond.ctx.task_ctx()).unwrap();
    let written = write_part(stream, &pond.layer, WriteOptions { schema: None, order: order.clone() }).await.unwrap();
    assert_eq!(PartAttributes::parse(&written.attributes).unwrap().order, order);
}
