//! Secrets that are told by the program they are given to: `mysql -psecret`, `curl -u user:secret`, `redis-cli -a secret`.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Patterns with their replacements: the program, then its flag. A rule is repeated where a flag may stand twice.
const RULES: &[(&str, &str)] = &[
    (
        r"(\b(?:mysql|mysqldump|mysqladmin|mysqlimport|mysqlcheck|mariadb|mariadb-dump|mariadb-admin|mytop|xtrabackup)\b[^|;\n]*?\s-p)[^\s-]\S*",
        "$1***",
    ),
    (r"(\bsshpass\s+-p\s*)('[^']*'|\S+)", "$1***"),
    (r"(\b(?:redis-cli|keydb-cli|valkey-cli)\b[^|;\n]*?\s-a\s+)('[^']*'|\S+)", "$1***"),
    (
        r#"(\b(?:curl|wget|http|https|xh)\b[^|;\n]*?\s(?:-u|--user|--proxy-user|-U|-a|--auth)[\s=]*["']?[^\s:"']+:)[^\s"']+"#,
        "$1***",
    ),
    (r"(\b(?:ldapsearch|ldapadd|ldapmodify|ldapwhoami|ldappasswd|ldapdelete)\b[^|;\n]*?\s-w\s*)('[^']*'|\S+)", "$1***"),
    (
        r"(\b(?:mongo|mongosh|mongodump|mongorestore|docker\s+login|podman\s+login|helm\s+registry\s+login|cqlsh|influx|rabbitmqadmin|oc\s+login|az\s+login|vault\s+login|nats|clickhouse-client)\b[^|;\n]*?\s-p\s+)('[^']*'|\S+)",
        "$1***",
    ),
    (r"(\b(?:snmpwalk|snmpget|snmpbulkwalk|snmpset)\b[^|;\n]*?\s-[cAX]\s*)('[^']*'|\S+)", "$1***"),
    (r"(\b(?:smbclient|mount\.cifs|rpcclient|net)\b[^|;\n]*?\s-U\s*[^\s%]+%)\S+", "$1***"),
    (r"(\b(?:zip|unzip|sqlcmd|bcp|osql)\b[^|;\n]*?\s-P\s*)('[^']*'|\S+)", "$1***"),
    (r"(\b(?:7z|7za|7zr|rar|unrar)\b[^|;\n]*?\s-h?p)[^\s-]\S*", "$1***"),
    (r"(\bopenssl\b[^|;\n]*?\s-(?:k|K|iv)\s+)\S+", "$1***"),
    (r"(\bhtpasswd\b[^|;\n]*?\s-\w*b\w*\s+\S+\s+\S+\s+)\S+", "$1***"),
    (r"(\b(?:useradd|usermod)\b[^|;\n]*?\s-p\s+)('[^']*'|\S+)", "$1***"),
    (r"(\brabbitmqctl\s+(?:add_user|change_password|authenticate_user)\s+\S+\s+)\S+", "$1***"),
    (r"(\b(?:ipmitool|rclone|borg|restic|kinit|xfreerdp|freerdp)\b[^|;\n]*?\s(?:-P|/p:|-w)\s*)\S+", "$1***"),
];

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| super::compile(RULES));

/// Masks what well-known programs take as secrets on their command line.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    super::replace_all(text, &COMPILED)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_rule_compiles() {
        assert_eq!(super::COMPILED.len(), super::RULES.len());
    }
}
