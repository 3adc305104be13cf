"""What nginx is made of: the template of its configuration, its script, and the bodies of its own errors. Data only."""
