use super::*;

#[test]
fn an_argument_behind_a_secret_flag_goes_whole() {
    let masked = arguments(["/usr/bin/app", "--password", "two words", "--port", "3000"], 512);
    assert_eq!(masked, "/usr/bin/app --password *** --port 3000");
}
