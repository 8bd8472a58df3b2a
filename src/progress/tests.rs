//! Conversations with a server, line by line.

use super::*;

use self::Did::{Connected, Disk, Keepalive, Message, Tick};

/// What happens, one second after the line before it.
#[derive(Clone, Copy, Debug)]
enum Did {
    Connected,
    /// A commit that ends here.
    Message(u64),
    /// Position, whether a reply is wanted, what is pending.
    Keepalive(u64, bool, Pending),
    Tick(Pending),
    /// The journal is on disk up to here; one entry more each time.
    Disk(u64),
}

const NOTHING: Decision = Decision::Nothing;

fn confirm(position: u64) -> Decision {
    Decision::Confirm { position: Confirmable(Lsn(position)), ask: false }
}

fn ask(position: u64) -> Decision {
    Decision::Confirm { position: Confirmable(Lsn(position)), ask: true }
}

fn journal(position: u64) -> Decision {
    Decision::Journal(Lsn(position))
}

fn close(seconds: u64) -> Decision {
    Decision::Close { stalled: Duration::from_secs(seconds) }
}

fn fresh(status_interval_s: u64) -> Progress {
    let start = Lsn(100);
    Progress::new(
        Journaled { lsn: start, entry: EntryNo(1) },
        Applied { lsn: start, entry: EntryNo(1) },
        Projected { lsn: start, entry: EntryNo(1) },
        Duration::from_secs(status_interval_s),
        Duration::ZERO,
    )
}

fn check_with(status_interval_s: u64, lines: &[(Did, Decision)]) {
    let mut progress = fresh(status_interval_s);
    let mut confirmed = Lsn(100);
    for (line, (did, expected)) in lines.iter().enumerate() {
        let now = Duration::from_secs(line as u64 + 1);
        let decision = match *did {
            Connected => {
                progress.on_connected(now);
                NOTHING
            }
            Message(end) => {
                progress.on_message(Lsn(end), Some(Lsn(end)), now);
                NOTHING
            }
            Keepalive(position, wanted, pending) => {
                progress.on_keepalive(Lsn(position), wanted, pending, now)
            }
            Tick(pending) => progress.on_tick(pending, now),
            Disk(lsn) => {
                let entry = progress.journaled().entry.next();
                progress.on_journaled(Journaled { lsn: Lsn(lsn), entry }, now)
            }
        };
        assert_eq!(decision, *expected, "line {line}: {did:?}");
        if let Decision::Confirm { position, .. } = decision {
            assert!(position.lsn() >= confirmed && position.lsn() <= progress.journaled().lsn);
            confirmed = position.lsn();
        }
    }
}

/// Without periodic statuses, which would only be in the way.
fn check(lines: &[(Did, Decision)]) {
    check_with(1_000, lines);
}

use Pending::{Journal as Owed, Nothing as Clear, Transaction as Open};

#[test]
fn an_idle_position_is_confirmed_only_once_its_entry_is_on_disk() {
    check(&[
        (Keepalive(200, false, Clear), journal(200)),
        (Keepalive(200, false, Clear), NOTHING),
        (Disk(200), confirm(200)),
        (Keepalive(200, false, Clear), NOTHING),
    ]);
}

#[test]
fn idle_positions_are_coalesced_and_the_last_one_is_not_forgotten() {
    check(&[
        (Keepalive(200, false, Clear), journal(200)),
        (Disk(200), confirm(200)),
        (Keepalive(300, false, Clear), NOTHING),
        (Keepalive(400, false, Clear), NOTHING),
        (Tick(Clear), NOTHING),
        (Tick(Clear), journal(400)),
        (Disk(400), confirm(400)),
    ]);
}

#[test]
fn a_server_that_asks_gets_its_position_at_once_also_within_the_five_seconds() {
    check(&[
        (Keepalive(200, false, Clear), journal(200)),
        (Disk(200), confirm(200)),
        (Keepalive(300, true, Clear), journal(300)),
        (Disk(300), confirm(300)),
        (Keepalive(300, true, Clear), confirm(300)),
    ]);
}

#[test]
fn a_server_that_asks_while_an_entry_is_on_its_way_waits_for_that_or_for_a_further_one() {
    check(&[
        (Keepalive(200, false, Clear), journal(200)),
        (Keepalive(200, true, Clear), NOTHING),
        (Keepalive(250, true, Clear), journal(250)),
        (Disk(200), NOTHING),
        (Disk(250), confirm(250)),
    ]);
}

#[test]
fn with_data_pending_no_keepalive_position_is_confirmed() {
    check(&[
        (Message(200), NOTHING),
        (Keepalive(900, true, Owed), NOTHING),
        (Disk(200), confirm(200)),
        (Keepalive(900, true, Open), confirm(200)),
        (Keepalive(900, false, Open), NOTHING),
    ]);
}

