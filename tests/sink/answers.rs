//! What the sink makes of answers as a whole: refusals, nonsense, silence.

use std::time::{Duration, Instant};

use bytes::Bytes;
use projectord::model::{Action, Document, Outcome, Version};
use projectord::sink::elasticsearch::{ANSWER_BYTES_MAX, Credentials, Elasticsearch, Options};
use projectord::sink::{Error, Sink};
use secrecy::SecretString;

use crate::fake::{Fake, Says};
use crate::world::options;

fn documents(count: usize) -> Vec<Document> {
    let document = |at: usize| Document {
        index: "orders-7f3a-1".into(),
        id: at.to_string(),
        version: Version(7),
        action: Action::Index(Bytes::from_static(b"{\"name\":\"secret\"}")),
    };
    (0..count).map(document).collect()
}

/// What `send` of two documents makes of this answer, in one word.
async fn meets(says: Says) -> String {
    let fake = Fake::new(says).await;
    let patience = Duration::from_millis(300);
    let sink = Elasticsearch::new(&Options { request_timeout: patience, ..options(&fake.url) }).unwrap();
    let answer = sink.send(&documents(2)).await;
    assert!(!format!("{answer:?}").contains("secret"), "{answer:?}");
    match answer {
        Ok(outcomes) => format!("{outcomes:?}"),
        Err(Error::Retry { .. }) => "retry".to_owned(),
        Err(Error::TooLarge { .. }) => "too large".to_owned(),
        Err(Error::Refused { code, .. }) => code.to_owned(),
    }
}

