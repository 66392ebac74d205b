"""Published numbers, and what we get: a module a paper or family of papers, each with its EXPERIMENTS."""
