"""Opens the connections: the hot loop, what happens rarely, and the process around them."""
