use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::gateway::Member;

/// Files by their paths.
struct Few(&'static [(&'static str, &'static str)]);

impl Files for Few {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| format!("{}: no such file", path.display()))
    }

    fn glob(&self, _: &Path) -> Vec<PathBuf> {
        Vec::new()
    }
}

fn read(files: &'static [(&'static str, &'static str)]) -> Configuration {
    configuration(Path::new(files[0].0), &Few(files))
}

fn addresses(pool: &Pool) -> Vec<&str> {
    pool.members.iter().map(|member: &Member| member.address.as_str()).collect()
}

const BOOTSTRAP: &str = include_str!("../../../../fixtures/gateway/envoy.yaml");

#[test]
fn a_bootstrap_file_tells_its_clusters() {
    let configuration = read(&[("/etc/envoy/envoy.yaml", BOOTSTRAP)]);
    assert_eq!(configuration.faults, Vec::<String>::new());
    let names: Vec<&str> = configuration.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["api", "secure", "db"]);
    let api = &configuration.pools[0];
    assert_eq!(addresses(api), ["10.0.0.2:3000", "10.0.0.3:3000", "unix:/run/spare.sock"]);
    assert_eq!(api.members.iter().map(|member| member.backup).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!((api.members[1].down, api.members[0].check_address.as_deref()), (true, Some("10.0.0.2:3001")));
    assert_eq!((api.members[0].max_fails, api.members[0].fail_timeout), (Some(3), Some(Duration::from_secs(45))));
    assert_eq!(
        (api.connect_timeout, api.read_timeout),
        (Some(Duration::from_millis(250)), Some(Duration::from_secs(2)))
    );
    assert_eq!((api.tries, api.scheme.as_str()), (Some(4), "http"));
    assert_eq!(api.keepalive_idle, Some(Duration::from_secs(30)));
    let check = api.check.as_ref().unwrap();
    assert_eq!((check.kind.as_str(), check.path.as_str(), check.host.as_str()), ("http", "/ready", "api.internal"));
    assert_eq!((check.interval, check.timeout), (Some(Duration::from_secs(5)), Some(Duration::from_secs(1))));
    assert_eq!((check.fall, check.rise, check.expects.as_str()), (Some(3), Some(2), "200-299 304"));
    assert!(api.source.starts_with("/etc/envoy/envoy.yaml:"));
}

#[test]
fn tls_and_tcp() {
    let configuration = read(&[("/etc/envoy/envoy.yaml", BOOTSTRAP)]);
    let secure = &configuration.pools[1];
    let tls = secure.tls.as_ref().unwrap();
    assert_eq!((tls.verify, tls.server_name.as_deref()), (true, Some("app.internal")));
    assert_eq!(tls.ca_file.as_deref(), Some(Path::new("/etc/ssl/ca.pem")));
    assert_eq!((secure.scheme.as_str(), tls.protocols.as_str()), ("https", "min TLSv1_2"));
    assert_eq!((secure.read_timeout, secure.tries), (Some(Duration::from_secs(15)), Some(1)));
    let db = &configuration.pools[2];
    assert_eq!((db.scheme.as_str(), db.tries, addresses(db)), ("tcp", Some(2), vec!["[fd00::5]:5432"]));
}

#[test]
fn access_logs_tell_their_formats() {
    let logs = read(&[("/etc/envoy/envoy.yaml", BOOTSTRAP)]).logs;
    let targets: Vec<&str> = logs.iter().filter_map(|log| log.target.as_deref()).collect();
    assert_eq!(targets, ["/var/log/envoy/access.log", "/dev/stdout"]);
    assert_eq!(logs[0].format.as_deref(), Some("[%START_TIME%] %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_HOST%"));
    assert_eq!(
        logs[1].format.as_deref(),
        Some(r#"{"status":"%RESPONSE_CODE%","flags":"%RESPONSE_FLAGS%","upstream":"%UPSTREAM_HOST%"}"#)
    );
}

#[test]
fn endpoints_may_stand_in_files_of_their_own() {
    let configuration = read(&[
        (
            "/e/envoy.yaml",
            "static_resources: {clusters: [{name: api, type: EDS, connectTimeout: 1s, edsClusterConfig: {serviceName: api-v1, \
             edsConfig: {pathConfigSource: {path: eds.json}}}}]}\ndynamic_resources: {cds_config: {path: /e/cds.yaml}}",
        ),
        (
            "/e/eds.json",
            r#"{"resources":[{"@type":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","cluster_name":"api-v1",
            "endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"10.0.0.9","port_value":80}}}}]}]}]}"#,
        ),
        (
            "/e/cds.yaml",
            "resources:\n- '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: more\n  load_assignment: {cluster_name: more, \
             endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: b, port_value: 81}}}}]}]}\n",
        ),
    ]);
    assert_eq!(configuration.files.len(), 3);
    let pools: Vec<_> = configuration.pools.iter().map(|pool| (pool.name.as_str(), addresses(pool))).collect();
    assert_eq!(pools, [("api", vec!["10.0.0.9:80"]), ("more", vec!["b:81"])]);
    assert_eq!(configuration.pools[0].connect_timeout, Some(Duration::from_secs(1)));
}

#[test]
fn a_dump_and_a_management_server() {
    let dump = read(&[(
        "/d.json",
        r#"{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ClustersConfigDump","dynamic_active_clusters":[{"cluster":
        {"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"outbound|80||a","type":"EDS","connect_timeout":"10s"}}]}]}"#,
    )]);
    assert_eq!(dump.pools[0].name, "outbound|80||a");
    let ads = read(&[("/a.yaml", "dynamic_resources: {ads_config: {api_type: GRPC}}\n")]);
    assert!(ads.pools.is_empty() && ads.faults[0].contains("/config_dump"));
}

#[test]
fn the_limit_of_an_answers_header_is_the_configured_one() {
    const CLUSTERS: &str = r#"{"static_resources":{"clusters":[
        {"name":"a","load_assignment":{"endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{
            "address":"10.0.0.2","port_value":80}}}}]}]}},
        {"name":"b","load_assignment":{"endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{
            "address":"10.0.0.3","port_value":80}}}}]}]},
         "typed_extension_protocol_options":{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":{
            "common_http_protocol_options":{"max_response_headers_kb":4},
            "explicit_http_config":{"http_protocol_options":{}}}}}]}}"#;
    let configuration = read(&[("/etc/envoy/envoy.json", CLUSTERS)]);
    let limits: Vec<_> = configuration.pools.iter().map(|pool| pool.header_limit_bytes).collect();
    assert_eq!(limits, [Some(60 * 1024), Some(4 * 1024)]);
}
