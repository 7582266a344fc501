"""What the conformance table looks at: runs of the command line, and own arithmetic on what they left."""
