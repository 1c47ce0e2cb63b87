"""Files that are stored compressed, in frames that can be read one by one."""
