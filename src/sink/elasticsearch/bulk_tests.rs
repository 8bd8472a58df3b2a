//! Tests of bulk requests and answers.

use super::*;

fn index(id: &str, version: u64) -> Document {
    let action = Action::Index(Bytes::from_static(b"{\"a\":1}"));
    Document { index: "orders-7f3a-1".into(), id: id.to_owned(), version: Version(version), action }
}

fn delete(id: &str, version: u64) -> Document {
    Document { action: Action::Delete, ..index(id, version) }
}

#[test]
fn actions_are_lines_with_external_versions_for_the_write_alias() {
    check_lines();
}

/// The simulation's cluster takes documents, not lines: this bug is caught here (docs/proof.md).
#[cfg(feature = "planted")]
#[test]
#[should_panic(expected = "version_type")]
fn a_planted_delete_without_a_version_is_caught() {
    planted::plant(Some(Bug::DeleteWithoutVersion));
    check_lines();
}

fn check_lines() {
    let documents = [index("1", 9), delete("a\"b\n", i64::MAX as u64)];
    let mut out = Vec::new();
    encode(&documents, &mut out);
    let expected = concat!(
        r#"{"index":{"_index":"orders-7f3a-1-WRITE","_id":"1","version":9,"version_type":"external"}}"#,
        "\n{\"a\":1}\n",
        r#"{"delete":{"_index":"orders-7f3a-1-WRITE","_id":"a\"b\n","version":9223372036854775807,"version_type":"external"}}"#,
        "\n",
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn documents_that_would_spoil_their_request_are_refused_before_it() {
    let check = |document: Document, expected: Option<&str>| {
        let code = refuse(&document).map(|outcome| match outcome {
            Outcome::Rejected { code, .. } => code,
            other => panic!("{other:?}"),
        });
        assert_eq!(code.as_deref(), expected);
    };
    let body = |body: &'static str| Document {
        action: Action::Index(Bytes::from_static(body.as_bytes())),
        ..index("1", 1)
    };
    check(index("1", 1), None);
    check(delete("1", 1), None);
    check(index(&"é".repeat(256), 1), None);
    check(index(&format!("{}x", "é".repeat(256)), 1), Some("id_too_long"));
    check(delete(&"x".repeat(513), 1), Some("id_too_long"));
    check(delete("", 1), Some("id_empty"));
    check(body("{\"a\":\n1}"), Some("body_not_one_line"));
    check(body(""), Some("body_not_one_line"));
    check(body("[]"), Some("body_not_one_line"));
}

/// The outcome of one item with this status and the rest of its JSON.
fn outcome_of(document: &Document, index: &str, rest: &str) -> Result<Outcome, Error> {
    let verb = if document.action == Action::Delete { "delete" } else { "index" };
    let id = serde_json::to_string(&document.id).unwrap();
    let answer =
        format!(r#"{{"errors":true,"items":[{{"{verb}":{{"_index":"{index}","_id":{id},{rest}}}}}]}}"#);
    decode(answer.as_bytes(), &[document]).map(|mut outcomes| outcomes.remove(0))
}

#[test]
fn every_item_is_judged_by_its_own_status_and_type() {
    let check = |document: Document, rest: &str, expected: &str| {
        let outcome = outcome_of(&document, "orders-7f3a-1", rest).unwrap();
        let said = match &outcome {
            Outcome::Applied => "applied".to_owned(),
            Outcome::Conflict { current } => format!("conflict {:?}", current.map(|version| version.0)),
            Outcome::Retry { .. } => "retry".to_owned(),
            Outcome::Rejected { code, .. } => format!("rejected {code}"),
            Outcome::IndexGone { .. } => "gone".to_owned(),
        };
        assert_eq!(said, expected, "{rest}");
        assert!(!format!("{outcome:?}").contains("secret"), "{outcome:?}");
    };
    let error = |status: u16, kind: &str, reason: &str| {
        format!(
            r#""status":{status},"error":{{"type":"{kind}","reason":{}}}"#,
            serde_json::to_string(reason).unwrap()
        )
    };
    check(index("1", 5), r#""_version":5,"status":201"#, "applied");
    check(index("1", 5), r#""_version":5,"status":200"#, "applied");
    check(delete("1", 5), r#""_version":5,"status":200"#, "applied");
    check(delete("1", 5), r#""_version":5,"status":404"#, "applied");
    check(index("1", 5), r#""_version":5,"status":404"#, "retry");
    check(index("1", 5), r#""_version":6,"status":200"#, "retry");
    check(index("1", 5), r#""_version":-1,"status":200"#, "retry");
    check(index("1", 5), r#""status":200"#, "retry");
    check(index("1", 5), r#""status":500"#, "retry");
    check(index("1", 5), r#""status":302"#, "retry");

    let conflict = "version_conflict_engine_exception";
    let says = "version conflict, current version [9] is higher or equal to the one provided [7]";
    check(index("1", 7), &error(409, conflict, &format!("[1]: {says}")), "conflict Some(9)");
    check(delete("1", 7), &error(409, conflict, &format!("[1]: {says}")), "conflict Some(9)");
    check(
        index("1", 7),
        &error(409, conflict, &format!("[current version [77]]: {says}")),
        "conflict Some(9)",
    );
    check(index("1", 7), &error(409, conflict, "in other words"), "conflict None");
    check(index("1", 7), &error(409, conflict, "current version [99999999999999999999]"), "conflict None");
    check(index("1", 7), &error(409, "another_exception", says), "retry");

    let missing = "index_not_found_exception";
    check(index("1", 7), &error(404, missing, "no such index [x]"), "gone");
    check(delete("1", 7), &error(404, missing, "no such index [x]"), "gone");
    check(delete("1", 7), &error(400, "invalid_index_name_exception", "must be lowercase"), "gone");
    check(delete("1", 7), &error(404, "shard_not_found_exception", "secret"), "retry");
    check(
        index("1", 7),
        &error(400, "illegal_argument_exception", "no write index is defined for alias [x]"),
        "gone",
    );

    for (status, kind) in [
        (429, "es_rejected_execution_exception"),
        (429, "circuit_breaking_exception"),
        (429, "cluster_block_exception"),
        (403, "cluster_block_exception"),
        (503, "unavailable_shards_exception"),
        (500, "secret words"),
        (400, "index_closed_exception"),
        (405, "what_is_this_exception"),
        (999, "what_is_this_exception"),
    ] {
        check(index("1", 7), &error(status, kind, "secret"), "retry");
    }
    for kind in ["mapper_parsing_exception", "document_parsing_exception", "strict_dynamic_mapping_exception"]
    {
        check(index("1", 7), &error(400, kind, "a secret reason"), &format!("rejected {kind}"));
    }
    check(index("1", 7), r#""status":400,"error":{"type":null,"reason":null}"#, "rejected unknown");
    check(index("1", 7), r#""status":400,"error":{}"#, "rejected unknown");
}

#[test]
fn a_write_that_landed_in_another_index_is_not_applied() {
    let outcome = outcome_of(&index("1", 5), "orders-other-1", r#""_version":5,"status":201"#).unwrap();
    assert!(matches!(outcome, Outcome::IndexGone { .. }), "{outcome:?}");
}

#[test]
fn a_missing_right_refuses_the_request_and_no_document() {
    let rest = r#""status":403,"error":{"type":"security_exception","reason":"action [indices:data/write/bulk[s]] is unauthorized"}"#;
    let error = outcome_of(&index("1", 5), "orders-7f3a-1", rest).unwrap_err();
    assert!(matches!(error, Error::Refused { code: "sink-forbidden", .. }), "{error}");
}

#[test]
fn an_answer_that_does_not_fit_the_request_leaves_all_outcomes_unknown() {
    let documents = [index("1", 1), delete("2", 1)];
    let sent: Vec<&Document> = documents.iter().collect();
    let item = |verb: &str, id: &str| {
        format!(r#"{{"{verb}":{{"_index":"orders-7f3a-1","_id":"{id}","_version":1,"status":200}}}}"#)
    };
    let answer = |items: &[String]| format!(r#"{{"items":[{}]}}"#, items.join(","));
    let (first, second) = (item("index", "1"), item("delete", "2"));
    let right = answer(&[first.clone(), second.clone()]);
    assert_eq!(decode(right.as_bytes(), &sent).unwrap(), [Outcome::Applied, Outcome::Applied]);
    for wrong in [
        answer(std::slice::from_ref(&first)),
        answer(&[first.clone(), second.clone(), second.clone()]),
        answer(&[second.clone(), first.clone()]),
        answer(&[first.clone(), item("delete", "3")]),
        answer(&[first.clone(), item("index", "2")]),
        answer(&[first.clone(), item("update", "2")]),
        answer(&[]),
        r#"{"took":1,"errors":false}"#.to_owned(),
        "<html>secret</html>".to_owned(),
        String::new(),
    ] {
        let error = decode(wrong.as_bytes(), &sent).unwrap_err();
        assert!(matches!(error, Error::Retry { .. }), "{wrong}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for end in 0..right.len() {
        assert!(decode(&right.as_bytes()[..end], &sent).is_err(), "{}", &right[..end]);
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_answered_without_a_panic(bytes: Vec<u8>, text in "[\\[\\]{}:,\"a-z0-9_ -]{0,60}") {
        let document = index("1", 1);
        let _ = decode(&bytes, &[&document]);
        let _ = decode(text.as_bytes(), &[&document]);
        let nested = serde_json::json!({ "items": [{ "index": { "_index": "i", "_id": "1", "status": 400,
            "error": { "type": text, "reason": text } } }] });
        let _ = decode(nested.to_string().as_bytes(), &[&document]);
    }
}
