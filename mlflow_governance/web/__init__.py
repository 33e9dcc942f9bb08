"""ASK: the HTTP interface and the pages, mounted by the plugin into MLflow's own server."""
