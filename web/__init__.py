"""HTTP: routes, middleware, errors."""
