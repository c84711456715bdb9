//! Envoy's configuration, YAML or JSON: a bootstrap file, files of clusters or endpoints that it names or that are given
//! themselves, or what the admin interface's `config_dump` prints. Clusters are pools; routes tell their time limits and retries,
//! listeners the access logs. What a management server sends stands in no file and is told so.

mod cluster;
mod logs;
mod route;

use std::path::{Path, PathBuf};

use super::super::document::{self, Node};
use crate::gateway::{Configuration, Files, Pool};

/// Files that one configuration may name.
const MOST_FILES: usize = 64;

/// Reads the file and those that it names for clusters and endpoints.
pub(in crate::gateway) fn configuration(path: &Path, files: &dyn Files) -> Configuration {
    let mut reading = Reading { files, configuration: Configuration::default(), endpoints: Vec::new(), remote: false };
    reading.file(path);
    reading.finish()
}

/// Endpoints that stand apart from their cluster: its name, or the one it goes by in a discovery service.
struct Endpoints {
    cluster: String,
    pool: Pool,
}

struct Reading<'f> {
    files: &'f dyn Files,
    configuration: Configuration,
    endpoints: Vec<Endpoints>,
    /// Clusters or listeners come from a management server.
    remote: bool,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path) {
        if self.configuration.files.iter().any(|known| known == path) || self.configuration.files.len() >= MOST_FILES {
            return;
        }
        self.configuration.files.push(path.to_path_buf());
        let document = self
            .files
            .read(path)
            .and_then(|text| document::parse(path, &text).map_err(|why| format!("{}:{why}", path.display())));
        match document {
            Ok(document) => self.document(path, &document),
            Err(why) => self.configuration.faults.push(why),
        }
    }

    fn document(&mut self, path: &Path, document: &Node) {
        let mut named: Vec<PathBuf> = Vec::new();
        document.walk("", &mut |key, node| {
            if is_cluster(key, node) {
                self.cluster(path, node);
            } else if document::same_key(key, "resources") && node.get("cluster_name").exists() {
                let pool = cluster::endpoints(node, path);
                self.endpoints.push(Endpoints { cluster: node.get("cluster_name").owned(), pool });
            } else if ["eds_config", "cds_config", "lds_config"].iter().any(|known| document::same_key(key, known)) {
                let written = [node.at("path_config_source.path"), node.get("path")];
                match written.into_iter().find_map(Node::text) {
                    Some(file) => named.push(path.parent().unwrap_or(Path::new("/")).join(file)),
                    None => self.remote |= node.exists(),
                }
            }
        });
        self.remote |= document.at("dynamic_resources.ads_config").exists();
        logs::read(document, &mut self.configuration.logs);
        route::settle(document, &mut self.configuration.pools);
        for file in named {
            self.file(&file);
        }
    }

    fn cluster(&mut self, path: &Path, node: &Node) {
        let pool = cluster::pool(node, path);
        let pools = &mut self.configuration.pools;
        if !pools.iter().any(|known| known.name == pool.name) {
            pools.push(pool);
        }
        if let Some(service) = node.at("eds_cluster_config.service_name").text() {
            let pool = Pool { name: node.get("name").owned(), ..Pool::default() };
            self.endpoints.push(Endpoints { cluster: service.to_owned(), pool });
        }
    }

    fn finish(mut self) -> Configuration {
        // A cluster without a name of its own for the service goes by its name there too.
        let aliases: Vec<(String, String)> = self
            .endpoints
            .iter()
            .filter(|entry| !entry.pool.name.is_empty())
            .map(|entry| (entry.cluster.clone(), entry.pool.name.clone()))
            .collect();
        for entry in self.endpoints.into_iter().filter(|entry| entry.pool.name.is_empty()) {
            let named = aliases.iter().filter(|(service, _)| *service == entry.cluster).map(|(_, cluster)| cluster);
            let names: Vec<&String> = named.chain([&entry.cluster]).collect();
            for pool in self.configuration.pools.iter_mut().filter(|pool| names.contains(&&pool.name)) {
                cluster::take_members(pool, &entry.pool.members);
            }
        }
        if self.remote
            && let Some(first) = self.configuration.files.first()
        {
            let first = first.display();
            self.configuration.faults.push(format!(
                "{first}: a management server sends more than this file says: give what the admin interface's /config_dump prints"
            ));
        }
        self.configuration
    }
}

/// Clusters stand in lists of that name, alone in a `config_dump`, or among the resources of a file of them.
fn is_cluster(key: &str, node: &Node) -> bool {
    let named = node.get("name").exists() && !node.get("route_config").exists();
    let typed = node.get("@type").text().is_some_and(|kind| kind.ends_with(".Cluster"));
    let listed = ["clusters", "cluster"].iter().any(|known| document::same_key(key, known));
    let marks =
        ["load_assignment", "hosts", "connect_timeout", "eds_cluster_config", "lb_policy", "type", "cluster_type"];
    named && (typed || listed && marks.iter().any(|mark| node.get(mark).exists()))
}

#[cfg(test)]
mod tests;
