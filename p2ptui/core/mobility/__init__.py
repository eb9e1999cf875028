"""A node moves, or sleeps, or its address changes: its sessions go on."""
