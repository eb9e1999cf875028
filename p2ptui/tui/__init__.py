"""The screen: a Textual app that runs the node in its own event loop."""
