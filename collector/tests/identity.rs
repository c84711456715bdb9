//! Who comes in and who does not: a collector in this process with a CA of its own, real handshakes, and the figures of what was
//! tried against it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by panicking

#[path = "identity/guarded.rs"]
mod guarded;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use guarded::{Guarded, Host, TOKEN_REFUSED, hello, now_s, report};
use tonic::Code;
use why502::identity::Role;
use why502::identity::authority::Authority;
use why502_proto::v1;
use why502_proto::v1::create_token_request::For;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_reports_under_its_own_name_and_no_other() {
    const FORGED: usize = 10_000;
    let guarded = Guarded::start("").await;
    let host = guarded.enrolled("app-1").await;
    let mut channel = host.channel(&guarded).await.unwrap();
    let mut accepted = 0;
    for number in 0..FORGED {
        // One that opens and gives up many streams is cut off for that alone.
        if number % 30 == 29 {
            channel = host.channel(&guarded).await.unwrap();
        }
        let forged = match number % 5 {
            0 => format!("app-{}", number + 2),
            1 => format!("app-1.{number}"),
            2 => format!("APP-1{}", " ".repeat(number % 7)),
            3 => format!("*{number}"),
            _ => format!("app-1\u{301}{number}"),
        };
        let mut opened = guarded::open(channel.clone(), hello(&forged, 1)).await;
        // Where this machine stalled, the connection was closed for letting nothing in.
        if opened.as_ref().is_err_and(|status| !is_verdict(status)) {
            channel = host.channel(&guarded).await.unwrap();
            opened = guarded::open(channel.clone(), hello(&forged, 1)).await;
        }
        match opened {
            Ok(_) => accepted += 1,
            Err(status) => assert!(is_verdict(&status), "{status}"),
        }
    }
    println!("forged host names accepted: {accepted} of {FORGED}");
    assert_eq!(accepted, 0);
    let mut own = guarded::open(channel, hello("app-1", 1)).await.unwrap();
    own.send(report(1)).await;
    own.acked(1).await.unwrap();
}

/// Whether it says that the name is not let in.
fn is_verdict(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::PermissionDenied | Code::InvalidArgument)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_used_a_hundred_times_at_once_enrols_one_host() {
    const USES: usize = 100;
    let guarded = Guarded::start("").await;
    let token = guarded.token_for("app-1").await;
    let mut tries = tokio::task::JoinSet::new();
    let channel = guarded.anonymous().await;
    // From its first answer on the client knows how many streams it may have at once, and keeps the others waiting.
    assert!(Host::enroll(channel.clone(), "none", "app-2").await.is_err());
    for _ in 0..USES {
        let (channel, token) = (channel.clone(), token.clone());
        tries.spawn(async move { Host::enroll(channel, &token, "app-1").await });
    }
    let tried = tries.join_all().await;
    let enrolled = tried.iter().filter(|tried| tried.is_ok()).count();
    println!("hosts enrolled with one token, used {USES} times at once: {enrolled}");
    assert_eq!(enrolled, 1);
    for status in tried.iter().filter_map(|tried| tried.as_ref().err()) {
        assert!(status.message().contains(TOKEN_REFUSED), "{status}");
    }
    let status = guarded.status().await;
    let notices = status["doors"]["notices"].as_array().unwrap();
    assert!(notices.iter().any(|notice| notice["host"] == "app-1" && notice["count"] == USES - 1), "{notices:?}");
}

