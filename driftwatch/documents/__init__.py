"""What is known as JSON documents: the same at the terminal (`--format json`) and over HTTP."""
