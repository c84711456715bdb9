//! Reports as lines of InfluxDB's protocol, one for each subject with all its readings, as an agent for such a store would send
//! them.

use std::fmt::Write;

use why502_proto::v1;

use crate::fleet::Host;

/// Lines, and how many values they hold.
#[derive(Default)]
pub struct Lines {
    /// The lines.
    pub text: String,
    /// Values in them.
    pub values: usize,
}

impl Lines {
    /// The numbers of a report. Texts are left out.
    pub fn of(host: &Host, report: &v1::Report) -> Self {
        let mut lines = Self::default();
        let at_us = report.at_unix_us;
        if let Some(sample) = &report.host {
            lines.host(&host.name, sample, at_us);
        }
        for instance in &report.instances {
            lines.instance(&host.name, instance, at_us);
        }
        for event in &report.events {
            if let Some(v1::event::Kind::Health(health)) = &event.kind {
                let fields = [
                    ("status", Some(f64::from(health.status))),
                    ("connect_us", health.connect_us.map(|us| us as f64)),
                    ("first_byte_us", health.first_byte_us.map(|us| us as f64)),
                ];
                lines.line("health", &[("host", &host.name), ("service", &health.service)], &fields, at_us);
            }
        }
        lines
    }

    fn host(&mut self, host: &str, sample: &v1::HostSample, at_us: i64) {
        let pressure = sample.pressure.unwrap_or_default();
        let fields = [
            ("cpu_busy_ratio", sample.cpu_busy_ratio),
            ("cpu_steal_ratio", sample.cpu_steal_ratio),
            ("cpus", Some(f64::from(sample.cpus))),
            ("load1", sample.load1),
            ("mem_total_bytes", sample.mem_total_bytes.map(|bytes| bytes as f64)),
            ("mem_available_bytes", sample.mem_available_bytes.map(|bytes| bytes as f64)),
            ("swap_total_bytes", sample.swap_total_bytes.map(|bytes| bytes as f64)),
            ("swap_used_bytes", sample.swap_used_bytes.map(|bytes| bytes as f64)),
            ("cpu_some_ratio", pressure.cpu_some_ratio),
            ("memory_some_ratio", pressure.memory_some_ratio),
            ("io_some_ratio", pressure.io_some_ratio),
            ("uptime_us", Some(sample.uptime_us as f64)),
            ("segments_out", sample.net.map(|net| net.segments_out as f64)),
            ("conntrack_count", sample.conntrack_count.map(|count| count as f64)),
            ("conntrack_max", sample.conntrack_max.map(|count| count as f64)),
            ("time_wait", sample.time_wait.map(|count| count as f64)),
            ("local_ports", Some(f64::from(sample.local_ports))),
        ];
        self.line("host", &[("host", host)], &fields, at_us);
        for mount in &sample.mounts {
            let fields = [
                ("total_bytes", Some(mount.total_bytes as f64)),
                ("available_bytes", Some(mount.available_bytes as f64)),
                ("total_inodes", Some(mount.total_inodes as f64)),
                ("available_inodes", Some(mount.available_inodes as f64)),
            ];
            self.line("mount", &[("host", host), ("path", &mount.path)], &fields, at_us);
        }
    }

    fn instance(&mut self, host: &str, instance: &v1::InstanceSample, at_us: i64) {
        let service = instance.service.as_str();
        for process in &instance.processes {
            let fields = [
                ("cpu_ratio", process.cpu_ratio),
                ("run_delay_ratio", process.run_delay_ratio),
                ("rss_bytes", Some(process.rss_bytes as f64)),
                ("threads", Some(f64::from(process.threads))),
                ("fds", process.fds.map(f64::from)),
                ("fd_limit", process.fd_limit.map(|limit| limit as f64)),
                ("started_us", Some(process.started_unix_us as f64)),
            ];
            let pid = process.pid.to_string();
            self.line("process", &[("host", host), ("service", service), ("pid", &pid)], &fields, at_us);
        }
        for listener in &instance.listeners {
            let fields = [
                ("queue", Some(f64::from(listener.queue))),
                ("queue_limit", Some(f64::from(listener.queue_limit))),
                ("established", listener.established.map(f64::from)),
            ];
            self.line("listener", &[("host", host), ("address", &listener.address)], &fields, at_us);
        }
        if let Some(cgroup) = &instance.cgroup {
            let fields = [
                ("mem_bytes", cgroup.mem_bytes.map(|bytes| bytes as f64)),
                ("mem_limit_bytes", cgroup.mem_limit_bytes.map(|bytes| bytes as f64)),
                ("oom_kills", cgroup.oom_kills.map(|kills| kills as f64)),
                ("throttled_periods_ratio", cgroup.throttled_periods_ratio),
                ("throttled_ratio", cgroup.throttled_ratio),
                ("cpu_quota", cgroup.cpu_quota),
                ("pids", cgroup.pids.map(|pids| pids as f64)),
            ];
            self.line("cgroup", &[("host", host), ("path", &cgroup.path)], &fields, at_us);
        }
    }

    fn line(&mut self, subject: &str, tags: &[(&str, &str)], fields: &[(&str, Option<f64>)], at_us: i64) {
        self.text.push_str(subject);
        // Writing into a String can't fail.
        for (key, value) in tags {
            let _ = write!(self.text, ",{key}={value}");
        }
        let mut separator = ' ';
        for (name, value) in fields.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
            let _ = write!(self.text, "{separator}{name}={value}");
            separator = ',';
            self.values += 1;
        }
        let _ = writeln!(self.text, " {}", at_us / 1_000);
    }
}