#[tokio::test]
async fn certificates_that_are_not_good_are_refused() {
    let guarded = Guarded::start("").await;
    let elsewhere = tempfile::tempdir().unwrap();
    Authority::create(elsewhere.path()).unwrap();
    let foreign = Authority::load(elsewhere.path()).unwrap().unwrap();
    let own = guarded.authority();
    let (hour, day) = (Duration::from_secs(3_600), 86_400);
    let bad = [
        ("expired", Host::signed_by(&own, "app-1", now_s() - 2 * day, hour)),
        ("of another CA", Host::signed_by(&foreign, "app-1", now_s() - 10, hour)),
        ("not yet good: a clock is wrong", Host::signed_by(&own, "app-1", now_s() + day, hour)),
        ("none at all", Host::without_certificate("app-1")),
    ];
    for (what, host) in bad {
        assert!(host.report_once(&guarded).await.is_err(), "{what}");
    }
    let good = Host::signed_by(&own, "app-1", now_s() - 10, hour);
    good.report_once(&guarded).await.unwrap();
    guarded.revoke("app-1").await;
    assert!(good.report_once(&guarded).await.unwrap_err().contains("revoked"));
    assert!(good.renew(&guarded).await.is_err(), "a revoked host renews nothing");
    guarded.enrolled("app-1").await.report_once(&guarded).await.unwrap();
    println!("refused: expired, another CA's, not yet good, none, revoked; let in: good, enrolled again");
}

