"""Files from outside as plain data: text, JSON and YAML, or one error that names the file."""
