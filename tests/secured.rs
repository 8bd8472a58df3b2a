//! A cluster whose security is on: the daemon gets in with no more rights than the manual names, and says so when it
//! does not. API keys cannot be had from the distribution that is tested with; how they are sent is tested elsewhere.

mod support;

use std::os::unix::fs::PermissionsExt;

use support::daemon::{self, Daemon};
use support::elasticsearch::{Elasticsearch, VERSION};
use support::postgres::Postgres;
use support::{proxy, shop};

/// Exit code of a refusal.
const SAFETY: i32 = 3;
/// In no log.
const PASSWORD: &str = "planted-secret";
/// What docs/operations.md says that the daemon needs, and less.
const ROLES: [(&str, &str); 2] = [("enough", "manage, read, index, delete"), ("less", "read")];

#[test]
fn a_secured_cluster_is_written_with_just_the_rights_of_the_manual_and_less_is_told_by_its_code() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 50, 50);
    let mut elasticsearch = Elasticsearch::start_secured(VERSION, &ROLES, PASSWORD);
    let secrets = support::private_folder("secrets");
    let file = secrets.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    let user = |name: &str| format!("  user: {name}\n  password_file: {}\n", file.display());
    let options = |credentials: String| daemon::Options {
        sink_port: Some(proxy::port_of(elasticsearch.url())),
        sink_extra: credentials,
        ..daemon::Options::shop()
    };
    for (credentials, code) in [
        (String::new(), "sink-auth"),
        ("  user: enough\n  password: planted-wrong\n".to_owned(), "sink-auth"),
        (user("nobody"), "sink-auth"),
        ("  api_key: cGxhbnRlZDp3cm9uZw==\n".to_owned(), "sink-auth"),
        ("  bearer_token: planted-token\n".to_owned(), "sink-auth"),
        (user("less"), "sink-forbidden"),
    ] {
        let mut daemon = Daemon::prepare(&postgres, &elasticsearch, &options(credentials));
        daemon.spawn();
        daemon.wait_refusal(SAFETY, code);
        assert!(!daemon.log().contains("planted"), "{}", daemon.log());
        println!("{code}: refused");
    }

    let daemon = Daemon::start(&postgres, &elasticsearch, &options(user("enough")));
    daemon.in_step(&postgres, &elasticsearch);
    let session = postgres.session(shop::DATABASE);
    session.must("DELETE FROM products WHERE id % 7 = 0");
    session.must("UPDATE products SET name = name || ' in step'");
    daemon.in_step(&postgres, &elasticsearch);
    // Shut out while it runs: it says so, tries again, and nothing is lost by it.
    elasticsearch.users(&["userdel", "enough"]);
    support::wait_for("it is shut out", daemon::CATCH_UP, || {
        session.must("UPDATE products SET name = name || '.'");
        let status = daemon.status().ok_or("no answer")?;
        let trouble = status["trouble"].as_str().unwrap_or_default();
        if trouble.contains("sink-auth") { Ok(()) } else { Err(trouble.to_owned()) }
    });
    assert!(daemon.log().contains("sink-auth"), "the log says why: {}", daemon.log());
    assert!(!daemon.log().contains("planted"), "{}", daemon.log());
    elasticsearch.users(&["useradd", "enough", "-p", PASSWORD, "-r", "enough"]);
    daemon.in_step(&postgres, &elasticsearch);
}
