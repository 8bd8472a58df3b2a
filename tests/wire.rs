//! The two kinds of connection against a real PostgreSQL: who may come in, whether the settings hold, and
//! what the stream does when nobody reads it.

#[path = "wire/cluster.rs"]
mod cluster;
#[path = "wire/liveness.rs"]
mod liveness;
#[path = "wire/streaming.rs"]
mod streaming;

use cluster::Cluster;
use projectord::source::postgres::{Connection, Error, Options, Sql, SslMode, client};

/// The outcome of connecting, as one word, the same for both kinds of connection.
async fn outcome(options: &Options) -> String {
    let word = |result: Result<(), Error>| match result {
        Ok(()) => "connected".to_owned(),
        Err(error) => {
            let text = format!("{error} {error:?}");
            assert!(!text.contains("right") && !text.contains("wrong"), "a password shows: {text}");
            match error {
                Error::Refused { code, .. } => code.to_owned(),
                Error::Retry { .. } => "retry".to_owned(),
                other => other.to_string(),
            }
        }
    };
    let replication = word(Connection::connect(options).await.map(drop));
    let ordinary = word(client::connect(options).await.map(drop));
    assert_eq!(replication, ordinary, "the two kinds of connection differ");
    replication
}

#[tokio::test]
async fn each_way_to_prove_who_we_are_works_and_each_failure_has_its_code() {
    let cluster = Cluster::start("").await;
    for (user, password, expected) in [
        ("trusty", None, "connected"),
        ("hashed", Some("right"), "connected"),
        ("hashed", Some("wrong"), "source-auth"),
        ("scrammed", Some("right"), "connected"),
        ("scrammed", Some("wrong"), "source-auth"),
        ("scrammed", None, "source-auth"),
        ("nobody", Some("right"), "source-auth"),
        ("secure", Some("right"), "source-auth"),
        ("plain", Some("right"), "source-auth"), // asked for in clear text, over an open network
    ] {
        assert_eq!(outcome(&cluster.tcp(user, password)).await, expected, "{user} {password:?}");
    }
    assert_eq!(outcome(&cluster.local()).await, "connected");

    let error = Connection::connect(&cluster.tcp("plain", Some("right"))).await.err().unwrap();
    assert!(error.to_string().contains("clear text"), "{error}");
    let error = Connection::connect(&cluster.tcp("nobody", Some("right"))).await.err().unwrap();
    assert!(error.to_string().contains("add a line"), "{error}");

    let mut options = cluster.local();
    options.database = "missing".to_owned();
    assert_eq!(outcome(&options).await, "source-database");
    let mut options = cluster.tcp("trusty", None);
    options.port = 1;
    assert_eq!(outcome(&options).await, "retry");
    options.host = "/nowhere".to_owned();
    assert_eq!(outcome(&options).await, "retry");
}

#[tokio::test]
async fn replication_needs_the_right_to_it_and_sql_does_not() {
    let cluster = Cluster::start("").await;
    cluster.sql().await.client().batch_execute("ALTER ROLE trusty NOREPLICATION").await.unwrap();
    let options = cluster.tcp("trusty", None);
    let error = Connection::connect(&options).await.err().unwrap();
    assert!(matches!(error, Error::Refused { code: "source-auth", .. }), "{error}");
    client::connect(&options).await.unwrap();
}

#[tokio::test]
async fn silent_server_is_given_up_after_the_connect_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let cluster_free = Options {
        connect_timeout: std::time::Duration::from_millis(300),
        host: "127.0.0.1".to_owned(),
        port: silent.local_addr().unwrap().port(),
        ..Cluster::unreachable()
    };
    for ssl_mode in [SslMode::Disable, SslMode::Require] {
        assert_eq!(outcome(&Options { ssl_mode, ..cluster_free.clone() }).await, "retry");
    }
}

#[tokio::test]
async fn tls_verifies_as_much_as_its_mode_says() {
    use SslMode::{Require, VerifyCa, VerifyFull};
    let cluster = Cluster::start("").await;
    let (ours, other) = (cluster.path("ca.crt"), cluster.path("other.crt"));
    for (mode, host, ca, expected) in [
        (VerifyFull, "localhost", Some(&ours), "connected"),
        (VerifyFull, "127.0.0.1", Some(&ours), "source-tls"),
        (VerifyFull, "localhost", Some(&other), "source-tls"),
        (VerifyCa, "127.0.0.1", Some(&ours), "connected"),
        (VerifyCa, "localhost", Some(&other), "source-tls"),
        (Require, "127.0.0.1", None, "connected"),
        (VerifyFull, "localhost", Some(&cluster.path("server.key")), "source-tls"),
        (VerifyFull, "localhost", Some(&cluster.path("missing")), "source-tls"),
    ] {
        let mut options = cluster.tcp("secure", Some("right"));
        options.ssl_mode = mode;
        options.host = host.to_owned();
        options.ssl_ca = ca.map(Into::into);
        assert_eq!(outcome(&options).await, expected, "{mode:?} {host} {ca:?}");
    }
    // SCRAM is bound to the TLS session here; a wrong password must still be told from a broken binding.
    let mut options = cluster.tcp("secure", Some("wrong"));
    options.ssl_mode = Require;
    assert_eq!(outcome(&options).await, "source-auth");
    // A password in clear text may go through TLS.
    let mut options = cluster.tcp("plain", Some("right"));
    options.ssl_mode = Require;
    assert_eq!(outcome(&options).await, "connected");
}

