//! Apache httpd's configuration: what `ProxyPass`, balancers and proxying handlers lead to, with their parameters, and the logs
//! (manual of mod_proxy, mod_proxy_balancer, mod_proxy_hcheck, mod_ssl, mod_log_config). A setting holds where it stands and
//! in the sections within.

mod logs;
mod tree;
mod worker;

use std::path::Path;
use std::time::Duration;

use crate::gateway::{Configuration, Files, Pool, Tls};
use tree::Directive;
use worker::{Parameters, Target};

/// `Timeout`, and with it `ProxyTimeout`.
const TIMEOUT: Duration = Duration::from_secs(60);
/// `ResponseFieldSize`: one header line.
const HEADER_LIMIT_BYTES: u64 = 8_192;

/// Reads a configuration file and all that it includes.
pub(in crate::gateway) fn configuration(path: &Path, files: &dyn Files) -> Configuration {
    let tree = tree::read(path, files);
    let mut configuration = Configuration { files: tree.files, faults: tree.faults, ..Configuration::default() };
    let root = Scope { directives: &tree.directives, outer: None };
    configuration.logs = logs::logs(&root);
    let mut reading = Reading { pools: Vec::new(), faults: &mut configuration.faults };
    reading.balancers(&root);
    reading.uses(&root);
    configuration.pools = reading.pools.into_iter().map(Reading::finished).collect();
    configuration
}

/// A section and what stands around it.
struct Scope<'t> {
    directives: &'t [Directive],
    outer: Option<&'t Scope<'t>>,
}

impl<'t> Scope<'t> {
    fn inner(&'t self, section: &'t Directive) -> Scope<'t> {
        Scope { directives: &section.inner, outer: Some(self) }
    }

    fn own<'n>(&self, name: &'n str) -> impl Iterator<Item = &'t Directive> + use<'t, 'n> {
        self.directives.iter().filter(move |directive| directive.is(name))
    }

    /// The first argument of the setting that holds here.
    fn value(&self, name: &str) -> Option<&'t str> {
        let own = self.own(name).last().and_then(|directive| directive.args.first());
        own.map(String::as_str).or_else(|| self.outer?.value(name))
    }
}

struct Reading<'c> {
    pools: Vec<Pool>,
    faults: &'c mut Vec<String>,
}