#[test]
fn an_idle_position_from_before_a_commit_is_left_to_that_commit() {
    check(&[
        (Keepalive(200, false, Clear), journal(200)),
        (Disk(200), confirm(200)),
        (Keepalive(300, false, Clear), NOTHING),
        (Message(400), NOTHING),
        (Disk(400), NOTHING),
        (Tick(Clear), NOTHING),
        (Tick(Clear), NOTHING),
        (Tick(Clear), NOTHING),
    ]);
}

#[test]
fn the_connection_is_closed_when_the_journal_owes_and_stands_still_for_ten_seconds() {
    let mut lines = vec![(Message(200), NOTHING)];
    lines.extend([(Tick(Owed), NOTHING); 10]);
    lines.push((Tick(Owed), close(10)));
    check(&lines);
    lines.pop();
    lines.push((Keepalive(200, true, Owed), close(10)));
    check(&lines);
}

#[test]
fn a_position_entry_that_never_reaches_the_disk_closes_the_connection_too() {
    let mut lines = vec![(Keepalive(200, true, Clear), journal(200))];
    lines.extend([(Tick(Clear), NOTHING); 9]);
    lines.push((Tick(Clear), close(10)));
    check(&lines);
}

#[test]
fn a_slow_journal_that_advances_is_not_a_stall_nor_is_a_server_that_pauses_in_a_transaction() {
    let mut lines = vec![(Message(200), NOTHING)];
    for part in 0..4 {
        lines.extend([(Tick(Owed), NOTHING); 9]);
        lines.push((Disk(110 + part), NOTHING));
    }
    check(&lines);
    check(&[(Tick(Open), NOTHING); 60]);
}

#[test]
fn a_stall_is_over_when_nothing_is_owed_any_more() {
    let mut lines = vec![(Tick(Owed), NOTHING); 9];
    lines.push((Tick(Clear), NOTHING));
    lines.extend([(Tick(Owed), NOTHING); 10]);
    lines.push((Tick(Owed), close(10)));
    check(&lines);
}

#[test]
fn a_new_connection_owes_nothing_of_the_old_one() {
    let mut lines = vec![(Keepalive(200, true, Clear), journal(200))];
    lines.extend([(Tick(Clear), NOTHING); 8]);
    lines.push((Connected, NOTHING));
    lines.extend([(Tick(Clear), NOTHING); 3]);
    lines.push((Keepalive(200, true, Clear), journal(200)));
    lines.push((Disk(200), confirm(200)));
    check(&lines);
}

#[test]
fn a_status_goes_out_at_the_interval_and_asks_a_silent_server_to_answer() {
    check_with(
        3,
        &[
            (Keepalive(100, false, Clear), NOTHING),
            (Tick(Clear), NOTHING),
            (Tick(Clear), confirm(100)),
            (Tick(Clear), NOTHING),
            (Tick(Clear), NOTHING),
            (Tick(Clear), ask(100)),
        ],
    );
}

#[test]
fn no_status_answers_a_server_whose_reply_the_journal_still_owes() {
    check_with(
        3,
        &[
            (Keepalive(200, true, Owed), NOTHING),
            (Tick(Owed), NOTHING),
            (Tick(Owed), NOTHING),
            (Tick(Owed), NOTHING),
            (Disk(200), confirm(200)),
        ],
    );
}

#[test]
fn the_watermarks_stay_in_their_order_over_a_lost_connection() {
    let mut progress = fresh(10);
    let now = Duration::from_secs(1);
    progress.on_message(Lsn(500), Some(Lsn(500)), now);
    assert_eq!((progress.received(), progress.server()), (Received(Lsn(500)), Lsn(500)));
    progress.on_connected(now);
    assert_eq!(progress.received(), Received(Lsn(100)));
    progress.on_journaled(Journaled { lsn: Lsn(600), entry: EntryNo(2) }, now);
    assert_eq!(progress.received(), Received(Lsn(600)));
    assert_eq!(progress.confirmable().lsn(), Lsn(600));
}

#[test]
fn lag_is_zero_only_when_all_is_projected_and_the_server_was_heard_of() {
    let s = Duration::from_secs;
    let mut progress = fresh(10);
    progress.on_keepalive(Lsn(100), false, Pending::Nothing, s(10));
    assert_eq!(progress.lag(s(20)), Duration::ZERO);
    assert_eq!((progress.lag(s(40)), progress.silence(s(40))), (s(30), s(30)));
    progress.on_message(Lsn(200), Some(Lsn(200)), s(41));
    assert_eq!(progress.lag(s(43)), s(2));
    // Foreign WAL that holds nothing for us is not lag.
    progress.on_projected(Projected { lsn: Lsn(200), entry: EntryNo(2) });
    progress.on_keepalive(Lsn(900), false, Pending::Nothing, s(44));
    assert_eq!(progress.lag(s(46)), Duration::ZERO);
    // A lost connection does not make what was received younger.
    progress.on_message(Lsn(1_000), Some(Lsn(1_000)), s(50));
    progress.on_connected(s(55));
    progress.on_message(Lsn(1_000), Some(Lsn(1_000)), s(56));
    assert_eq!(progress.lag(s(60)), s(10));
}