#[tokio::test]
async fn a_refused_request_is_told_from_one_to_repeat() {
    let error = |kind: &str| format!(r#"{{"error":{{"type":"{kind}","reason":"secret"}},"status":0}}"#);
    for (status, body, expected) in [
        (401, error("security_exception"), "sink-auth"),
        (401, "Unauthorized".to_owned(), "sink-auth"),
        (403, error("cluster_block_exception").replace("secret", "flood stage"), "retry"),
        (403, error("security_exception").replace("secret", "unauthorized for user [x]"), "sink-forbidden"),
        (403, "<html>".to_owned(), "sink-forbidden"),
        (404, "<html>".to_owned(), "retry"),
        (400, "<html>".to_owned(), "retry"),
        (405, error("x"), "retry"),
        (408, String::new(), "retry"),
        (429, error("circuit_breaking_exception"), "retry"),
        (500, error("x"), "retry"),
        (502, "<html>".to_owned(), "retry"),
        (503, error("master_not_discovered_exception"), "retry"),
        (504, String::new(), "retry"),
        (302, String::new(), "retry"),
    ] {
        assert_eq!(meets(Says::json(status, &body)).await, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_leaves_the_outcome_unknown() {
    let item = |id: usize| {
        format!(r#"{{"index":{{"_index":"orders-7f3a-1","_id":"{id}","_version":7,"status":200}}}}"#)
    };
    let whole = format!(r#"{{"errors":false,"items":[{},{}]}}"#, item(0), item(1));
    let applied = format!("{:?}", [Outcome::Applied, Outcome::Applied]);
    assert_eq!(meets(Says::json(200, &whole)).await, applied, "the fake itself is believed");
    let Says::Bytes(bytes) = Says::json(200, &whole) else { unreachable!() };
    for says in [
        Says::json(200, ""),
        Says::json(200, "{}"),
        Says::json(200, "<html>"),
        Says::json(200, &whole[..whole.len() - 5]),
        Says::json(200, &format!(r#"{{"items":[{}]}}"#, item(0))),
        Says::json(200, &format!(r#"{{"items":[{},{},{}]}}"#, item(0), item(1), item(2))),
        Says::json(200, &format!(r#"{{"items":[{},{}]}}"#, item(1), item(0))),
        Says::Bytes(bytes[..bytes.len() - 5].to_owned()),
        Says::Bytes(bytes[..20].to_owned()),
        Says::Bytes("nonsense\r\n\r\n".to_owned()),
        Says::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{{", ANSWER_BYTES_MAX + 1)),
        Says::Silence,
        Says::Hangs,
    ] {
        assert_eq!(meets(says).await, "retry");
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_down_to_the_document() {
    let fake = Fake::new(Says::json(413, "")).await;
    let sink = Elasticsearch::new(&options(&fake.url)).unwrap();
    let outcomes = sink.send(&documents(5)).await.unwrap();
    let too_large =
        |outcome: &Outcome| matches!(outcome, Outcome::Rejected { code, .. } if code == "too_large");
    assert!(outcomes.len() == 5 && outcomes.iter().all(too_large), "{outcomes:?}");
    assert_eq!(fake.requests(), 9, "5 leaves and 4 inner nodes");
}

#[tokio::test]
async fn a_refusal_of_the_whole_request_is_traced_to_its_documents() {
    let body = r#"{"error":{"type":"action_request_validation_exception","reason":"secret"},"status":400}"#;
    let fake = Fake::new(Says::json(400, body)).await;
    let outcomes = Elasticsearch::new(&options(&fake.url)).unwrap().send(&documents(2)).await.unwrap();
    assert!(!format!("{outcomes:?}").contains("secret"), "{outcomes:?}");
    let code = "action_request_validation_exception";
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Rejected { code: c, .. } if c == code)));
    assert_eq!(fake.requests(), 3);
}

#[tokio::test]
async fn a_redirect_to_a_stranger_is_not_believed() {
    let item = r#"{"index":{"_index":"orders-7f3a-1","_id":"0","_version":7,"status":200}}"#;
    let stranger = Fake::new(Says::json(200, &format!(r#"{{"items":[{item}]}}"#))).await;
    let redirect =
        format!("HTTP/1.1 307 Elsewhere\r\nlocation: {}/_bulk\r\ncontent-length: 0\r\n\r\n", stranger.url);
    let fake = Fake::new(Says::Bytes(redirect)).await;
    let answer = Elasticsearch::new(&options(&fake.url)).unwrap().send(&documents(1)).await;
    assert!(matches!(answer, Err(Error::Retry { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_node_that_refuses_connections_costs_nothing_while_another_answers() {
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let alone = Elasticsearch::new(&options(&dead)).unwrap().send(&documents(1)).await;
    assert!(matches!(alone, Err(Error::Retry { .. })), "{alone:?}");
    let item = r#"{"index":{"_index":"orders-7f3a-1","_id":"0","_version":7,"status":200}}"#;
    let alive = Fake::new(Says::json(200, &format!(r#"{{"items":[{item}]}}"#))).await;
    let urls = vec![dead, alive.url.clone()];
    let sink = Elasticsearch::new(&Options { urls, ..options(&alive.url) }).unwrap();
    for _ in 0..4 {
        assert_eq!(sink.send(&documents(1)).await.unwrap(), [Outcome::Applied]);
    }
    assert_eq!(alive.requests(), 4);
}

/// Bytes of the one request that a caller sends.
async fn request_of(credentials: Credentials) -> String {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let limit = Duration::from_secs(10);
    let sink = Elasticsearch::new(&Options { credentials, request_timeout: limit, ..options(&url) }).unwrap();
    let asking = tokio::spawn(async move { sink.check(&[]).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        stream.read_buf(&mut request).await.unwrap();
    }
    asking.abort();
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn each_kind_of_credentials_goes_as_the_cluster_documents_it() {
    let secret = |text: &str| SecretString::from(text.to_owned());
    let basic = Credentials::Basic { user: "Aladdin".to_owned(), password: secret("open sesame") };
    for (credentials, expected) in [
        (Credentials::None, None),
        // The example of RFC 7617.
        (basic, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        (Credentials::ApiKey(secret("dGhlLWlkOnRoZS1rZXk=")), Some("ApiKey dGhlLWlkOnRoZS1rZXk=")),
        (Credentials::Bearer(secret("a-token")), Some("Bearer a-token")),
    ] {
        let request = request_of(credentials).await;
        let sent: Vec<&str> = request
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            .map(|(_, value)| value)
            .collect();
        assert_eq!(sent, Vec::from_iter(expected), "{request}");
    }
}

#[tokio::test]
async fn a_silent_cluster_is_given_up_after_the_time_limit() {
    let fake = Fake::new(Says::Silence).await;
    let limit = Duration::from_millis(200);
    let sink = Elasticsearch::new(&Options { request_timeout: limit, ..options(&fake.url) }).unwrap();
    let start = Instant::now();
    let problems = sink.check(&[]).await;
    assert!(matches!(problems.as_slice(), [Error::Retry { .. }]), "{problems:?}");
    assert!(start.elapsed() >= limit && start.elapsed() < 20 * limit);
}

#[tokio::test]
async fn what_is_no_supported_cluster_is_refused_before_anything_else() {
    for (body, code) in [
        (r#"{"version":{"number":"7.10.2"}}"#, "sink-version"),
        (r#"{"version":{"number":"1.3.0","distribution":"opensearch"}}"#, "sink-version"),
        ("<html>", "sink-version"),
    ] {
        let fake = Fake::new(Says::json(200, body)).await;
        let problems = Elasticsearch::new(&options(&fake.url)).unwrap().check(&[]).await;
        assert!(
            matches!(problems.as_slice(), [Error::Refused { code: c, .. }] if *c == code),
            "{problems:?}"
        );
    }
}

#[test]
fn unusable_options_are_refused_without_showing_secrets() {
    let check = |options: Options, expected: &str| match Elasticsearch::new(&options) {
        Err(error @ Error::Refused { code, .. }) => {
            assert_eq!(code, expected);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        other => panic!("{other:?}"),
    };
    let good = || options("http://localhost:1");
    let secret = |text: &str| SecretString::from(text.to_owned());
    check(Options { urls: vec![], ..good() }, "sink-url");
    for url in ["nonsense", "ftp://host", "http://me:hunter2@host:9200", "http://"] {
        check(Options { urls: vec![url.to_owned()], ..good() }, "sink-url");
    }
    check(Options { credentials: Credentials::ApiKey(secret("hunter2\n")), ..good() }, "sink-auth");
    check(Options { credentials: Credentials::Bearer(secret("hunter2 é")), ..good() }, "sink-auth");
    let urls = vec!["https://localhost:1".to_owned()];
    check(Options { urls: urls.clone(), ca: Some("/nowhere.pem".into()), ..good() }, "sink-ca");
    check(Options { urls, ca: Some("Cargo.toml".into()), ..good() }, "sink-ca");
    let sink = Elasticsearch::new(&Options {
        credentials: Credentials::Basic { user: "me".to_owned(), password: secret("hunter2") },
        ..good()
    });
    assert!(!format!("{:?}", sink.unwrap()).contains("hunter2"));
}
