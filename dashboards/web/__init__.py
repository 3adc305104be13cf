"""The pages of the dashboard: templates, static files, texts. Data, but for `build`."""
