"""The bench: a simulated telephone network, its phones, and modems on ptys."""
