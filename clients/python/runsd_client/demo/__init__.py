"""`runs demo`: the starter project on a daemon of its own, from start to end, in some seconds."""
