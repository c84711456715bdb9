use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::{HealthCheck, InstanceState, PoolMember, ServiceConfig, Timeouts, UpstreamTotals};

const UPSTREAM: &str = "10.0.0.2:3000";

/// A gateway of a kind with one pool, and the service behind it on another host.
fn view(kind: &str, totals: UpstreamTotals, instance: InstanceState) -> View {
    let pool = Pool {
        name: "be_api".into(),
        members: vec![PoolMember { address: UPSTREAM.into(), ..Default::default() }],
        check: Some(HealthCheck {
            path: "/".into(),
            timeout_us: 1_000_000,
            interval_us: 2_000_000,
            fall: 1,
            ..Default::default()
        }),
        timeouts: Some(Timeouts { read_us: Some(10_000_000), connect_us: Some(5_000_000), ..Default::default() }),
        keepalive_idle_us: Some(60_000_000),
        source: "haproxy.cfg:12".into(),
        ..Default::default()
    };
    let config = GatewayConfig {
        gateway: "edge".into(),
        kind: kind.into(),
        pools: vec![pool],
        readable: true,
        ..Default::default()
    };
    let upstreams = BTreeMap::from([(UPSTREAM.to_owned(), totals)]);
    let gateway = GatewayState { config: Some(Arc::new(config)), upstreams, ..Default::default() };
    let lb =
        HostState { name: "lb-1".into(), gateways: BTreeMap::from([("edge".into(), gateway)]), ..Default::default() };
    let listen = vec![UPSTREAM.into()];
    let service = ServiceConfig { name: "api".into(), listen, health_path: "/health".into(), ..Default::default() };
    let app = HostState {
        name: "app-1".into(),
        services: BTreeMap::from([("api".into(), service)]),
        instances: BTreeMap::from([("api".into(), instance)]),
        ..Default::default()
    };
    View { hosts: vec![Arc::new(app), Arc::new(lb)], ..Default::default() }
}

fn row(doc: &AdviseDoc, setting: &str) -> SettingDoc {
    doc.settings.iter().find(|one| one.setting == setting).unwrap_or_else(|| panic!("no {setting}: {doc:#?}")).clone()
}

#[test]
fn values_come_from_what_was_measured() {
    let mut totals = UpstreamTotals { idle_close_us: Some(5_000_000), ..Default::default() };
    totals.slowest_us.note(0, 12_000_000);
    let instance = InstanceState {
        health_times_us: [20_000, 3_000_000].into(),
        start_times_us: [8_200_000].into(),
        ..Default::default()
    };
    let doc = document(&view("haproxy", totals, instance), Some("api"));
    let check = row(&doc, "timeout check");
    assert_eq!((check.now.as_deref(), check.recommended.as_str()), (Some("1 s"), "6 s"));
    assert!(check.why.contains("3000 ms") && check.snippet == "timeout check 6s", "{check:?}");
    let read = row(&doc, "timeout server");
    assert!(row(&doc, "slowstart").recommended == "13 s" && read.pool == "be_api", "{doc:#?}");
    assert_eq!(row(&doc, "pool-purge-delay").recommended, "4 s");
    assert_eq!(
        (row(&doc, "option httpchk").now.as_deref(), row(&doc, "option httpchk").recommended.as_str()),
        (Some("/"), "/health")
    );
    assert_eq!((row(&doc, "fall").now.as_deref(), row(&doc, "fall").recommended.as_str()), (Some("1"), "3"));
    let connect = row(&doc, "timeout connect");
    assert!(!connect.change && connect.snippet.is_empty(), "{connect:?}");
}

#[test]
fn targets_choose_and_unknown_ones_find_nothing() {
    let view = view("nginx", UpstreamTotals::default(), InstanceState::default());
    for target in ["edge", "lb-1", "be_api", "api"] {
        assert!(!document(&view, Some(target)).settings.is_empty(), "{target}");
    }
    assert!(document(&view, Some("nobody")).settings.is_empty());
}

#[test]
fn the_reference_for_a_gateway_of_which_nothing_is_known() {
    let doc = document(&View::default(), None);
    let values: Vec<(&str, &str)> =
        doc.settings.iter().map(|one| (one.what.as_str(), one.recommended.as_str())).collect();
    let expected = [
        ("health check interval", "30 s"),
        ("health check timeout", "5 s"),
        ("failed checks that take a member out", "3"),
        ("good checks that take it back", "2"),
        ("initial delay", "60 s"),
        ("connect timeout", "5 s"),
        ("send timeout", "30 s"),
        ("read timeout", "30 s"),
        ("attempts", "3"),
    ];
    assert_eq!(values, expected);
    let envoy = document(&View::default(), Some("envoy"));
    assert!(envoy.settings.iter().any(|one| one.snippet == "connect_timeout: 5s"), "{envoy:#?}");
}
