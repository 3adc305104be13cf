"""What people look at beside Stoker's own page: boards for Grafana. Nothing of Stoker runs here."""
