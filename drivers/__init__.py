"""What speaks to a wire: AT dialogues, device families, lines. Knows no policy and no HTTP."""
