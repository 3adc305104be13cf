"""Users' view of the gateway: its access log as Prometheus metrics. Never imports `controller`."""