#[tokio::test]
async fn revoking_a_host_and_the_end_of_a_certificate_cut_open_streams() {
    let guarded = Guarded::start("").await;
    let host = guarded.enrolled("app-1").await;
    let mut stream = guarded::open(host.channel(&guarded).await.unwrap(), hello("app-1", 1)).await.unwrap();
    let other = guarded.enrolled("app-2").await;
    let mut unharmed = guarded::open(other.channel(&guarded).await.unwrap(), hello("app-2", 1)).await.unwrap();
    let began = Instant::now();
    guarded.revoke("app-1").await;
    assert_eq!(stream.ended().await.code(), Code::PermissionDenied);
    println!("stream cut {} ms after its host was revoked", began.elapsed().as_millis());
    assert!(began.elapsed() < Duration::from_secs(5));
    unharmed.send(report(1)).await;
    unharmed.acked(1).await.unwrap();

    let short = Host::signed_by(&guarded.authority(), "app-3", now_s(), Duration::from_secs(4));
    let mut stream = guarded::open(short.channel(&guarded).await.unwrap(), hello("app-3", 1)).await.unwrap();
    assert!(stream.ended().await.message().contains("not good at this time"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_renewals_with_streams_open_lose_no_report() {
    const HOSTS: usize = 4;
    const RENEWALS: u64 = 250;
    let guarded = std::sync::Arc::new(Guarded::start("").await);
    let mut hosts = tokio::task::JoinSet::new();
    for number in 0..HOSTS {
        let guarded = guarded.clone();
        hosts.spawn(async move {
            let name = format!("app-{number}");
            let mut host = guarded.enrolled(&name).await;
            let first = host.channel(&guarded).await.unwrap();
            let mut stream = guarded::open(first, hello(&name, 1)).await.unwrap();
            for seq in 1..=RENEWALS {
                stream.send(report(seq)).await;
                host = host.renew(&guarded).await.unwrap();
                // As the agent does: the next stream opens while the one before it is open, and what was not
                // acknowledged on that one is sent again.
                let mut next = guarded::open(host.channel(&guarded).await.unwrap(), hello(&name, seq)).await.unwrap();
                next.send(report(seq)).await;
                next.acked(seq).await.unwrap();
                stream = next;
            }
        });
    }
    hosts.join_all().await;
    let sent = HOSTS as u64 * RENEWALS;
    let (mut status, deadline) = (guarded.status().await, Instant::now() + Duration::from_secs(5));
    // What was acknowledged is taken; the view that is asked is published a moment later.
    while status["collector"]["reports"] != sent && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
        status = guarded.status().await;
    }
    let taken = status["collector"]["reports"].as_u64().unwrap();
    println!("{sent} renewals with streams open: {} of {sent} reports lost", sent - taken);
    assert_eq!(taken, sent);
    assert_eq!(status["doors"]["notices"].as_array().unwrap().len(), 0, "{status}");
}

#[tokio::test]
async fn what_somebody_may_ask_depends_on_the_role() {
    let guarded = Guarded::start("").await;
    let admin = guarded.admin_token();
    let reader = guarded.token(&admin, v1::create_token_request::For::Role("read".into())).await.unwrap();
    let ask = |token: Option<String>| guarded.ask(token, None);
    let mark = |token: Option<String>| guarded.mark(token);
    assert_eq!(ask(None).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(ask(Some("why502_wrong".into())).await.unwrap_err().code(), Code::Unauthenticated);
    ask(Some(reader.clone())).await.unwrap();
    ask(Some(admin.clone())).await.unwrap();
    assert_eq!(mark(Some(reader.clone())).await.unwrap_err().code(), Code::PermissionDenied);
    mark(Some(admin)).await.unwrap();
    let refused = guarded.token(&reader, v1::create_token_request::For::Host("app-1".into())).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let host = guarded.enrolled("app-1").await;
    assert_eq!(guarded.ask(None, Some(&host)).await.unwrap_err().code(), Code::Unauthenticated);
    let person = Host::person(&guarded.authority(), "ann", Role::Read);
    guarded.ask(None, Some(&person)).await.unwrap();
    assert!(person.report_once(&guarded).await.is_err(), "a person's certificate is no host's");
    // On this machine everybody may ask in plain text, as before, and change nothing without a token.
    assert_eq!(guarded.plain(None).await, (Ok(()), Err(Code::PermissionDenied)));
    assert_eq!(guarded.plain(Some(guarded.admin_token())).await, (Ok(()), Ok(())));
}

#[tokio::test]
async fn a_root_is_replaced_while_hosts_report() {
    let guarded = Guarded::start("").await;
    let before = guarded.enrolled("app-1").await;
    let old_pin = guarded.authority().pin();
    Authority::rotate(&guarded.identity_dir()).unwrap();
    assert!(Authority::rotate(&guarded.identity_dir()).is_err(), "one rotation at a time");
    assert_eq!(guarded.authority().pin(), old_pin, "hosts that know the old root must recognise the collector");
    let after = guarded.enrolled_by_new_root("app-2").await;
    for host in [&before, &after] {
        host.report_once(&guarded).await.unwrap();
    }
    let renewed = before.renew(&guarded).await.unwrap();
    Authority::retire(&guarded.identity_dir()).unwrap();
    guarded.until_refused(&before).await;
    renewed.report_once(&guarded).await.unwrap();
    assert_ne!(guarded.authority().pin(), old_pin);
}

#[tokio::test]
async fn a_key_that_two_machines_use_is_told() {
    let guarded = Guarded::start("").await;
    let host = guarded.enrolled("app-1").await;
    let channel = host.channel(&guarded).await.unwrap();
    let machine = |boot: &str, epoch| v1::Hello { boot_id: boot.into(), epoch, ..hello("app-1", 1) };
    let told = async || guarded.status().await["doors"]["notices"].as_array().unwrap().clone();
    // A restart and a reconnect are one machine.
    let _first = guarded::open(channel.clone(), machine("b", 1)).await.unwrap();
    let _again = guarded::open(channel.clone(), machine("b", 1)).await.unwrap();
    let _clone = guarded::open(channel.clone(), machine("b", 2)).await.unwrap();
    assert_eq!(told().await.len(), 0);
    let _back = guarded::open(channel.clone(), machine("b", 1)).await.unwrap();
    let notices = told().await;
    let says = notices[0]["says"].as_str().unwrap();
    assert!(says.starts_with("two agents of one machine report under this name in turn, from 127.0.0.1, "), "{says}");
    assert_eq!(guarded.hosts().await["notices"], serde_json::json!(notices));
    let _elsewhere = guarded::open(channel.clone(), machine("c", 1)).await.unwrap();
    let _back = guarded::open(channel.clone(), machine("b", 1)).await.unwrap();
    let notices = told().await;
    assert_eq!((notices.len(), &notices[0]["host"]), (2, &"app-1".into()));
    assert!(notices[0]["says"].as_str().unwrap().starts_with("two machines report"), "{notices:?}");
}

#[tokio::test]
async fn a_version_of_tls_from_before_1_3_is_spoken_by_choice_only() {
    use rustls::version::{TLS12, TLS13};
    let (usual, lenient) = (Guarded::start("").await, Guarded::start("min_version = \"1.2\"").await);
    assert_eq!((usual.speaks(&TLS13).await, usual.speaks(&TLS12).await), (true, false));
    assert_eq!((lenient.speaks(&TLS13).await, lenient.speaks(&TLS12).await), (true, true));
}

#[tokio::test]
async fn a_first_start_beyond_this_machine_makes_a_ca_unless_plain_text_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let config = |ingest: &str| {
        let text = format!(
            "[ingest]\nlisten = \"0.0.0.0:0\"\n{ingest}\n[api]\nlisten = \"127.0.0.1:0\"\n[store]\ndir = {:?}\n",
            dir.path()
        );
        why502::config::Config::parse(&text, "test").unwrap()
    };
    drop(why502::bind(&config("insecure = true")).await.unwrap());
    let identity = dir.path().join("identity");
    assert!(!identity.exists(), "plain text was asked for");

    drop(why502::bind(&config("")).await.unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&identity), 0o700);
    for secret in ["ca.key", "admin.token", "registry.json"] {
        assert_eq!(mode(&identity.join(secret)), 0o600, "{secret}");
    }
    let pin = || Authority::load(&identity).unwrap().unwrap().pin();
    let first = pin();
    drop(why502::bind(&config("")).await.unwrap());
    assert_eq!(pin(), first, "a further start makes no further CA");

    std::fs::remove_file(identity.join("ca.pem")).unwrap();
    let refused = why502::bind(&config("")).await.err().unwrap().to_string();
    assert!(refused.contains("ca.key without ca.pem"), "{refused}");
}

#[tokio::test]
async fn only_administrators_change_anything() {
    let guarded = Guarded::start("").await;
    let admin = guarded.admin_token();
    let reader = guarded.token(&admin, For::Role("read".into())).await.unwrap();
    for (what, told) in guarded.changes(Some(&reader)).await {
        assert_eq!(told, Err(Code::PermissionDenied), "{what} by a reader");
    }
    for (what, told) in guarded.changes(None).await {
        assert_eq!(told, Err(Code::Unauthenticated), "{what} by nobody");
    }
    for (what, told) in guarded.changes(Some(&admin)).await {
        assert_eq!(told, Ok(()), "{what} by an administrator");
    }
    assert!(guarded.ask(Some(reader), None).await.is_ok(), "a reader asks");
}

#[tokio::test]
async fn a_token_that_was_taken_back_lets_nobody_in() {
    let guarded = Guarded::start("").await;
    let (admin, token) = (guarded.admin_token(), guarded.token_for("app-1").await);
    let reader = guarded.token(&admin, For::Role("read".into())).await.unwrap();
    let listed = guarded.tokens(&admin).await;
    assert_eq!(listed.len(), 3, "the administrator's is one of them: {listed:?}");
    assert!(!format!("{listed:?}").contains(&token));
    for one in listed.iter().filter(|one| one.r#for != Some(v1::token::For::Role("admin".into()))) {
        assert!(guarded.take_back(&admin, &one.id).await);
        assert!(!guarded.take_back(&admin, &one.id).await, "it is gone");
    }
    let refused = Host::enroll(guarded.anonymous().await, &token, "app-1").await.err().unwrap();
    assert!(refused.message().contains(TOKEN_REFUSED), "{refused}");
    assert_eq!(guarded.ask(Some(reader), None).await.err().unwrap().code(), Code::Unauthenticated);
}
