//! nginx's configuration: pools and their members, time limits, TLS, logs, with the values that nginx itself takes
//! where nothing is said (its documentation of the core, upstream, proxy, fastcgi, uwsgi, scgi, grpc and log modules).

mod logs;
mod members;
mod scope;
mod target;
mod tree;
mod value;

use std::path::Path;

pub(super) use logs::unquoted;

use scope::Scope;
use tree::Directive;

use crate::gateway::{Configuration, Files, Kind, Pool};

/// Reads the configuration file of nginx; of its two worlds the http one, or the stream one for `nginx_stream`.
pub(in crate::gateway) fn configuration(kind: Kind, path: &Path, files: &dyn Files) -> Configuration {
    let tree = tree::read(path, files);
    let mut configuration = Configuration { files: tree.files, faults: tree.faults, ..Configuration::default() };
    let world = if kind == Kind::NginxStream { "stream" } else { "http" };
    let root = Scope::root(&tree.directives);
    configuration.logs = logs::logs(&root, world, &mut configuration.faults);
    for block in tree.directives.iter().filter(|directive| directive.name == world) {
        let scope = root.inner(block);
        let named = scope.own("upstream").map(members::pool);
        configuration.pools.extend(named);
        let mut uses = Uses { world, pools: &mut configuration.pools, faults: &mut configuration.faults };
        uses.walk(&scope, &block.block);
    }
    for pool in &mut configuration.pools {
        pool.tries = pool.tries.or_else(|| tries_of_members(pool));
    }
    configuration
}

/// Each member is tried once, unless nginx is told otherwise.
fn tries_of_members(pool: &Pool) -> Option<u32> {
    let live = pool.members.iter().filter(|member| !member.down).count();
    if pool.scheme.is_empty() { None } else { u32::try_from(live.max(1)).ok() }
}

/// Goes through servers and locations for what they pass on, and where.
struct Uses<'c> {
    world: &'static str,
    pools: &'c mut Vec<Pool>,
    faults: &'c mut Vec<String>,
}

impl Uses<'_> {
    fn walk(&mut self, scope: &Scope<'_>, block: &[Directive]) {
        for directive in block {
            match directive.name.as_str() {
                "server" | "location" | "if" | "limit_except" => {
                    self.walk(&scope.inner(directive), &directive.block);
                }
                "proxy_pass" | "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "grpc_pass" => {
                    self.passes(scope, directive);
                }
                _ => {}
            }
        }
    }

    fn passes(&mut self, scope: &Scope<'_>, directive: &Directive) {
        let written = directive.args.first().map_or("", String::as_str);
        let targets = scope.resolve(written);
        if targets.is_empty() {
            self.faults.push(format!(
                "{}: {} {written}: the address is chosen anew for each request",
                directive.source, directive.name
            ));
        }
        let module = directive.name.trim_end_matches("_pass");
        for text in targets {
            let Some(target) = target::parse(&text, module, self.world) else {
                self.faults.push(format!("{}: {} {text}: no address", directive.source, directive.name));
                continue;
            };
            let known = self.pools.iter().position(|pool| pool.name == target.host || pool.name == target.address());
            let at = known.unwrap_or_else(|| {
                self.pools.push(members::lone(&target.address(), &directive.source));
                self.pools.len() - 1
            });
            // A pool that several locations pass to keeps the settings of the first.
            if self.pools[at].scheme.is_empty() {
                target::settle(&mut self.pools[at], scope, &target, module, self.world);
            }
        }
    }
}

#[cfg(test)]
mod tests;