impl Reading<'_> {
    /// `<Proxy balancer://name>` with its members, wherever it stands.
    fn balancers(&mut self, scope: &Scope<'_>) {
        for section in scope.directives {
            let inner = scope.inner(section);
            let name = section.args.first().map_or("", String::as_str);
            if section.is("proxy") && name.starts_with("balancer://") {
                self.balancer(&inner, name, &section.source);
            } else {
                self.balancers(&inner);
            }
            if section.is("balancermember") && name.starts_with("balancer://") {
                let parameters = Parameters::read(section.args.get(2..).unwrap_or_default());
                let member = section.args.get(1).and_then(|url| worker::target(url));
                self.member(scope, name, member, parameters, &section.source);
            }
        }
    }

    fn balancer(&mut self, scope: &Scope<'_>, name: &str, source: &str) {
        let at = self.pool_named(pool_name(name), source);
        let mut set = Parameters::default();
        for directive in scope.own("proxyset") {
            set.take(&directive.args);
        }
        for directive in scope.own("balancermember") {
            let parameters = Parameters::read(directive.args.get(1..).unwrap_or_default());
            let member = directive.args.first().and_then(|url| worker::target(url));
            self.member(scope, name, member, parameters, &directive.source);
        }
        set.apply(&mut self.pools[at]);
    }

    fn member(&mut self, scope: &Scope<'_>, balancer: &str, to: Option<Target>, with: Parameters, source: &str) {
        let at = self.pool_named(pool_name(balancer), source);
        let Some(target) = to else {
            return self.faults.push(format!("{source}: a member without an address"));
        };
        let pool = &mut self.pools[at];
        if pool.scheme.is_empty() {
            settle(pool, scope, &target);
        }
        with.apply(pool);
        pool.members.push(with.member(target.address));
    }

    /// What is passed to, and where.
    fn uses(&mut self, scope: &Scope<'_>) {
        for directive in scope.directives {
            let section = scope.inner(directive);
            let args = &directive.args;
            let place = |at: usize| args.get(at).map_or("", String::as_str);
            match directive.name.as_str() {
                "proxypass" | "proxypassmatch" => {
                    // Within a `<Location>` the path is the section's.
                    let at = args.iter().position(|arg| worker::is_url(arg)).unwrap_or(args.len());
                    self.passes(scope, place(at), args.get(at + 1..).unwrap_or_default(), &directive.source);
                }
                "rewriterule" if flags(place(2)).any(|flag| flag == "P" || flag == "proxy") => {
                    self.passes(scope, place(1), &[], &directive.source);
                }
                "sethandler" if place(0).starts_with("proxy:") => {
                    self.passes(scope, &place(0)["proxy:".len()..], &[], &directive.source);
                }
                "proxy" if worker::is_url(place(0)) && !place(0).starts_with("balancer://") => {
                    self.worker_section(&section, place(0), &directive.source);
                }
                _ => self.uses(&section),
            }
        }
    }

    fn passes(&mut self, scope: &Scope<'_>, url: &str, parameters: &[String], source: &str) {
        let parameters = Parameters::read(parameters);
        if let Some(rest) = url.strip_prefix("balancer://") {
            let at = self.pool_named(rest.split('/').next().unwrap_or(rest), source);
            return parameters.apply(&mut self.pools[at]);
        }
        if url.is_empty() {
            return;
        }
        let Some(target) = worker::target(url) else {
            return self.faults.push(format!("{source}: {url}: the address is chosen anew for each request"));
        };
        let at = self.pool_named(&target.address, source);
        let pool = &mut self.pools[at];
        if pool.scheme.is_empty() {
            settle(pool, scope, &target);
            pool.members.push(parameters.member(target.address));
        }
        parameters.apply(pool);
    }

    /// `<Proxy http://host:port>` with `ProxySet`: settings of a worker that is passed to elsewhere.
    fn worker_section(&mut self, scope: &Scope<'_>, url: &str, source: &str) {
        let Some(target) = worker::target(url).filter(|_| scope.own("proxyset").next().is_some()) else { return };
        let at = self.pool_named(&target.address, source);
        let mut set = Parameters::default();
        scope.own("proxyset").for_each(|directive| set.take(&directive.args));
        let pool = &mut self.pools[at];
        if pool.scheme.is_empty() {
            settle(pool, scope, &target);
            pool.members.push(set.member(target.address));
        }
        set.apply(pool);
    }

    fn pool_named(&mut self, name: &str, source: &str) -> usize {
        self.pools.iter().position(|pool| pool.name == name).unwrap_or_else(|| {
            self.pools.push(Pool { name: name.to_owned(), source: source.to_owned(), ..Pool::default() });
            self.pools.len() - 1
        })
    }

    /// A balancer goes on to the next member; a worker alone is tried once.
    fn finished(mut pool: Pool) -> Pool {
        let live = pool.members.iter().filter(|member| !member.down).count();
        pool.tries = pool.tries.or_else(|| u32::try_from(live.max(1)).ok());
        pool
    }
}

fn pool_name(url: &str) -> &str {
    url.trim_start_matches("balancer://").trim_end_matches('/')
}

/// `[P,L]`.
fn flags(text: &str) -> impl Iterator<Item = &str> {
    text.trim_start_matches('[').trim_end_matches(']').split(',')
}

/// Fills in what holds where a worker is first named.
fn settle(pool: &mut Pool, scope: &Scope<'_>, target: &Target) {
    let seconds = |name: &str| scope.value(name).and_then(worker::seconds);
    let timeout = seconds("proxytimeout").or_else(|| seconds("timeout")).unwrap_or(TIMEOUT);
    pool.scheme = target.scheme.to_owned();
    pool.connect_timeout = Some(timeout);
    pool.send_timeout = Some(timeout);
    pool.read_timeout = Some(timeout);
    pool.header_limit_bytes = Some(HEADER_LIMIT_BYTES);
    if target.tls {
        let keeps_host = scope.value("proxypreservehost").is_some_and(|on| on.eq_ignore_ascii_case("on"));
        let host = target.host.clone();
        pool.tls = Some(Tls {
            verify: scope.value("sslproxyverify").is_some_and(|how| how.eq_ignore_ascii_case("require")),
            any_name: scope.value("sslproxycheckpeername").is_some_and(|how| how.eq_ignore_ascii_case("off")),
            ca_file: scope.value("sslproxycacertificatefile").map(Into::into),
            server_name: (!keeps_host).then_some(host),
            protocols: protocols(scope),
        });
    }
}

fn protocols(scope: &Scope<'_>) -> String {
    let own = scope.own("sslproxyprotocol").last().map(|directive| directive.args.join(" "));
    own.or_else(|| scope.outer.map(protocols)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
