"""`make pictures`: the pictures of docs/dashboard.md."""
