"""`argosy doctor`: what an agent may do on a path and why, and whether the deployment is well."""
