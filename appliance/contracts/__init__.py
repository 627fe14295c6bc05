"""One published cloud API a file: pure translation, and the only place for its words."""
