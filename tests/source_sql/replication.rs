//! The gate's statements over a replication connection, where they are meant to run (rule 7).
//!
//! psql can make such a connection and send simple queries over it. Each statement has a connection of its
//! own here, so only what needs no session can be tried.

use std::future::Future;
use std::pin::Pin;

use projectord::model::Lsn;
use projectord::source::postgres::gate;
use projectord::source::postgres::settings::PINNED;
use projectord::source::postgres::sql::TextRows;
use projectord::source::postgres::{Error, Sql};

use super::cluster::Cluster;
use super::gate::{code, shop};

/// Bytes that stand in no answer.
const CELL: &str = "\u{1f}";
const ROW: &str = "\u{1e}";
const NULL: &str = "\u{1}";

struct Replication<'a>(&'a Cluster);

impl Sql for Replication<'_> {
    fn rows<'a>(
        &'a mut self,
        operation: &'static str,
        sql: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<TextRows, Error>> + Send + 'a>> {
        let options =
            PINNED.map(|(name, value)| format!("-c {name}={}", value.replace(' ', "\\ "))).join(" ");
        let output = self
            .0
            .psql_command("dbname=shop replication=database")
            .env("PGOPTIONS", options)
            .args(["-At", "-v", "VERBOSITY=sqlstate", "-F", CELL, "-R", ROW, "-P"])
            .arg(format!("null={NULL}"))
            .args(["-c", sql])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        if !output.status.success() {
            let sqlstate = error.split_whitespace().nth(1).unwrap_or_default().to_owned();
            return Box::pin(async move { Err(Error::Server { operation, sqlstate, message: error }) });
        }
        let text = String::from_utf8(output.stdout).unwrap();
        let cell = |cell: &str| (cell != NULL).then(|| cell.to_owned());
        let rows = text.trim_end_matches('\n').split(ROW).filter(|row| !row.is_empty());
        let rows = rows.map(|row| row.split(CELL).map(cell).collect()).collect();
        Box::pin(async move { Ok(rows) })
    }
}

#[tokio::test]
async fn gate_passes_over_a_replication_connection_and_there_knows_where_a_timeline_ended() {
    let (cluster, mut sql, expected) = shop(&[]).await;
    let passed = gate::check(&mut Replication(&cluster), &expected).await.unwrap();
    assert_eq!(Some(&passed.identity), expected.recorded.as_ref());
    let identified = Replication(&cluster).rows("test", "IDENTIFY_SYSTEM").await.unwrap();
    assert_eq!(identified[0][0].as_deref(), Some(passed.identity.system_identifier.as_str()));
    assert_eq!(identified[0][1].as_deref(), Some(passed.identity.timeline.to_string().as_str()));

    // A service that keeps the function to itself; the replication command is still there.
    sql.run("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_control_system() FROM public").await;
    sql.run("ALTER ROLE plain REPLICATION").await;
    let mut plain = cluster.connect("shop", "plain").await;
    let refused = gate::check(&mut plain, &expected).await.unwrap_err();
    assert!(
        matches!(refused, Error::Server { .. }),
        "no replication command on an ordinary connection: {refused}"
    );
    drop((plain, sql));

    cluster.stop_server();
    cluster.become_standby();
    cluster.start_server();
    cluster.promote();
    let passed = gate::check(&mut Replication(&cluster), &expected).await.unwrap();
    assert_eq!(passed.identity.timeline, 2);
    assert!(passed.warnings.iter().any(|warning| warning.code == "source-timeline"));
    // Whoever had read beyond the end of the old timeline has documents of commits that are gone.
    let mut ahead = expected.clone();
    ahead.journal_end = Some(Lsn(passed.server_flush.0 - 1));
    let refused = gate::check(&mut Replication(&cluster), &ahead).await.unwrap_err();
    assert_eq!(code(&refused), "source-timeline");
}
