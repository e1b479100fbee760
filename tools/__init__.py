"""Tools of the checkout; the build of the wheel uses one."""
