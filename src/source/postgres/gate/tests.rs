//! The judgements that no single test server can provoke.

use super::facts::{Facts, end_in_history};
use super::judge::judge;
use super::*;
use crate::source::postgres::publication;

fn healthy() -> (Facts, Expected) {
    let facts = Facts {
        version: 180_004,
        wal_level: "logical".to_owned(),
        max_slot_wal_keep_size: "50GB".to_owned(),
        system_identifier: "7".to_owned(),
        timeline: 2,
        database: "shop".to_owned(),
        database_oid: 5,
        may_replicate: true,
        read_role_oid: Some(10),
        server_flush: Lsn(1000),
        publication: Some(publication::State {
            oid: 9,
            insert: true,
            update: true,
            delete: true,
            truncate: true,
            ..publication::State::default()
        }),
        slot: Some(slot::State {
            plugin: Some("pgoutput".to_owned()),
            database: Some("shop".to_owned()),
            confirmed_flush: Some(Lsn(400)),
            ..slot::State::default()
        }),
        ..Facts::default()
    };
    let identity = Identity {
        system_identifier: "7".to_owned(),
        timeline: 2,
        database: "shop".to_owned(),
        database_oid: 5,
        slot: "projectord".to_owned(),
        publication: "projectord".to_owned(),
        publication_oid: 9,
        membership: Vec::new(),
        server_version: 180_004,
    };
    let expected = Expected {
        slot: "projectord".to_owned(),
        publication: "projectord".to_owned(),
        application_name: "projectord".to_owned(),
        read_role: None,
        manage: true,
        tables: Vec::new(),
        recorded: Some(identity),
        begun_on: None,
        journal_end: Some(Lsn(500)),
    };
    (facts, expected)
}

/// The codes of what is refused and of what is warned about; a retry is "retry".
fn check(change: impl FnOnce(&mut Facts, &mut Expected), refused: &[&str], warned: &[&str]) {
    let (mut facts, mut expected) = healthy();
    change(&mut facts, &mut expected);
    let report = judge(&facts, &expected);
    let codes: Vec<_> = report
        .problems
        .iter()
        .map(|problem| match problem {
            Error::Refused { code, reason, hint, .. } => {
                assert!(!reason.contains('\n') && !hint.is_empty() && !hint.contains('\n'), "{problem}");
                *code
            }
            Error::Retry { .. } => "retry",
            other => panic!("{other}"),
        })
        .collect();
    let warnings: Vec<_> = report.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!((codes.as_slice(), warnings.as_slice()), (refused, warned));
}

#[test]
fn a_healthy_server_passes_without_a_word() {
    check(|_, _| {}, &[], &[]);
}

#[test]
fn old_servers_are_refused_and_lossy_minors_warned_about() {
    check(|facts, _| facts.version = 130_022, &["source-version"], &[]);
    for (version, warned) in [
        (140_000, true),
        (140_018, false),
        (150_012, true),
        (150_013, false),
        (160_008, true),
        (160_009, false),
        (170_004, true),
        (170_005, false),
        (180_000, false),
    ] {
        let warnings: &[&str] = if warned { &["source-lossy-minor"] } else { &[] };
        check(|facts, _| facts.version = version, &[], warnings);
    }
}

#[test]
fn a_standby_says_nothing_else() {
    check(
        |facts, _| {
            facts.in_recovery = true;
            facts.wal_level = "replica".to_owned();
        },
        &["source-standby"],
        &[],
    );
}

#[test]
fn another_timeline_goes_on_only_when_the_journal_ends_before_the_old_one_did() {
    let ended = |end: Option<u64>| {
        move |facts: &mut Facts, _: &mut Expected| {
            facts.timeline = 3;
            facts.recorded_timeline_end = end.map(Lsn);
        }
    };
    check(ended(Some(500)), &[], &["source-timeline"]);
    check(ended(Some(499)), &["source-timeline"], &[]);
    check(ended(None), &["source-timeline"], &[]);
}

#[test]
fn before_a_connection_is_recorded_the_server_on_which_the_slot_was_begun_counts() {
    let begun_on = |system: &'static str| {
        move |_: &mut Facts, expected: &mut Expected| {
            expected.recorded = None;
            expected.begun_on = Some(System { system_identifier: system.to_owned(), timeline: 2 });
        }
    };
    check(begun_on("7"), &[], &[]);
    check(begun_on("8"), &["source-other-system"], &[]);
    let promoted = |facts: &mut Facts, expected: &mut Expected| {
        begun_on("7")(facts, expected);
        facts.timeline = 3;
        facts.recorded_timeline_end = Some(Lsn(499));
    };
    check(promoted, &["source-timeline"], &[]);
}

#[test]
fn positions_decide_about_gaps() {
    check(|_, expected| expected.journal_end = Some(Lsn(400)), &[], &[]);
    check(|_, expected| expected.journal_end = Some(Lsn(399)), &["slot-advanced"], &[]);
    check(|_, expected| expected.journal_end = Some(Lsn(1000)), &[], &[]);
    check(|_, expected| expected.journal_end = Some(Lsn(1001)), &["source-behind"], &[]);
}

#[test]
fn a_refusal_comes_before_the_wait_for_a_slot_in_use() {
    check(
        |facts, expected| {
            facts.slot.as_mut().unwrap().active_pid = Some(77);
            facts.publication.as_mut().unwrap().oid = 10;
            expected.journal_end = Some(Lsn(1));
        },
        &["publication-changed", "slot-advanced", "retry"],
        &[],
    );
}

#[test]
fn newer_versions_bring_newer_ways_to_lose_a_slot_and_to_stand_still() {
    check(
        |facts, _| facts.slot.as_mut().unwrap().invalidation_reason = Some("idle_timeout".to_owned()),
        &["slot-lost"],
        &[],
    );
    check(|facts, _| facts.slot.as_mut().unwrap().two_phase = true, &["slot-two-phase"], &[]);
    check(
        |facts, _| {
            facts.idle_replication_slot_timeout = Some("1d".to_owned());
            facts.synchronized_standby_slots = Some("standby_1".to_owned());
            facts.max_slot_wal_keep_size = "-1".to_owned();
        },
        &[],
        &["source-unlimited-wal", "source-idle-slot-timeout", "source-synchronized-standby-slots"],
    );
}

#[test]
fn a_history_file_says_where_a_timeline_ended() {
    let history = "1\t0/3000000\tno recovery target specified\n\n2\t1/A0\tno recovery target specified\n";
    assert_eq!(end_in_history(history, 1), Some(Lsn(0x300_0000)));
    assert_eq!(end_in_history(history, 2), Some(Lsn((1 << 32) | 0xA0)));
    assert_eq!(end_in_history(history, 3), None);
    assert_eq!(end_in_history("1 nonsense", 1), None);
}
