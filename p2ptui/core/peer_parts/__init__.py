"""What is known of one peer, each idea with its own rules; `core.peer` puts them together."""