#[tokio::test]
async fn server_without_tls_is_refused_when_tls_is_asked_for() {
    let cluster = Cluster::start("ssl=off").await;
    let mut options = cluster.tcp("trusty", None);
    options.ssl_mode = SslMode::Require;
    assert_eq!(outcome(&options).await, "source-tls");
}

#[tokio::test]
async fn statements_return_rows_and_keep_the_sqlstate_of_their_errors() {
    let cluster = Cluster::start("").await;
    let mut connection = Connection::connect(&cluster.local()).await.unwrap();
    let mut sql = cluster.sql().await;
    for connection in [&mut connection as &mut dyn Sql, &mut sql] {
        let rows = connection
            .rows("ask", "SELECT 1, NULL, 'ä' UNION ALL SELECT 2, '', 'b' ORDER BY 1")
            .await
            .unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(rows, [[text("1"), None, text("ä")], [text("2"), text(""), text("b")]]);
        let error = connection.rows("ask", "SELECT * FROM missing").await.unwrap_err();
        assert!(matches!(&error, Error::Server { sqlstate, .. } if sqlstate == "42P01"), "{error}");
        let error = connection.rows("ask", "SELECT 'secret'::int").await.unwrap_err();
        assert!(matches!(&error, Error::Server { sqlstate, .. } if sqlstate == "22P02"), "{error}");
        assert!(!format!("{error:?}").contains("secret"));
        // And the session is still good.
        assert_eq!(connection.rows("ask", "SELECT 7").await.unwrap(), [[text("7")]]);
    }
    let system = connection.rows("identify", "IDENTIFY_SYSTEM").await.unwrap();
    assert_eq!(system[0][3].as_deref(), Some(cluster::DATABASE));
    let slot = connection
        .rows("create", "CREATE_REPLICATION_SLOT \"s\" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT")
        .await
        .unwrap();
    assert_eq!(slot[0][0].as_deref(), Some("s"));
    let process = connection.rows("ask", "SELECT pg_backend_pid()").await.unwrap();
    assert_eq!(process[0][0].as_deref(), Some(connection.process().to_string().as_str()));
}

#[tokio::test]
async fn ended_session_is_worth_another_try() {
    let cluster = Cluster::start("").await;
    let mut connection = Connection::connect(&cluster.local()).await.unwrap();
    let kill = format!("SELECT pg_terminate_backend({})", connection.process());
    cluster.sql().await.rows("kill", &kill).await.unwrap();
    let error = connection.rows("ask", "SELECT pg_sleep(30)").await.unwrap_err();
    assert!(matches!(error, Error::Retry { .. }), "{error}");
    let again = connection.rows("ask", "SELECT 1").await.unwrap_err();
    assert!(matches!(again, Error::Retry { .. }), "{again}");
}

#[tokio::test]
async fn abandoned_statement_leaves_a_connection_that_refuses_the_next_one() {
    let cluster = Cluster::start("").await;
    let mut connection = Connection::connect(&cluster.local()).await.unwrap();
    let wait = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(wait, connection.rows("ask", "SELECT pg_sleep(30)")).await.is_err());
    let error = connection.rows("ask", "SELECT 1").await.unwrap_err();
    assert!(matches!(error, Error::Retry { .. }), "{error}");
}

#[tokio::test]
async fn limits_of_a_session_are_the_ones_that_were_set() {
    let cluster = Cluster::start("").await;
    let mut sql = cluster.sql().await;
    let ms = std::time::Duration::from_millis;
    sql.limit(ms(1500), ms(20), ms(3)).await.unwrap();
    let query = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), \
                 current_setting('idle_in_transaction_session_timeout'), current_setting('row_security'), \
                 current_setting('jit')";
    let rows = sql.rows("ask", query).await.unwrap();
    assert_eq!(
        rows[0].iter().flatten().map(String::as_str).collect::<Vec<_>>(),
        ["1500ms", "20ms", "3ms", "off", "off"]
    );
}
