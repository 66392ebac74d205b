"""Scripts that are copied beside exported policies; they know nothing of this project."""
