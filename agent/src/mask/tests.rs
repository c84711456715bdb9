use super::*;

/// Secrets in the forms in which programs write them, and ordinary text.
const FORMS: &str = include_str!("../../fixtures/secrets.txt");

fn forms() -> impl Iterator<Item = (&'static str, String)> {
    let rows = FORMS.lines().filter(|row| !row.starts_with('#'));
    rows.map(|row| {
        let (secret, text) = row.split_once('\t').expect("a tab");
        (secret, text.replace('⏎', "\n"))
    })
}

#[test]
fn no_form_leaks() {
    let secret = forms().filter(|(secret, _)| *secret != "-");
    assert!(secret.count() >= 200);
    let leaks: Vec<_> = forms()
        .filter(|(secret, _)| *secret != "-")
        .map(|(secret, form)| (secret, text(&form), form))
        .filter(|(secret, masked, _)| masked.contains(secret) || masked == &String::new())
        .map(|(_, masked, form)| format!("{form}  ->  {masked}"))
        .collect();
    assert!(leaks.is_empty(), "{} leaks: {leaks:#?}", leaks.len());
}

#[test]
fn ordinary_text_is_left_alone() {
    let changed: Vec<_> = forms()
        .filter(|(secret, form)| *secret == "-" && text(form) != *form)
        .map(|(_, form)| format!("{form}  ->  {}", text(&form)))
        .collect();
    assert!(changed.is_empty(), "{} changed: {changed:#?}", changed.len());
}

#[test]
fn what_surrounds_a_secret_stays() {
    let cases = [
        ("{\"password\":\"x1\",\"user\":\"bob\"}", "{\"password\":\"***\",\"user\":\"bob\"}"),
        ("postgres://app:x1@db:5432/shop", "postgres://***@db:5432/shop"),
        ("GET /cb?code=x1&page=2 HTTP/1.1", "GET /cb?code=***&page=2 HTTP/1.1"),
        ("app --token x1 --port 3000", "app --token *** --port 3000"),
        ("Cookie: sid=x1; a=b\nHost: x", "Cookie: ***\nHost: x"),
        ("a -----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY----- b", "a *** b"),
    ];
    for (form, masked) in cases {
        assert_eq!(text(form), masked);
    }
}

#[test]
fn masking_twice_is_masking_once() {
    for (_, form) in forms() {
        let once = text(&form);
        assert_eq!(text(&once), once, "{form}");
    }
}

#[test]
fn an_argument_behind_a_secret_flag_goes_whole() {
    let masked = arguments(["/usr/bin/app", "--password", "two words", "--port", "3000"], 512);
    assert_eq!(masked, "/usr/bin/app --password *** --port 3000");
    let masked = arguments(["mysql", "-uroot", "-pS3cr3t", "shop"], 512);
    assert_eq!(masked, "mysql -uroot -p*** shop");
}

#[test]
fn a_cut_comes_after_masking_and_at_a_characters_end() {
    let long = format!("token={} é", "x".repeat(3000));
    assert_eq!(line(long.as_bytes(), 100), "token=*** é");
    assert_eq!(line("ééé".as_bytes(), 3), "é");
    assert_eq!(path("/reset/ok?token=abc#x", 256), "/reset/ok");
    assert_eq!(line(b"\xff\xfe", 256), "\u{fffd}\u{fffd}");
}

#[test]
fn every_rule_compiles() {
    assert_eq!(shape::rules(), shape::RULE_COUNT);
}

#[test]
fn no_bytes_make_it_panic_or_hang() {
    for piece in [
        "a",
        "=",
        ":",
        "\"",
        "\\",
        "%22",
        "://",
        "@",
        "password",
        "token=",
        "--p ",
        "<",
        "\n",
        "é",
        "-----BEGIN PRIVATE KEY-----",
    ] {
        line(piece.repeat(40_000 / piece.len()).as_bytes(), 1024);
    }
}
