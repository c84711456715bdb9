# The least that Puma takes: its master looks after its workers every five seconds.
worker_timeout 6
