"""HTTP for people and programs: the OpenAPI routes, health, metrics and one page. It only looks; ticks act."""
