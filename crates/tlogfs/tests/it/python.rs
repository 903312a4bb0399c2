//! Another Delta reader opens the log.

use std::process::Command;

use tinyfs::PersistenceLayer;

use crate::support::{Pond, grow};

const SCRIPT: &str = r#"
import sys, deltalake
table = deltalake.DeltaTable(sys.argv[1])
assert table.version() == 10, table.version()
rows = table.to_pandas().sort_values(["txn", "seq"]).reset_index(drop=True)
assert list(rows.txn.unique()) == list(range(1, 11)), rows
assert list(rows.op[:4]) == ["create", "commit", "write", "commit"], rows
assert rows["content"][2] == b"bytes of version 1", rows["content"][2]
assert dict(rows.attributes[2]) == {"format": "text", "rows": "3"}, rows.attributes[2]
assert rows.message[1] == "change 1" and rows.author[1] == "ann"
assert str(rows.committed_at[1]) == "2023-11-14 22:13:21.123456+00:00", rows.committed_at[1]
assert rows["size"][2] == 18 and rows["version"][2] == 1
assert table.schema().fields[0].metadata["comment"].startswith("Transaction"), table.schema()
history = table.history()
assert history[0]["operation"] == "PONDSQL COMMIT" and len(history) >= 1, history
try:
    deltalake.write_deltalake(sys.argv[1], table.to_pyarrow_table(), mode="append")
    raise AssertionError("another program has written to the log")
except deltalake.exceptions.DeltaError as error:
    print("refused:", error)
assert deltalake.DeltaTable(sys.argv[1]).version() == 10
print("rows", len(rows), "deltalake", deltalake.__version__)
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs Python packages"]
async fn python_deltalake_reads_the_log() {
    let pond = Pond::upkept(4);
    let store = pond.create().await;
    let _ = grow(&store, 9).await;
    store.settle().await.unwrap();
    let venv = pond.dir.path().join("venv");
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    run(Command::new(venv.join("bin/pip")).args(["install", "-q", "deltalake", "pandas", "pyarrow"]));
    run(Command::new(venv.join("bin/python")).args(["-c", SCRIPT]).arg(pond.path()));
}
