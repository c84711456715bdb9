//! What goes wrong between a gateway and its instances on the gateway's own side: names, sockets, its own limits, a gateway
//! between, and clients that do not wait.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ONE, TWO, behave};
use crate::lab::plan::{App, GATEWAY, GATEWAY_HOST, Gateway, Kind, Plan, SOCKET};
use crate::lab::story::{Expect, Story};
use crate::lab::world::{World, inner_address};
use crate::lab::{Done, wait_for};

pub(super) fn all() -> Vec<Story> {
    vec![
        name_unknown(),
        socket_left_behind(),
        socket_removed(),
        socket_forbidden(),
        gateway_out_of_connections(),
        behind_inner_gateway(),
        clients_do_not_wait(),
    ]
}

/// The members' name is looked up as requests come; then somebody removes it.
fn name_unknown() -> Story {
    Story::new("name_unknown")
        .also(&[Kind::Caddy])
        .needs(&["python3"])
        .plan(Plan::default().gateway(|gateway| gateway.by_name = true))
        .expect(
            Expect::new("dns_failure", "", ONE)
                .at("shop.internal:3000")
                .cites(&["shop.internal"])
                .advises(&["resolv|record|name"]),
        )
        .fault(|world| world.name(Vec::new()))
        .heal(|world| world.name(vec!["10.50.0.21".to_owned(), "10.50.0.22".to_owned()]))
}

/// An application on the gateway's host, reached by a unix socket; nginx' workers have no right that others lack.
fn by_socket() -> Plan {
    let app = App { socket: true, ..App::node(GATEWAY_HOST, GATEWAY) };
    Plan { gateway: Gateway { user: "www-data", ..Gateway::default() }, apps: vec![app], ..Plan::default() }
}

fn at_socket(cause: &'static str) -> Expect {
    Expect::new(cause, GATEWAY_HOST, GATEWAY).at(&format!("unix:{SOCKET}"))
}

fn restart(world: &mut World) -> Done {
    world.stop_app(GATEWAY_HOST)?;
    world.start_app(GATEWAY_HOST)
}

/// Whoever is killed leaves its socket behind: it is refused there, as at a port.
fn socket_left_behind() -> Story {
    Story::new("socket_left_behind")
        .plan(by_socket())
        .expect(at_socket("process_killed").cites(&["sigkill|signal 9"]).advises(&["kill"]))
        .fault(|world| world.signal_app(GATEWAY_HOST, "SIGKILL"))
        .heal(restart)
}

/// Something cleaned up; the application listens on a socket that has no name any more.
fn socket_removed() -> Story {
    Story::new("socket_removed")
        .plan(by_socket())
        .expect(at_socket("port_not_listening").cites(&["shop.sock"]).advises(&["socket|listen"]))
        .fault(|world| world.run(GATEWAY_HOST, &format!("rm {SOCKET}")))
        .heal(restart)
}

fn socket_forbidden() -> Story {
    Story::new("socket_forbidden")
        .plan(by_socket())
        .expect(at_socket("upstream_socket_permission").cites(&["permission"]).advises(&["mode|owner"]))
        .fault(|world| world.run(GATEWAY_HOST, &format!("chmod 600 {SOCKET}")))
        .heal(|world| world.run(GATEWAY_HOST, &format!("chmod 666 {SOCKET}")))
}

/// All are slower than they were, and nginx was given too few connections for that.
fn gateway_out_of_connections() -> Story {
    let short = |host, number| {
        let expect = Expect::new("gateway_resource", host, number).cites(&["worker_connections"]);
        expect.advises(&["worker_connections"])
    };
    Story::new("gateway_out_of_connections")
        .plan(Plan::default().gateway(|gateway| gateway.connections = 61))
        .expect(short("app-1", ONE))
        .expect(short("app-2", TWO))
        .fault(|world| {
            for host in ["app-1", "app-2"] {
                world.faults(host, &json!({ "slow": { "path": "/", "ms": 2500 } }))?;
            }
            Ok(())
        })
        .heal(|world| ["app-1", "app-2"].iter().try_for_each(|host| world.faults(host, &json!({}))))
}

/// nginx before nginx: the outer one passes on what the inner one answers for an application that was killed.
fn behind_inner_gateway() -> Story {
    Story::new("behind_inner_gateway")
        .plan(Plan { inner: Some(Kind::Nginx), ..Plan::default() })
        // Both gateways count each.
        .clients_unharmed()
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["signal 9|sigkill"]).advises(&["kill"]))
        .expect(
            Expect::new("inner_gateway", "", ONE)
                .at(&inner_address())
                .cites(&["inner", "same request"])
                .advises(&["inner"]),
        )
        .fault(|world| world.signal_app("app-1", "SIGKILL"))
        .heal(super::start_again)
}

/// Answers take a second and a half; clients leave after half of one. What is usual can be told after half a minute only.
fn clients_do_not_wait() -> Story {
    Story::new("clients_do_not_wait")
        .plan(Plan::default().traffic(|traffic| traffic.every = Duration::from_millis(20)))
        .clients_unharmed()
        .told_late()
        .within(60)
        .expect(Expect::new("client_closed", "app-1", ONE).cites(&["client|went away"]))
        .fault(|world| {
            // Only against what is usual is it many that go away: a hundred requests of each member, some seconds.
            let (client, began) = (world.client()?, Instant::now());
            wait_for("there is a usual", Duration::from_secs(20), || (client.since(began).len() >= 200).then_some(()))?;
            world.faults("app-1", &json!({ "slow": { "path": "/", "ms": 1500 } }))?;
            world.client()?.change(|traffic| traffic.patience = Duration::from_millis(500));
            Ok(())
        })
        .heal(|world| {
            behave(world)?;
            world.client()?.change(|traffic| traffic.patience = Duration::from_secs(20));
            Ok(())
        })
}
