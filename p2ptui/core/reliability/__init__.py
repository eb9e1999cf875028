"""Nothing is lost and nothing comes twice: acknowledgements, windows, fragments, round trips."""
