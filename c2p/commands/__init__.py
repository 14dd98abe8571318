"""Commands of `c2p`: one module each, with `add_to(parsers)`; heavy imports wait until a command runs."""
