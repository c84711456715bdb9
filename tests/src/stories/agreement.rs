//! Gateway and instance are both alive and do not agree: TLS, certificates.

use super::{ONE, TWO, UNCHECKED};
use crate::lab::Done;
use crate::lab::plan::{App, CERTIFICATES, Gateway, Kind, Plan};
use crate::lab::story::{Expect, Story};
use crate::lab::world::World;

pub(super) fn all() -> Vec<Story> {
    vec![certificate_not_trusted(), plain_behind_tls(), tls_behind_plain()]
}

/// All speak TLS, with the certificate that the gateway trusts.
fn encrypted() -> Plan {
    let app = |host, number| App { certificate: CERTIFICATES[0], ..App::node(host, number) };
    let gateway = Gateway { tls: true, ..Gateway::default() };
    Plan { gateway, apps: vec![app("app-1", ONE), app("app-2", TWO)], ..Plan::default() }
}

/// Starts the first application anew with another certificate, or with none.
fn with_certificate(world: &mut World, certificate: &'static str) -> Done {
    world.stop_app("app-1")?;
    world.change_app("app-1", |app| app.certificate = certificate)?;
    world.start_app("app-1")
}

/// The certificate was renewed, and nobody told the gateway.
fn certificate_not_trusted() -> Story {
    Story::new("certificate_not_trusted")
        .also(&[Kind::Envoy, Kind::Apache, Kind::Caddy])
        .needs(&["openssl"])
        .plan(encrypted())
        .expect(
            Expect::new("tls_handshake_failed", "app-1", ONE)
                .cites(&["certificate|tls_verify|verif|handshake"])
                .advises(&["certificate|trust"]),
        )
        .fault(|world| with_certificate(world, CERTIFICATES[1]))
        .heal(|world| with_certificate(world, CERTIFICATES[0]))
}

fn plain_behind_tls() -> Story {
    Story::new("plain_behind_tls")
        .also(&UNCHECKED)
        .needs(&["openssl"])
        .plan(encrypted())
        .expect(
            Expect::new("wrong_protocol", "app-1", ONE).cites(&["tls|plain"]).advises(&["proxy_pass|scheme|plain|tls"]),
        )
        .fault(|world| with_certificate(world, ""))
        .heal(|world| with_certificate(world, CERTIFICATES[0]))
}

fn tls_behind_plain() -> Story {
    Story::new("tls_behind_plain")
        .also(&UNCHECKED)
        .needs(&["openssl"])
        .expect(Expect::new("wrong_protocol", "app-1", ONE).cites(&["tls"]))
        .fault(|world| {
            world.make_certificates()?;
            with_certificate(world, CERTIFICATES[0])
        })
        .heal(|world| with_certificate(world, ""))
}
