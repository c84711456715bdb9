//! What happens beside and explains nothing.

use serde_json::json;

use crate::lab::Done;
use crate::lab::cgroup::Limits;
use crate::lab::world::World;

/// Something that happens on a host and explains nothing.
pub(super) struct Herring {
    pub name: &'static str,
    pub act: fn(&mut World, &'static str) -> Done,
}

pub(super) const ALL: [Herring; 9] = [
    Herring { name: "calm", act: |_, _| Ok(()) },
    Herring { name: "hog", act: |world, host| world.start_other(host, "hog", "while :; do :; done", Limits::cpu(300)) },
    Herring {
        name: "memory",
        act: |world, host| {
            let command = "python3 -c 'x=[]\nwhile True: x.append(bytearray(1<<20))'";
            world.start_other(host, "batch", command, Limits::memory(48))
        },
    },
    Herring {
        name: "words",
        act: |world, host| {
            let line = "ERROR payments: upstream answered 502 Bad Gateway, connect() failed (111: Connection refused)";
            world.faults(host, &json!({ "log": [line, "FATAL billing: out of memory, killed", line] }))
        },
    },
    Herring {
        name: "reload",
        act: |world, _| {
            let members = world.members();
            world.reload_gateway(&members)
        },
    },
    Herring {
        name: "namesake",
        act: |world, host| {
            let program = world.dir_of(host).join("node").display().to_string();
            world.shell(host, &format!("cp /bin/sleep {program}; {program} 1000 & sleep 0.4; kill -9 $!"))
        },
    },
    Herring { name: "rule", act: |world, host| world.run(host, "iptables -w -A INPUT -p tcp --dport 9999 -j DROP") },
    Herring {
        name: "link",
        act: |world, host| {
            world.run(host, "ip link add spare0 type veth peer name spare1")?;
            world.run(host, "ip link set spare0 up")?;
            world.run(host, "ip link set spare0 down")
        },
    },
    Herring {
        name: "mark",
        act: |world, _| world.ask(&["mark", "deploy", "--service", "billing", "--version", "7"]).map(drop),
    },
];

/// Those that came later.
pub(super) const MORE: [Herring; 6] = [
    Herring {
        // A job of somebody else's that fails each time.
        name: "cron",
        act: |world, host| {
            world.start_other(host, "cron", "while :; do sh -c 'exit 3'; sleep 0.4; done", Limits::default())
        },
    },
    Herring {
        name: "writes",
        act: |world, host| {
            let file = world.dir_of(host).join("bulk").display().to_string();
            let command = format!("for i in 1 2 3 4; do head -c 48M /dev/zero > {file}; sync {file}; done; rm {file}");
            world.start_other(host, "bulk", &command, Limits::default())
        },
    },
    Herring {
        name: "deaf",
        act: |world, host| world.run(host, "iptables -w -A INPUT -p icmp --icmp-type echo-request -j DROP"),
    },
    Herring {
        name: "twin",
        act: |world, _| world.ask(&["mark", "deploy", "--service", "shop-admin", "--version", "8"]).map(drop),
    },
    Herring {
        name: "notfound",
        act: |world, _| {
            world.client()?.change(|traffic| traffic.paths.extend(["/no-such-page", "/no-such-item"]));
            Ok(())
        },
    },
    Herring {
        name: "watcher",
        act: |world, host| {
            if world.app(host)?.has_agent {
                world.agent(host, false)?;
                world.agent(host, true)?;
            }
            Ok(())
        },
    },
];
