"""Payment providers behind one port; each adapter is small, the rules live in the domain."""
