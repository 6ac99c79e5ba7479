"""The command line: `main` parses and calls, `commands` lists the verbs, `output` shows."""
